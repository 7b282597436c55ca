#include "option_rows.hpp"

namespace cos2p::config {

void add_objective(Table& t) {
  const auto distilled = [](const RunOptions& o) {
    return o.local.objective.distillation != DistillationKind::none;
  };
  const std::string none = "no exit learns from another";
  t.group("Local objective", kTrain);
  t.choice<ExitLossKind>(
      "exit-loss", AT(local.objective.exit_loss),
      "exits that learn from the labels: all alike (their mean, or their sum), the deepest "
      "alone, or all, the deeper the more (weights 1, 2, 3, ...)");
  t.choice<DistillationKind>("distillation", AT(local.objective.distillation),
                             "exits that learn from other exits: none, the shallower ones from the deepest, "
                             "or each from every other");
  only(t.real("distillation-weight", AT(local.objective.distillation_weight), 0, false, kAny,
              "of an exit's distillation, beside 1 for its labels"),
       "distillation", distilled, none);
  only(t.real("distillation-temperature", AT(local.objective.distillation_temperature), 0, false, kAny,
              "that logits are divided by before exits are compared"),
       "distillation", distilled, none);
  only(t.real("distillation-start", AT(local.objective.distillation_start), 0, true, 1,
              "share of the rounds that pass before distillation begins"),
       "distillation", distilled, none);
  only(t.real("distillation-ramp", AT(local.objective.distillation_ramp), 0, true, 1,
              "share of the rounds in which distillation then rises to its weight; 0 = at once"),
       "distillation", distilled, none);
  only(t.real(
           "feature-hint", AT(local.objective.feature_hint), 0, true, kAny,
           "times distillation's weight: shallower exits also learn the normalised features that the deepest "
           "one reads; 0 = none"),
       "distillation", distilled, none);
  t.flag("masked-logits", AT(local.objective.masked_logits),
         "logits of classes that a client does not hold are 0 in its loss");
  only(
      t.real("logit-adjustment", AT(local.objective.logit_adjustment), 0, true, 10,
             "strength of the correction of a client's loss for its own class frequencies; 0 = none"),
      "masked-logits", [](const RunOptions& o) { return !o.local.objective.masked_logits; },
      "logits of missing classes are 0 already, whatever is added to them");
}

}  // namespace cos2p::config
