#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "cos2p/transport/model_store.hpp"
#include "cos2p/transport/ring_layout.hpp"

namespace cos2p {

/// The server's part in a pull over a link that is slower than the merges: a copy of one segment, of which
/// the worker asks for one piece after another. It is made with the first piece, and given back with the
/// last.
class HeldCopy {
 public:
  /// Answers `wanted` (a WantedPiece, packed, as the worker put it) in the channel's `memory`, where it is
  /// new and can be answered: what asks for no segment of `store`, or for a piece of another copy, is passed
  /// over.
  bool serve(std::uint64_t wanted, const ModelStore& store, const RingLayout& layout, Span<std::byte> memory);

 private:
  bool take(SegmentId id, const ModelStore& store);

  std::uint64_t seen_ = 0;  // the last request that is done with
  std::optional<SegmentId> id_;
  std::vector<float> values_;
  std::uint64_t version_ = 0;
};

}  // namespace cos2p
