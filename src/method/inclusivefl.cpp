#include "methods.hpp"

namespace cos2p::method {

// Depth alone, and the deepest exit of a client alone. Its other exits push deltas of zero, which must not
// count in the mean of those who train them.
Method inclusivefl() {
  return {"inclusivefl",
          "small clients drop their deepest blocks; their last block also learns from the deltas of deeper "
          "clients",
          "Liu et al., KDD 2022",
          {{"balance", "wide"},
           {"exit-loss", "deepest"},
           {"distillation", "none"},
           {"merge", "deltas"},
           {"normalize", "changed"}},
          {{"depth-momentum", "0.2"},
           {"weighting", "samples"},
           {"drop-too-small", "true"},
           {"logit-adjustment", "0"}}};
}

}  // namespace cos2p::method
