#include "methods.hpp"

namespace cos2p::method {

// Small clients drop their deepest blocks and keep every unit of the others; every exit learns from the
// labels and from every other exit.
Method depthfl() {
  return {"depthfl",
          "small clients drop their deepest blocks; all exits teach each other",
          "Kim et al., ICLR 2023",
          {{"balance", "wide"}, {"exit-loss", "sum"}, {"distillation", "mutual"}},
          {{"distillation-weight", "1"},
           {"distillation-temperature", "1"},
           {"distillation-start", "0"},
           {"distillation-ramp", "0.3"},
           {"weighting", "uniform"},
           {"drop-too-small", "true"},
           {"logit-adjustment", "0"}}};
}

}  // namespace cos2p::method
