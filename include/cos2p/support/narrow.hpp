#pragma once

#include <limits>
#include <type_traits>

#include "cos2p/support/error.hpp"

namespace cos2p {

/// Converts an integer and refuses to change its value; `what` names the quantity in the message.
template <typename To, typename From>
To narrow(From value, const char* what = "value") {
  static_assert(std::is_integral_v<To> && std::is_integral_v<From>);
  const To result = static_cast<To>(value);
  if (static_cast<From>(result) != value || ((value < From{}) != (result < To{}))) {
    fail(ExitCode::internal, "{} {} does not fit into {} bits", what, value, 8 * sizeof(To));
  }
  return result;
}

}  // namespace cos2p
