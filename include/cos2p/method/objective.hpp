#pragma once

#include <torch/types.h>

#include <cstdint>
#include <vector>

#include "cos2p/method/objective_options.hpp"

namespace cos2p {

/// How a client's class frequencies enter its loss: tensors on the model's device, made once a local round.
struct ClassView {
  torch::Tensor adjustment;  ///< (K), added to the logits; undefined = nothing is added
  torch::Tensor absent;      ///< (K), bool: logits that are set to 0; undefined = none
};
/// `counts`: the client's samples of each class.
ClassView class_view(const ObjectiveOptions& options, const std::vector<std::int64_t>& counts,
                     torch::Device device);

struct Objective {
  torch::Tensor loss;     ///< to be minimised; a scalar
  torch::Tensor deepest;  ///< cross-entropy at the deepest exit alone; a scalar without a gradient
};

/// The loss of a batch. `logits` (B, K), one per trained exit from shallow to deep, at least one; `labels`
/// (B), int64. With y_j the logits of exit j after the class view, z_j those before it, J exits and
/// temperature T:
///
///   sum_j a_j CE(y_j, labels) + weight * sum_j b_j T^2 mean_i KL(softmax(z_i / T) || softmax(z_j / T))
///
/// where a_j are the weights of the exit loss; b_j = a_j, or 1/J with the exit loss `deepest`; i runs over
/// the teachers of exit j (detached), an exit without a teacher has no such term; CE and KL are means over
/// the batch. `weight` is distillation_weight() at the present round.
Objective objective(const std::vector<torch::Tensor>& logits, const torch::Tensor& labels,
                    const ClassView& view, const ObjectiveOptions& options, double weight);

/// What shallower exits learn from the deepest one's features (a hint, after Romero et al. 2015; no regressor
/// is needed, as all exits read the same residual stream): sum_{j < J} b_j mean (n(f_j) - n(f_J))^2 over
/// batch and features, f (B, D) the class tokens that the trained exits read, from shallow to deep, n the
/// normalisation to mean 0 and variance 1, f_J detached, b_j as above. 0 where there is one exit.
torch::Tensor feature_hint(const std::vector<torch::Tensor>& features, const ObjectiveOptions& options);

/// What a part of the model learns from the whole of it: sum_j a_j CE(softmax(whole_j), part_j), the wholes
/// detached (FjORD). Shapes as above; both lists have one tensor per trained exit.
torch::Tensor imitation_loss(const std::vector<torch::Tensor>& part, const std::vector<torch::Tensor>& whole,
                             const ObjectiveOptions& options);

}  // namespace cos2p
