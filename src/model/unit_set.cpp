#include "cos2p/model/unit_set.hpp"

#include <numeric>
#include <utility>

#include "cos2p/support/error.hpp"
#include "cos2p/support/narrow.hpp"

namespace cos2p {

UnitSet UnitSet::all(std::int64_t total) {
  std::vector<std::int32_t> kept(narrow<std::size_t>(total, "number of units"));
  std::iota(kept.begin(), kept.end(), 0);
  return UnitSet(total, std::move(kept));
}

UnitSet::UnitSet(std::int64_t total, std::vector<std::int32_t> kept) : total_(total), kept_(std::move(kept)) {
  narrow<std::int32_t>(total, "number of units");
  std::int64_t previous = -1;
  for (std::int32_t unit : kept_) {
    if (unit <= previous || unit >= total) {
      fail(ExitCode::internal,
           "kept units are not a subset of the full ones (unit {} after {}, of {} units), list each unit "
           "once and "
           "in increasing order",
           unit, previous, total);
    }
    previous = unit;
  }
}

UnitSet UnitSet::from_bitmap(std::int64_t total, Span<const std::uint8_t> bitmap) {
  if (total < 0 || static_cast<std::int64_t>(bitmap.size()) != bitmap_bytes(total)) {
    fail(ExitCode::internal,
         "a unit bitmap has the wrong size ({} bytes, expected {} for {} units), send it again",
         bitmap.size(), bitmap_bytes(total), total);
  }
  std::vector<std::int32_t> kept;
  for (std::size_t byte = 0; byte < bitmap.size(); ++byte) {
    for (unsigned bit = 0; bit < 8; ++bit) {
      if (((bitmap[byte] >> bit) & 1U) == 0) continue;
      const auto unit = static_cast<std::int64_t>(8 * byte + bit);
      if (unit >= total) {
        fail(ExitCode::internal, "a unit bitmap names unit {} (there are {} units), send it again", unit,
             total);
      }
      kept.push_back(static_cast<std::int32_t>(unit));
    }
  }
  return UnitSet(total, std::move(kept));
}

std::vector<std::uint8_t> UnitSet::bitmap() const {
  std::vector<std::uint8_t> bits(static_cast<std::size_t>(bitmap_bytes(total_)), 0);
  for (std::int32_t unit : kept_) {
    const auto u = static_cast<std::size_t>(unit);
    bits[u / 8] = static_cast<std::uint8_t>(bits[u / 8] | (1U << (u % 8)));
  }
  return bits;
}

}  // namespace cos2p
