#pragma once

#include <cstdint>
#include <limits>
#include <nlohmann/json.hpp>
#include <stdexcept>

namespace cos2p {

/// A whole number in T's range. Unlike nlohmann's get<T>(), which converts every number (4e242 to an int is
/// undefined), it throws std::out_of_range for any other value.
template <typename T>
T whole_number(const nlohmann::json& value) {
  using Limits = std::numeric_limits<T>;
  if (value.is_number_unsigned()) {
    const auto number = value.get<std::uint64_t>();
    if (number <= static_cast<std::uint64_t>(Limits::max())) return static_cast<T>(number);
  } else if (value.is_number_integer()) {  // below zero
    const auto number = value.get<std::int64_t>();
    if (Limits::is_signed && number >= static_cast<std::int64_t>(Limits::min()))
      return static_cast<T>(number);
  }
  throw std::out_of_range(value.dump().substr(0, 40) + " is no whole number in the range that is expected");
}

/// That of an object's entry; `otherwise` where there is none.
template <typename T>
T whole_number(const nlohmann::json& object, const char* name, T otherwise) {
  const auto found = object.find(name);
  return found == object.end() ? otherwise : whole_number<T>(*found);
}

}  // namespace cos2p
