#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "cos2p/support/span.hpp"

namespace cos2p {

/// Which units (heads or neurons) of a segment are kept: a subset of {0 .. total-1}, immutable.
/// It is the map between submodel rows (positions in kept()) and full-model rows (the values there).
class UnitSet {
 public:
  UnitSet() = default;  ///< no units at all (embedding, exit heads)
  static UnitSet all(std::int64_t total);
  /// `kept` must be strictly increasing and within [0, total); throws Error(internal) otherwise.
  UnitSet(std::int64_t total, std::vector<std::int32_t> kept);
  /// From a bitmap, bit u of byte u/8 = unit u; throws Error(internal) for a wrong size or bits past `total`.
  static UnitSet from_bitmap(std::int64_t total, Span<const std::uint8_t> bitmap);
  std::vector<std::uint8_t> bitmap() const;  ///< bitmap_bytes(total()) bytes
  static std::int64_t bitmap_bytes(std::int64_t total) { return (total + 7) / 8; }

  std::int64_t total() const { return total_; }
  std::int64_t size() const { return static_cast<std::int64_t>(kept_.size()); }
  bool full() const { return size() == total_; }
  const std::vector<std::int32_t>& kept() const& { return kept_; }
  std::vector<std::int32_t> kept() && { return std::move(kept_); }  ///< of a temporary: outlives it
  bool operator==(const UnitSet& o) const { return total_ == o.total_ && kept_ == o.kept_; }
  bool operator!=(const UnitSet& o) const { return !(*this == o); }

 private:
  std::int64_t total_ = 0;
  std::vector<std::int32_t> kept_;
};

}  // namespace cos2p
