#include "methods.hpp"

namespace cos2p::method {

// A client's submodel is not a smaller model: it is the full one with its smallest weights at zero. What that
// saves is communication at best; memory and time are the full model's, which the table of the fleet says.
Method fiarse() {
  return {"fiarse",
          "clients train the largest weights of the full model, as many as their share, in dense tensors",
          "Wu et al., NeurIPS 2024",
          {{"submodel", "full"}, {"weight-mask", "magnitude"}, {"merge", "deltas"}, {"normalize", "changed"}},
          {{"exit-loss", "deepest"},
           {"distillation", "none"},
           {"weighting", "uniform"},
           {"logit-adjustment", "0"}}};
}

}  // namespace cos2p::method
