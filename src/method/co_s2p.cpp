#include "methods.hpp"

namespace cos2p::method {

// Every choice stays open; the defaults are those that won in comparisons (docs/results.md).
Method co_s2p() {
  return {"co-s2p",
          "structured pruning in depth and width, semi-asynchronous segment-wise aggregation",
          "Li et al., arXiv 2410.08457",
          {},
          {{"balance", "shallow"},
           {"micro-batch", "8"},
           {"width-rule", "straight-through"},
           {"reselect-every", "5"},
           {"width-exponent", "1.5"},
           {"exit-loss", "sum"},
           {"distillation", "mutual"},
           {"distillation-weight", "1"},
           {"distillation-temperature", "1"},
           {"distillation-start", "0"},
           {"distillation-ramp", "0"},
           {"logit-adjustment", "0.5"},
           {"weighting", "uniform"},
           {"normalize", "updates"},
           {"pace-correction", "false"},
           {"server-momentum", "0.5"}},
          {{"merge", "deltas"}, {"server-momentum", "0"}}};
}

}  // namespace cos2p::method
