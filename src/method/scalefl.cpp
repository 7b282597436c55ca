#include "methods.hpp"

namespace cos2p::method {

// Small clients lose depth and width alike. Exit j of J counts j in the loss, and all but the last learn from
// the last.
Method scalefl() {
  return {"scalefl",
          "small clients lose depth and width alike; the deepest exit teaches the others",
          "Ilhan et al., CVPR 2023",
          {{"submodel", "fit"},
           {"balance", "balanced"},
           {"rolling-windows", "false"},
           {"width-rule", "prefix"},
           {"exit-loss", "rising"},
           {"distillation", "deepest"}},
          {{"distillation-weight", "0.05"},
           {"distillation-temperature", "3"},
           {"distillation-start", "0.25"},
           {"distillation-ramp", "0"},
           {"scale-kept-units", "true"},
           {"weighting", "uniform"},
           {"logit-adjustment", "0"}}};
}

}  // namespace cos2p::method
