#include "methods.hpp"

namespace cos2p::method {

// HeteroFL with a window that moves by one unit in each round, so that every unit is trained on every
// client's data in time.
Method fedrolex() {
  return {"fedrolex",
          "small clients train a window of units that moves by one each round",
          "Alam et al., NeurIPS 2022",
          {{"submodel", "fit"},
           {"balance", "deep"},
           {"width-rule", "rolling"},
           {"exit-loss", "deepest"},
           {"distillation", "none"}},
          {{"reselect-every", "1"},
           {"scale-kept-units", "true"},
           {"masked-logits", "true"},
           {"logit-adjustment", "0"},
           {"weighting", "uniform"}}};
}

}  // namespace cos2p::method
