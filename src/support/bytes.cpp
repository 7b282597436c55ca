#include "cos2p/support/bytes.hpp"

#include <array>
#include <cctype>
#include <cmath>
#include <cstdlib>
#include <utility>

#include "cos2p/support/error.hpp"

namespace cos2p {

std::uint64_t parse_bytes(const std::string& text, const std::string& option) {
  static constexpr std::array<std::pair<const char*, double>, 11> kUnits{{{"", 1},
                                                                          {"B", 1},
                                                                          {"KiB", 0x1p10},
                                                                          {"MiB", 0x1p20},
                                                                          {"GiB", 0x1p30},
                                                                          {"TiB", 0x1p40},
                                                                          {"kB", 1e3},
                                                                          {"KB", 1e3},
                                                                          {"MB", 1e6},
                                                                          {"GB", 1e9},
                                                                          {"TB", 1e12}}};
  char* rest = nullptr;  // strtod, since compilers of JetPack 5 have no from_chars for double
  const double number = std::strtod(text.c_str(), &rest);
  const char* end = text.data() + text.size();
  const char* unit = rest;
  while (unit != end && std::isspace(static_cast<unsigned char>(*unit)) != 0) ++unit;
  if (rest != text.c_str() && number >= 0 && std::isfinite(number)) {
    for (const auto& [name, factor] : kUnits) {
      if (std::string(unit, end) == name && number * factor < 0x1p63) {
        return static_cast<std::uint64_t>(std::llround(number * factor));
      }
    }
  }
  fail(ExitCode::usage,
       "{}: '{}' is not a size (expected a number and a unit: B, KiB, MiB, GiB, kB, MB, GB), write for "
       "example 2GiB",
       option, text);
}

std::string format_bytes(double bytes) {
  static constexpr std::array<const char*, 5> kUnits{"B", "KiB", "MiB", "GiB", "TiB"};
  std::size_t unit = 0;
  while (std::abs(bytes) >= 1024 && unit + 1 < kUnits.size()) {
    bytes /= 1024;
    ++unit;
  }
  return unit == 0 ? fmt::format("{:.0f} B", bytes) : fmt::format("{:.1f} {}", bytes, kUnits[unit]);
}

}  // namespace cos2p
