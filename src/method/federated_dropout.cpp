#include "methods.hpp"

namespace cos2p::method {

// Units are dropped as by dropout, but for a whole local round, and neither sent nor computed.
Method federated_dropout() {
  return {"federated-dropout",
          "small clients train units drawn at random each round",
          "Caldas et al., arXiv 1812.07210",
          {{"submodel", "fit"},
           {"balance", "deep"},
           {"width-rule", "random"},
           {"exit-loss", "deepest"},
           {"distillation", "none"}},
          {{"reselect-every", "1"},
           {"scale-kept-units", "true"},
           {"weighting", "samples"},
           {"logit-adjustment", "0"}}};
}

}  // namespace cos2p::method
