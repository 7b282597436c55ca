#pragma once

#include <string>

namespace cos2p {

/// Which exits learn from the labels, and how much each counts; j = 1 .. J from the shallowest trained exit.
enum class ExitLossKind {
  all,      ///< each 1/J
  sum,      ///< each 1 (DepthFL)
  deepest,  ///< the deepest alone
  rising,   ///< j / (J (J + 1) / 2) (ScaleFL)
};
/// Who teaches whom; a teacher gets no gradient from its students.
enum class DistillationKind {
  none,
  deepest,  ///< the deepest exit teaches all shallower ones (Co-S2P, ScaleFL)
  mutual,   ///< every exit teaches every other (DepthFL)
};
std::string to_string(ExitLossKind kind);
std::string to_string(DistillationKind kind);

/// What a client minimises, apart from what depends on the server's model (method/aggregation_options.hpp).
struct ObjectiveOptions {
  ExitLossKind exit_loss = ExitLossKind::all;
  DistillationKind distillation = DistillationKind::none;
  double distillation_weight = 1;
  double distillation_temperature = 2;
  double distillation_start = 0.25;  ///< share of the rounds that pass before distillation begins
  double distillation_ramp = 0.25;   ///< share of the rounds in which it then rises to its whole weight
  /// Strength of feature_hint() (method/objective.hpp), as a multiple of distillation's weight; 0 = none.
  double feature_hint = 0;
  /// Logits of classes that a client does not hold are 0 in its loss (HeteroFL).
  bool masked_logits = false;
  /// Strength of the logit adjustment for a client's own class frequencies (Menon et al. 2021; 0 = none):
  /// log(frequency) is added to the logits in the training loss, so that a client does not teach the model
  /// that the classes it lacks do not exist. Without meaning beside masked_logits.
  double logit_adjustment = 1;
};

/// The weight of distillation when the share `progress` of the rounds has passed: 0 before its start, then
/// distillation_weight * exp(-5 (1 - u)^2) with u rising from 0 to 1 over the ramp (Laine and Aila 2017, used
/// by DepthFL).
double distillation_weight(const ObjectiveOptions& options, double progress);

}  // namespace cos2p
