#pragma once

#include <torch/types.h>

#include <functional>
#include <vector>

#include "cos2p/method/width_rule.hpp"
#include "cos2p/model/vit.hpp"
#include "cos2p/plan/submodel_plan.hpp"
#include "cos2p/support/random.hpp"

namespace cos2p {

/// Scores of candidate units, per kept block; the larger, the better.
struct UnitScores {
  std::vector<std::vector<double>> heads, neurons;
};

struct MaskTraining {
  WidthRule rule = WidthRule::straight_through;  ///< one that needs data
  int steps = 0;
  std::vector<BlockWidth> kept;  ///< of the candidates, per kept block: at least 1 of each
};

/// Scores the units of `candidates`, whose weights are all frozen and stay as they are, from `prior`: scores
/// in [0, 1], one per candidate. `next_loss` gives the loss of the client's next batch behind gates. Formulas
/// in docs/method.md. `noise` is for hard-concrete gates.
UnitScores train_scores(const Vit& candidates, const MaskTraining& training, const UnitScores& prior,
                        const std::function<torch::Tensor(const VitGates&)>& next_loss, Rng& noise);

}  // namespace cos2p
