#pragma once

#include <string>
#include <vector>

#include "cos2p/config/run_options.hpp"
#include "values.hpp"

namespace cos2p::config {

/// All values of an enumeration, in the order in which help lists them. One specialisation per enumeration.
template <typename Enum>
const std::vector<Enum>& all_values();

template <typename Enum>
Values choices() {
  Values names;
  for (const Enum value : all_values<Enum>()) names.push_back(to_string(value));
  return names;
}

/// "a, b or c", for help and messages.
std::string list_choices(const Values& names);

template <typename Enum>
Enum parse_choice(const std::string& text) {
  for (const Enum value : all_values<Enum>()) {
    if (to_string(value) == text) return value;
  }
  throw BadValue{list_choices(choices<Enum>()) + did_you_mean(text, choices<Enum>())};
}

}  // namespace cos2p::config
