#include "methods.hpp"

namespace cos2p::method {

// Every choice stays open: the defaults of the options are this method's.
Method co_s2p() {
  return {"co-s2p",
          "structured pruning in depth and width, semi-asynchronous segment-wise aggregation",
          "Li et al., arXiv 2410.08457",
          {},
          {}};
}

}  // namespace cos2p::method
