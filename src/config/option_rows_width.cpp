#include "option_rows.hpp"

namespace cos2p::config {

void add_width(Table& t) {
  t.group("Units of a client", kTrain);
  const auto unequal = [](const RunOptions& o) { return o.fleet.submodel == SubmodelKind::fit; };
  const std::string same = "nobody chooses among units: everybody keeps all, or the same first ones";
  only(
      t.choice<WidthRule>("width-rule", AT(width.rule),
                          "which heads and neurons a narrow client trains: those of largest norm, the first, "
                          "a window that rolls by one, any, any so that all clients together train all, or "
                          "those that matter most for its own data by a first-order estimate, by scores "
                          "trained behind a mask, or by stochastic gates"),
      "submodel", unequal, same);
  only(t.whole("reselect-every", AT(width.reselect_every), 0, kMany,
               "local rounds after which a client chooses its units anew; 0 = never"),
       "submodel", unequal, same);
  only(t.flag("scale-kept-units", AT(local.scale_kept_units),
              "scale a part's output by all/kept units while training"),
       "submodel", unequal, same);
  const auto nested = [unequal](const RunOptions& o) {
    return unequal(o) && o.width.rule == WidthRule::prefix;
  };
  only(t.whole(
           "ordered-dropout", AT(local.ordered_dropout), 0, 1024,
           "widths 1/N, 2/N, ... up to the client's own, of which each optimizer step draws one and trains "
           "only so many of the first units; 0 = always all"),
       "width-rule", nested, "only the rule 'prefix' keeps the units that smaller clients have");
  only(
      t.flag("ordered-dropout-distillation", AT(local.ordered_dropout_distillation),
             "each step trains the client's whole width, and the one drawn learns from its output"),
      "ordered-dropout", [nested](const RunOptions& o) { return nested(o) && o.local.ordered_dropout > 0; },
      "no width is drawn");
  t.group("Units of a client", kTrain | kPlan);
  only(
      t.choice<WeightMaskKind>(
          "weight-mask", AT(local.weight_mask),
          "which values of the blocks' matrices a client trains, the others being 0 for it: "
          "all, or the largest, as many as its budget's share of the full model (the "
          "tensors stay as large)"),
      "submodel",
      [](const RunOptions& o) {
        return o.local.weight_mask == WeightMaskKind::none || o.fleet.submodel == SubmodelKind::full;
      },
      "a mask makes no tensor smaller, so that it is of the full model only");
  t.group("Units of a client", kTrain);
  OptionSpec& steps =
      t.whole("mask-steps", AT(width.mask_steps), 1, kMany, "batches in which a client rates its units");
  only(steps, "submodel", unequal, same);
  only(
      steps, "width-rule", [](const RunOptions& o) { return needs_data(o.width.rule); },
      "this rule does not look at the client's data");
}

}  // namespace cos2p::config
