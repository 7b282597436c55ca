#include "methods.hpp"

namespace cos2p::method {

// Small clients drop their deepest blocks and keep every unit of the others.
Method depth_only() {
  return {"depth-only",
          "small clients drop their deepest blocks and keep all units",
          "",
          {{"balance", "wide"}},
          {}};
}

}  // namespace cos2p::method
