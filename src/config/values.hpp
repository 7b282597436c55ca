#pragma once

#include <cstdint>
#include <iosfwd>
#include <string>
#include <vector>

namespace cos2p::config {

/// The first bytes of a file, at most so many: what is read from others may have no end.
std::string read_start(std::istream& input, std::size_t most);

/// What was written for one option, in order: one text, or several for a list.
using Values = std::vector<std::string>;

/// A text that an option does not take; `expected` completes "expected ...". The caller knows the option and
/// the source.
struct BadValue {
  std::string expected;
};

/// The whole text must be the number. Throw BadValue otherwise and outside [low, high].
std::int64_t parse_whole(const std::string& text, std::int64_t low, std::int64_t high);
std::uint64_t parse_seed(const std::string& text);
double parse_real(const std::string& text, double low, double high, bool low_allowed);
bool parse_flag(const std::string& text);

/// The shortest text that parse_real reads back to the same bits.
std::string format_real(double value);

/// Splits every text at its commas, trims, and leaves out empty pieces.
Values split_list(const Values& values);
std::string trimmed(const std::string& text);

/// The candidate that differs from `text` in the fewest letters; empty where none is near.
std::string nearest(const std::string& text, const Values& candidates);
/// ", did you mean 'rounds'?" or "".
std::string did_you_mean(const std::string& text, const Values& candidates, const std::string& prefix = "");

}  // namespace cos2p::config
