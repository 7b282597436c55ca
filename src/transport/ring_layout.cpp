#include "cos2p/transport/ring_layout.hpp"

#include <algorithm>
#include <cstring>

#include "cos2p/support/error.hpp"
#include "cos2p/support/hash.hpp"
#include "cos2p/support/narrow.hpp"
#include "cos2p/support/random.hpp"

namespace cos2p {

namespace {
constexpr std::size_t kPage = 4096;
}  // namespace

std::uint64_t notice_check(std::uint64_t sequence, const Notice& notice) {
  return hash64(&notice, sizeof(notice), sequence);
}

std::uint64_t task_check(std::uint64_t sequence, const ClientTask* tasks, std::uint64_t count) {
  return hash64(tasks, count * sizeof(ClientTask), sequence ^ (count << 32));
}

std::uint64_t HeldPieceHeader::expected_check() const {
  return hash64(this, offsetof(HeldPieceHeader, check));
}

std::uint64_t SlotHeader::expected_hash() const {
  return hash64(this, offsetof(SlotHeader, header_hash));
}

std::uint64_t chain(std::uint64_t before, std::uint64_t hash) {
  return mix64(before ^ hash);
}

std::uint64_t chained_hash(const void* data, std::size_t size, std::uint64_t seed) {
  // While the processor hashes a block, which lies in the cache, it can fetch a part of what comes after
  // `data`, which mostly does not. As many lines as it keeps track of at a time; more would make it wait for
  // them.
  constexpr std::size_t kLine = 64, kLines = 40;
  const auto* bytes = static_cast<const std::byte*>(data);
  for (std::size_t done = 0, block = 0; done < size; done += kHashBlock, ++block) {
    const std::byte* next = bytes + size + block * kLines * kLine;
    for (std::size_t line = 0; line < kLines; ++line) __builtin_prefetch(next + line * kLine);
    seed = chain(seed, hash64(bytes + done, std::min(kHashBlock, size - done)));
  }
  return seed;
}

RingLayout::RingLayout(RingOptions options) {
  if (options.slots < 1 || options.slot_bytes < 1 || options.held_piece_bytes < 1) {
    fail(ExitCode::internal, "A ring of {} slots of {} bytes and a piece of {} bytes cannot be",
         options.slots, options.slot_bytes, options.held_piece_bytes);
  }
  slots_ = static_cast<std::size_t>(options.slots);
  slot_bytes_ = (narrow<std::size_t>(options.slot_bytes, "slot size") + 63) / 64 * 64;
  held_piece_bytes_ = (narrow<std::size_t>(options.held_piece_bytes, "size of a held piece") + 63) / 64 * 64;
  payloads_ = (kHeaders + slots_ * sizeof(SlotHeader) + kPage - 1) / kPage * kPage;
}

std::size_t RingLayout::bytes(int max_tasks) const {
  return tasks() + sizeof(TaskTableHeader) +
         narrow<std::size_t>(max_tasks, "number of tasks") * sizeof(ClientTask);
}

#if defined(__SANITIZE_THREAD__)
// Word by word and not instrumented: memcpy itself is intercepted by thread sanitizer.
__attribute__((no_sanitize("thread"), optimize("no-tree-loop-distribute-patterns"))) void racing_copy(
    void* target, const void* source, std::size_t bytes) {
  auto* to = static_cast<volatile unsigned char*>(target);
  const auto* from = static_cast<const volatile unsigned char*>(source);
  std::size_t done = 0;
  if (reinterpret_cast<std::uintptr_t>(target) % 8 == 0 &&
      reinterpret_cast<std::uintptr_t>(source) % 8 == 0) {
    for (; done + 8 <= bytes; done += 8) {
      *reinterpret_cast<volatile std::uint64_t*>(to + done) =
          *reinterpret_cast<const volatile std::uint64_t*>(from + done);
    }
  }
  for (; done < bytes; ++done) to[done] = from[done];
}
#else
void racing_copy(void* target, const void* source, std::size_t bytes) {
  if (bytes > 0) std::memcpy(target, source, bytes);
}
#endif

}  // namespace cos2p
