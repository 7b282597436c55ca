#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "cos2p/model/segment_table.hpp"
#include "cos2p/support/span.hpp"

namespace cos2p {

/// The published model: one contiguous, page-aligned block of memory which workers read one-sidedly while the
/// server writes. Each segment carries a sequence lock (odd while it is written), its version and a checksum
/// of its values, so that a reader detects a read that overlapped a write, or data that had not arrived when
/// a flush returned. One writer thread; any number of readers.
class ModelStore {
 public:
  explicit ModelStore(const SegmentTable& table);
  ~ModelStore();
  ModelStore(const ModelStore&) = delete;
  ModelStore& operator=(const ModelStore&) = delete;

  /// Changes a part of a segment's values in place: `begin` is the index of the part's first value.
  using WritePart = std::function<void(std::int64_t begin, Span<float> part)>;
  /// Lets `write` change the segment's values part by part (each part once, in any order, on up to `threads`
  /// threads), then gives it the next version, which is returned. A part is hashed as soon as it is written,
  /// while it lies in the cache.
  std::uint64_t publish(SegmentId id, int threads, const WritePart& write);
  /// Sets values and version, as read from a checkpoint.
  void restore(SegmentId id, Span<const float> values, std::uint64_t version);

  /// For the writer's own process, between publishes.
  Span<const float> values(SegmentId id) const;
  std::uint64_t version(SegmentId id) const;
  /// chained_hash() of the values, seeded with the version.
  std::uint64_t checksum(SegmentId id) const;
  int segments() const { return static_cast<int>(layout_.size()); }

  /// Copies a segment's values, for another thread than the writer's. Returns their version, or nothing where
  /// the writer was at them meanwhile.
  std::optional<std::uint64_t> try_copy(SegmentId id, Span<float> target) const;

  /// What readers see.
  Span<std::byte> memory() const;
  struct Layout {
    std::size_t entry_offset;   ///< of the segment's StoreEntry
    std::size_t values_offset;  ///< of its values
    std::size_t values_bytes;
  };
  /// The same on server and workers: a function of the table alone.
  static std::vector<Layout> layout(const SegmentTable& table);
  static std::size_t memory_bytes(const SegmentTable& table);

 private:
  const SegmentTable& table_;
  std::vector<Layout> layout_;
  std::byte* memory_ = nullptr;
  std::size_t bytes_ = 0;
};

}  // namespace cos2p
