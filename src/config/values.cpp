#include "values.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <istream>
#include <limits>
#include <numeric>

namespace cos2p::config {
namespace {

template <typename Number>
bool read_whole(const std::string& text, Number& number) {
  const char* end = text.data() + text.size();
  const auto [rest, status] = std::from_chars(text.data(), end, number);
  return status == std::errc{} && rest == end;
}

/// Letters to insert, delete or replace to make one text of the other.
std::size_t edit_distance(const std::string& a, const std::string& b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t replaced = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, replaced});
    }
  }
  return row.back();
}

}  // namespace

std::string read_start(std::istream& input, std::size_t most) {
  std::string text;
  char piece[4096];
  while (text.size() < most && input) {
    input.read(piece, static_cast<std::streamsize>(std::min(sizeof piece, most - text.size())));
    text.append(piece, static_cast<std::size_t>(input.gcount()));
  }
  return text;
}

std::int64_t parse_whole(const std::string& text, std::int64_t low, std::int64_t high) {
  std::int64_t number = 0;
  if (read_whole(text, number) && number >= low && number <= high) return number;
  const bool open = high >= std::numeric_limits<int>::max();
  throw BadValue{open ? fmt::format("a whole number of at least {}", low)
                      : fmt::format("a whole number from {} to {}", low, high)};
}

std::uint64_t parse_seed(const std::string& text) {
  std::uint64_t number = 0;
  if (read_whole(text, number)) return number;
  throw BadValue{"a whole number from 0 to 2^64 - 1"};
}

double parse_real(const std::string& text, double low, double high, bool low_allowed) {
  // strtod, since the compilers of older Jetson systems have no from_chars for floating point.
  char* end = nullptr;
  errno = 0;
  const double number = std::strtod(text.c_str(), &end);
  const bool whole_text = !text.empty() && end == text.c_str() + text.size() &&
                          std::isspace(static_cast<unsigned char>(text.front())) == 0;
  const bool in_range =
      std::isfinite(number) && number <= high && (low_allowed ? number >= low : number > low);
  if (whole_text && in_range) return number;
  const std::string from = fmt::format("a number {} {}", low_allowed ? "of at least" : "greater than", low);
  throw BadValue{std::isinf(high) ? from : fmt::format("{} and at most {}", from, high)};
}

bool parse_flag(const std::string& text) {
  if (text == "true") return true;
  if (text == "false") return false;
  throw BadValue{"true or false"};
}

std::string format_real(double value) {
  return fmt::format("{}", value);
}

std::string trimmed(const std::string& text) {
  const auto is_space = [](char c) { return std::isspace(static_cast<unsigned char>(c)) != 0; };
  const auto first = std::find_if_not(text.begin(), text.end(), is_space);
  const auto last = std::find_if_not(text.rbegin(), std::make_reverse_iterator(first), is_space).base();
  return {first, last};
}

Values split_list(const Values& values) {
  Values pieces;
  for (const std::string& value : values) {
    std::size_t begin = 0;
    while (begin <= value.size()) {
      const std::size_t end = std::min(value.find(',', begin), value.size());
      const std::string piece = trimmed(value.substr(begin, end - begin));
      if (!piece.empty()) pieces.push_back(piece);
      begin = end + 1;
    }
  }
  return pieces;
}

std::string nearest(const std::string& text, const Values& candidates) {
  std::string best;
  std::size_t least = std::max<std::size_t>(2, text.size() / 3) + 1;
  for (const std::string& candidate : candidates) {
    const std::size_t distance = edit_distance(text, candidate);
    if (distance < least && distance < std::max(text.size(), candidate.size())) {
      least = distance;
      best = candidate;
    }
  }
  return best;
}

std::string did_you_mean(const std::string& text, const Values& candidates, const std::string& prefix) {
  const std::string best = nearest(text, candidates);
  return best.empty() ? "" : fmt::format(", did you mean '{}{}'?", prefix, best);
}

}  // namespace cos2p::config
