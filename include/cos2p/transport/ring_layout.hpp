#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "cos2p/transport/channel.hpp"

namespace cos2p {

// What lies in a channel's memory at the server: control block, slot headers, slot payloads, task table.
// docs/rma_protocol.md explains who writes what, and in which order. Little endian; every word is 8-byte
// aligned.

/// Written by the worker, read by the server.
struct WorkerWords {
  std::uint64_t heartbeat = 0;
  std::uint64_t closed = 0;     ///< 1 once the worker has left in order
  std::uint64_t wanted = 0;     ///< a WantedPiece, packed; 0: none yet
  std::uint64_t probe[5] = {};  ///< for the check of the fabric at start
};
static_assert(sizeof(WorkerWords) == 64);

/// Asks for one piece of a segment of which the server holds a copy; the first piece asks for the copy, too.
/// Packed into one word, which nobody ever sees half written.
struct WantedPiece {
  static constexpr std::uint64_t kRequests = 1 << 20, kSegments = 1 << 20, kPieces = 1 << 24;
  std::uint64_t request = 1;  ///< 1 to kRequests - 1: another one each time
  std::uint64_t segment = 0;  ///< below kSegments
  std::uint64_t piece = 0;    ///< below kPieces
  std::uint64_t packed() const { return (request * kSegments + segment) * kPieces + piece; }
  static WantedPiece unpacked(std::uint64_t word) {
    return {word / kPieces / kSegments, word / kPieces % kSegments, word % kPieces};
  }
};

/// Stands in front of the piece that the server has laid out.
struct HeldPieceHeader {
  std::uint64_t wanted = 0;   ///< which request it answers
  std::uint64_t version = 0;  ///< of the segment, when it was copied
  std::uint64_t hash = 0;     ///< chained_hash() of the piece
  std::uint64_t check = 0;    ///< of everything above
  std::uint64_t spare[4] = {};
  std::uint64_t expected_check() const;
};
static_assert(std::is_trivially_copyable_v<HeldPieceHeader> && sizeof(HeldPieceHeader) == 64);

/// Written by the server, read by the worker. `check` covers `sequence` and `notice`: a copy that mixes two
/// notices is found.
struct ServerWords {
  std::uint64_t tail = 0;  ///< slots taken so far
  std::uint64_t heartbeat = 0;
  std::uint64_t sequence = 0;  ///< counts notices
  Notice notice;
  std::uint64_t check = 0;
  std::uint64_t spare[2] = {};
};
static_assert(std::is_trivially_copyable_v<ServerWords> && sizeof(Notice) == 16 && sizeof(ServerWords) == 64);
std::uint64_t notice_check(std::uint64_t sequence, const Notice& notice);

/// Stands in front of the task table, which is `count` ClientTasks; `check` covers sequence, count and tasks.
struct TaskTableHeader {
  std::uint64_t sequence = 0;
  std::uint64_t count = 0;
  std::uint64_t check = 0;
  std::uint64_t spare[5] = {};
};
static_assert(std::is_trivially_copyable_v<ClientTask> && sizeof(ClientTask) == 32 &&
              sizeof(TaskTableHeader) == 64);
std::uint64_t task_check(std::uint64_t sequence, const ClientTask* tasks, std::uint64_t count);

/// Describes one slot; written after the payload. Each slot carries the whole MessageHeader, so that every
/// slot can be judged without having seen another.
struct SlotHeader {
  static constexpr std::uint64_t kMagic = 0x32746f6c73703263ULL;  ///< "c2pslot2"
  std::uint64_t sequence =
      0;  ///< number of the slot since the channel began, from 1; its place is (sequence - 1) % slots
  std::uint64_t magic = 0;
  std::uint64_t message = 0;       ///< number of the message since the channel began, from 1
  std::int64_t offset = 0;         ///< where this slot's payload belongs in the message's body, bytes
  std::int64_t bytes = 0;          ///< of payload in this slot
  std::uint64_t payload_hash = 0;  ///< chained_hash() of the payload
  MessageHeader header;
  std::uint64_t spare[2] = {};
  std::uint64_t header_hash = 0;  ///< of everything above
  std::uint64_t expected_hash() const;
};
static_assert(std::is_trivially_copyable_v<SlotHeader> && sizeof(SlotHeader) == 128);

constexpr std::size_t kHashBlock = 4 << 10;
/// The hash of all blocks so far, from that of the blocks `before` and that of the next one.
std::uint64_t chain(std::uint64_t before, std::uint64_t hash);
/// hash64 of each kHashBlock bytes, chained (`seed` stands before the first).
std::uint64_t chained_hash(const void* data, std::size_t size, std::uint64_t seed = 0);
/// Payloads are checked and copied in blocks that are still in the cache when they are touched a second time.
constexpr std::size_t kCopyBlock = 32 << 10;
static_assert(kCopyBlock % kHashBlock == 0);

/// Offsets in a channel's memory, bytes; a function of the options alone, equal on both ends. The task table,
/// whose size only the server knows, comes last; before it the piece of a held copy.
class RingLayout {
 public:
  explicit RingLayout(RingOptions options);  ///< throws Error(internal) for options that cannot be
  std::size_t slots() const { return slots_; }
  std::size_t slot_bytes() const { return slot_bytes_; }
  static constexpr std::size_t worker_words() { return 0; }
  static constexpr std::size_t server_words() {
    return 128;
  }  ///< not on the worker's line, nor on its neighbour
  std::size_t header(std::uint64_t sequence) const { return kHeaders + place(sequence) * sizeof(SlotHeader); }
  std::size_t payload(std::uint64_t sequence) const { return payloads_ + place(sequence) * slot_bytes_; }
  std::size_t held_header() const { return payloads_ + slots_ * slot_bytes_; }
  std::size_t held_piece() const { return held_header() + sizeof(HeldPieceHeader); }
  std::size_t held_piece_bytes() const { return held_piece_bytes_; }
  std::size_t tasks() const { return held_piece() + held_piece_bytes(); }
  std::size_t bytes(int max_tasks) const;

 private:
  static constexpr std::size_t kHeaders = 256;
  std::size_t place(std::uint64_t sequence) const {
    return static_cast<std::size_t>((sequence - 1) % slots_);
  }
  std::size_t slots_, slot_bytes_, held_piece_bytes_, payloads_;
};

// Words that another process or thread reads or writes at the same time.
inline std::uint64_t load_acquire(const std::uint64_t* word) {
  return __atomic_load_n(word, __ATOMIC_ACQUIRE);
}
inline void store_release(std::uint64_t* word, std::uint64_t value) {
  __atomic_store_n(word, value, __ATOMIC_RELEASE);
}

/// memcpy for memory that somebody else may be writing or reading at the same time. The caller finds a torn
/// copy by its checksum or sequence number and repeats it; thread sanitizer is kept from reporting what is so
/// by design.
void racing_copy(void* target, const void* source, std::size_t bytes);

}  // namespace cos2p
