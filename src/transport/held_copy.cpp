#include "held_copy.hpp"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <new>

#include "cos2p/support/clock.hpp"

namespace cos2p {

namespace {
// A worker that asks for copies without end gets at most so much of the time of the thread that serves all.
constexpr double kShareOfTime = 0.1;
}  // namespace

bool HeldCopy::take(SegmentId id, const ModelStore& store) {
  const double start = monotonic_seconds();
  if (start < next_copy_s_) return false;
  release();
  try {
    values_.resize(store.values(id).size());
  } catch (const std::bad_alloc&) {
    return false;  // there may be memory at a later look
  }
  const std::optional<std::uint64_t> version = store.try_copy(id, values_);
  const double end = monotonic_seconds();
  next_copy_s_ = end + (end - start) / kShareOfTime;
  if (!version) return false;  // it is being merged
  id_ = id;
  version_ = *version;
  return true;
}

void HeldCopy::release() {
  id_.reset();
  values_ = std::vector<float>();
}

HeldCopy::Answer HeldCopy::serve(std::uint64_t wanted, const ModelStore& store, const RingLayout& layout,
                                 Span<std::byte> memory) {
  if (wanted == seen_) return Answer::nothing;
  const WantedPiece ask = WantedPiece::unpacked(wanted);
  const bool known = ask.segment < static_cast<std::uint64_t>(store.segments());
  const SegmentId id(known ? static_cast<std::int32_t>(ask.segment) : 0);
  if (known && ask.piece == 0 && !take(id, store)) return Answer::nothing;
  seen_ = wanted;
  const std::size_t bytes = values_.size() * sizeof(float);
  const std::size_t begin = ask.piece * layout.held_piece_bytes();
  if (!known || id_ != id || begin >= bytes) return Answer::malformed;
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
  if (begin + now == bytes) release();
  return Answer::laid_out;
}

}  // namespace cos2p
