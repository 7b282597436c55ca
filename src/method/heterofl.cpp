#include "methods.hpp"

namespace cos2p::method {

// Small clients keep the first units of every block.
Method heterofl() {
  return {"heterofl",
          "small clients train the first units of every block",
          "Diao et al., ICLR 2021",
          {{"submodel", "fit"},
           {"balance", "deep"},
           {"width-rule", "prefix"},
           {"exit-loss", "deepest"},
           {"distillation", "none"}},
          {{"scale-kept-units", "true"},
           {"masked-logits", "true"},
           {"logit-adjustment", "0"},
           {"weighting", "uniform"}}};
}

}  // namespace cos2p::method
