#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <type_traits>

#include "cos2p/support/packed_values.hpp"
#include "cos2p/support/span.hpp"
#include "cos2p/support/typed_id.hpp"

namespace cos2p {

enum class MessageKind : std::uint16_t {
  segment_update = 1,  ///< body: unit bitmap (bitmap_bytes, padded to 64), then the kept values, packed
  round_report = 2,    ///< body: one RoundReport; comes after all segment updates of that local round
};

/// What stands in front of a message's body, on the wire as it is here (little endian, no padding).
struct MessageHeader {
  MessageKind kind = MessageKind::segment_update;
  ValueType value_type = ValueType::float32;  ///< segment_update only
  std::int32_t client = -1;
  std::int32_t client_round = 0;   ///< 0-based count of this client's local rounds
  std::int32_t segment = -1;       ///< segment_update only
  std::uint64_t base_version = 0;  ///< version of the segment that training started from
  double weight = 0;               ///< samples that the update stands for
  std::int64_t bitmap_bytes = 0;   ///< bytes of the unit bitmap; 0 for segments without units
  std::int64_t body_bytes = 0;     ///< all bytes that follow
  std::int32_t server_round = 0;   ///< that was open, as far as the client knew, when its local round began
  std::int32_t reserved = 0;
};
static_assert(std::is_trivially_copyable_v<MessageHeader> && sizeof(MessageHeader) == 56);

/// Offset of the values in the body of a segment update: the bitmap is padded so that the values are aligned.
constexpr std::int64_t values_offset(std::int64_t bitmap_bytes) {
  return (bitmap_bytes + 63) / 64 * 64;
}

/// Local rounds are counted up to here: what says more is wrong, and the one after it has a number too.
inline constexpr std::int32_t kLastRound = 1 << 30;

/// What a client measured in one local round; goes to the log, metrics.csv and /history.
struct RoundReport {
  std::int64_t samples = 0;
  std::int64_t steps = 0;
  std::int64_t updates = 0;       ///< segment updates pushed in this round
  double loss = 0, accuracy = 0;  ///< of training, at the deepest kept exit
  double compute_s = 0;
  double transfer_s = 0;  ///< of its pull and push, with --overlap also what is hidden behind computing
  double waiting_s = 0;   ///< for the server; with --overlap all time in which nothing is computed
  std::int64_t bytes_pulled = 0, bytes_pushed = 0;
  std::int64_t peak_memory = 0;    ///< bytes: tensors of this client's training step at their largest
  std::int64_t peak_resident = 0;  ///< bytes: the process
  double energy_j = std::numeric_limits<double>::quiet_NaN();  ///< that the machine took from the pull to the
                                                               ///< push (EnergyMeter)
  /// Bytes that it can have for training, as its machine is at the end of the round (FreeMemory); 0 = not
  /// known.
  std::int64_t free_memory = 0;
};
static_assert(std::is_trivially_copyable_v<RoundReport>);

/// Aligned bytes whose memory goes back to the pool it came from.
class Buffer {
 public:
  using Release = void (*)(void* owner, std::byte* data, std::size_t capacity);
  Buffer() = default;
  Buffer(std::byte* data, std::size_t size, std::size_t capacity, void* owner, Release release)
      : data_(data), size_(size), capacity_(capacity), owner_(owner), release_(release) {}
  Buffer(Buffer&& other) noexcept { swap(other); }
  Buffer& operator=(Buffer&& other) noexcept {
    Buffer gone(std::move(other));
    swap(gone);
    return *this;
  }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  ~Buffer() {
    if (release_ != nullptr) release_(owner_, data_, capacity_);
  }
  std::byte* data() const { return data_; }
  std::size_t size() const { return size_; }

 private:
  void swap(Buffer& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    std::swap(capacity_, other.capacity_);
    std::swap(owner_, other.owner_);
    std::swap(release_, other.release_);
  }
  std::byte* data_ = nullptr;
  std::size_t size_ = 0, capacity_ = 0;
  void* owner_ = nullptr;
  Release release_ = nullptr;
};

/// A whole, checked message.
struct Message {
  WorkerRank worker;
  MessageHeader header;
  Buffer body;
  bool values_in_range = false;  ///< the sink has looked at all values as they came (MessageSink::inspect)
};

/// Where a server channel puts what arrives. The channel calls it from the thread that polls.
class MessageSink {
 public:
  enum class Verdict {
    accept,  ///< `body` was filled in; the message will be copied there
    later,   ///< no memory now: the channel stops draining this worker's ring (back-pressure on the sender
             ///< alone)
    reject,  ///< wrong sizes, unknown segment, too stale: the channel skips the message
  };
  virtual ~MessageSink() = default;
  virtual Verdict begin(WorkerRank worker, const MessageHeader& header, Buffer& body) = 0;
  /// A part of an accepted message's body that was just copied, while it lies in the cache; `offset` is where
  /// it stands in the body. Parts come in order, and again where they turned out not to be whole yet.
  virtual void inspect(WorkerRank, const MessageHeader&, std::int64_t /*offset*/, Span<const std::byte>) {}
  virtual void deliver(Message message) = 0;
};

}  // namespace cos2p
