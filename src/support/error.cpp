#include "cos2p/support/error.hpp"

namespace cos2p::detail {

void assertion_failed(const char* expression, const char* file, int line) {
  throw std::logic_error(
      fmt::format("assertion failed: {} ({}:{}), please report this", expression, file, line));
}

}  // namespace cos2p::detail
