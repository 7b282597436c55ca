#include "option_rows.hpp"

namespace cos2p::config {

void add_width(Table& t) {
  t.group("Units of a client", kTrain);
  const auto unequal = [](const RunOptions& o) { return o.fleet.submodel != SubmodelKind::smallest; };
  const std::string same = "everybody keeps the same first units, as one small model";
  only(
      t.choice<WidthRule>("width-rule", AT(width.rule),
                          "which heads and neurons a narrow client trains: those of largest norm, the first, "
                          "a window that rolls by one, any, or those that matter most for its own data by a "
                          "first-order estimate, by scores trained behind a mask, or by stochastic gates"),
      "submodel", unequal, same);
  only(t.whole("reselect-every", AT(width.reselect_every), 0, kMany,
               "local rounds after which a client chooses its units anew; 0 = never"),
       "submodel", unequal, same);
  only(t.flag("scale-kept-units", AT(local.scale_kept_units),
              "scale a part's output by all/kept units while training"),
       "submodel", unequal, same);
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
  only(
      t.whole("mask-steps", AT(width.mask_steps), 1, kMany, "batches in which a client rates its units"),
      "width-rule", [](const RunOptions& o) { return needs_data(o.width.rule); },
      "this rule does not look at the client's data");
}

}  // namespace cos2p::config
