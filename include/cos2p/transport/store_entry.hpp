#pragma once

#include <cstdint>
#include <type_traits>

namespace cos2p {

/// What stands in the published model's memory for each segment, before all values.
struct StoreEntry {
  std::uint64_t lock = 0;  ///< odd while the segment is written
  std::uint64_t version = 0;
  std::uint64_t checksum = 0;  ///< chained_hash() of the values, seeded with the version
  std::uint64_t spare[5] = {};
};
static_assert(std::is_trivially_copyable_v<StoreEntry> && sizeof(StoreEntry) == 64);

}  // namespace cos2p
