#include "held_copy.hpp"

#include <algorithm>
#include <atomic>
#include <cstring>

namespace cos2p {

bool HeldCopy::take(SegmentId id, const ModelStore& store) {
  values_.resize(store.values(id).size());
  const std::optional<std::uint64_t> version = store.try_copy(id, values_);
  if (!version) return false;
  id_ = id;
  version_ = *version;
  return true;
}

bool HeldCopy::serve(std::uint64_t wanted, const ModelStore& store, const RingLayout& layout,
                     Span<std::byte> memory) {
  if (wanted == seen_) return false;
  const WantedPiece ask = WantedPiece::unpacked(wanted);
  const bool known = ask.segment < static_cast<std::uint64_t>(store.segments());
  const SegmentId id(known ? static_cast<std::int32_t>(ask.segment) : 0);
  if (known && ask.piece == 0 && !take(id, store)) return true;  // it is being merged: at the next look
  seen_ = wanted;
  const std::size_t bytes = values_.size() * sizeof(float);
  const std::size_t begin = ask.piece * layout.held_piece_bytes();
  if (!known || id_ != id || begin >= bytes) return false;
  const std::size_t now = std::min(layout.held_piece_bytes(), bytes - begin);
  const std::byte* piece = reinterpret_cast<const std::byte*>(values_.data()) + begin;
  HeldPieceHeader header;
  header.wanted = wanted;
  header.version = version_;
  header.hash = chained_hash(piece, now);
  header.check = header.expected_check();
  racing_copy(memory.data() + layout.held_piece(), piece, now);
  std::atomic_thread_fence(std::memory_order_release);
  racing_copy(memory.data() + layout.held_header(), &header, sizeof(header));
  std::atomic_thread_fence(std::memory_order_release);
  if (begin + now == bytes) {
    id_.reset();
    values_ = std::vector<float>();
  }
  return true;
}

}  // namespace cos2p
