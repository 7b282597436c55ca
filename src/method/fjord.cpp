#include "methods.hpp"

namespace cos2p::method {

// A small client keeps the first units, and each of its steps trains fewer of them still, so that the first
// units are the most important ones: ordered dropout.
Method fjord() {
  return {"fjord",
          "small clients train the first units of every block; each step draws how many of them",
          "Horvath et al., NeurIPS 2021",
          {{"submodel", "fit"},
           {"balance", "deep"},
           {"width-rule", "prefix"},
           {"exit-loss", "deepest"},
           {"distillation", "none"}},
          {{"ordered-dropout", "5"},
           {"ordered-dropout-distillation", "false"},
           {"scale-kept-units", "false"},
           {"logit-adjustment", "0"},
           {"weighting", "samples"}}};
}

}  // namespace cos2p::method
