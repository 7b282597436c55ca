#pragma once

#include <istream>
#include <string>
#include <vector>

#include "values.hpp"

namespace cos2p::config {

/// One `name = value` of a configuration file. Numbers and booleans keep their spelling; strings are without
/// their quotes.
struct TomlEntry {
  std::string name;
  Values values;  ///< one, or the elements of an array
  bool array = false;
  int line = 0;  ///< where it begins, from 1
};

/// Reads flat TOML: comments, strings ("basic" with escapes, 'literal'), numbers, booleans, arrays of them
/// over any number of lines. Tables ([name]), dates and multi-line strings are not part of it. Throws
/// Error(usage) naming `file`, the line, and what is wrong there.
std::vector<TomlEntry> read_toml(std::istream& input, const std::string& file);

/// The string as TOML: in quotes, with what needs it escaped.
std::string toml_string(const std::string& text);
/// [a, b], of elements that are already TOML.
std::string toml_array(const Values& elements);

}  // namespace cos2p::config
