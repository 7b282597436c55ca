#include "methods.hpp"

namespace cos2p::method {

// Any units for any client, as long as every unit has enough trainers.
Method ra_fed() {
  return {"ra-fed",
          "small clients train units drawn at random each round so that together they train all of them",
          "Wang et al., KDD 2023",
          {{"submodel", "fit"},
           {"balance", "deep"},
           {"width-rule", "covering"},
           {"exit-loss", "deepest"},
           {"distillation", "none"}},
          {{"reselect-every", "1"},
           {"scale-kept-units", "true"},
           {"logit-adjustment", "0"},
           {"weighting", "uniform"}}};
}

}  // namespace cos2p::method
