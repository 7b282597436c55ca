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
  enum class Answer {
    nothing,    ///< is asked for, or it has to wait for a later look
    laid_out,   ///< the piece lies in the channel's memory
    malformed,  ///< what is asked for cannot be: no such segment, or a piece of no copy
  };
  /// Answers `wanted` (a WantedPiece, packed, as the worker put it) in the channel's `memory`, once.
  Answer serve(std::uint64_t wanted, const ModelStore& store, const RingLayout& layout,
               Span<std::byte> memory);
  /// Gives the copy's memory back.
  void release();

 private:
  bool take(SegmentId id, const ModelStore& store);

  std::uint64_t seen_ = 0;  // the last request that is done with
  std::optional<SegmentId> id_;
  std::vector<float> values_;
  std::uint64_t version_ = 0;
  double next_copy_s_ = 0;  // not before
};

}  // namespace cos2p
