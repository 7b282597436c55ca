// A worker's ring with foreign bytes in it, the server's channel that polls it, and the server behind that
// takes what is delivered. Input: a byte for the model, one for the policy, then steps: bytes written
// anywhere into the ring, slots whose hashes are right or not, whole messages that are damaged on their way
// or not, polls.
#include <cstdlib>

#include "cos2p/server/staging_pool.hpp"
#include "cos2p/transport/ring_layout.hpp"
#include "fuzz/small_run.hpp"

using namespace cos2p;
using namespace cos2p::fuzz;

namespace {

constexpr std::size_t kSlots = 4, kSlotBytes = 128;
constexpr int kMaxTasks = 3;

RingOptions ring_options() {
  RingOptions options;
  options.slots = kSlots;
  options.slot_bytes = kSlotBytes;
  options.settle_s = 0;
  options.held_piece_bytes = 128;
  return options;
}

/// As large as the channel needs it and no larger.
struct RingMemory {
  RingMemory() : bytes(ServerChannel::memory_bytes(ring_options(), kMaxTasks)) {
    if (::posix_memalign(&data, 64, bytes) != 0) found("no memory");
  }
  ~RingMemory() { std::free(data); }
  RingMemory(const RingMemory&) = delete;
  RingMemory& operator=(const RingMemory&) = delete;
  Span<std::byte> span() const { return {static_cast<std::byte*>(data), bytes}; }
  void write(std::size_t offset, const void* source, std::size_t size) const {
    if (size > 0) std::memcpy(static_cast<std::byte*>(data) + offset, source, size);
  }
  std::size_t bytes;
  void* data = nullptr;
};

/// As the server's loop does it, with the merging at once.
class Sink : public MessageSink {
 public:
  Sink(ServerCore& core, StagingPool& pool) : core_(core), pool_(pool) {}
  Verdict begin(WorkerRank, const MessageHeader& header, Buffer& body) override {
    std::string reason;
    if (core_.check_shape(header, reason) != UpdateVerdict::accepted) {
      if (reason.empty()) found("a message is not taken, without a reason");
      return Verdict::reject;
    }
    std::optional<Buffer> buffer = pool_.acquire(static_cast<std::size_t>(header.body_bytes));
    if (!buffer) {
      core_.fold_largest(now_s_);
      return Verdict::later;
    }
    body = std::move(*buffer);
    in_range_ = true;
    return Verdict::accept;
  }
  void inspect(WorkerRank, const MessageHeader& header, std::int64_t offset,
               Span<const std::byte> part) override {
    in_range_ = in_range_ && part_in_range(header, offset, part);
  }
  void deliver(Message message) override {
    message.values_in_range = in_range_;
    core_.handle(std::move(message), now_s_ += 0.25);
  }

 private:
  ServerCore& core_;
  StagingPool& pool_;
  bool in_range_ = false;
  double now_s_ = 1;
};

/// The worker's side: writes what it likes.
class Worker {
 public:
  Worker(const RingMemory& memory, const ServerChannel& channel, const SmallRun& run)
      : memory_(memory), channel_(channel), run_(run), layout_(ring_options()) {}

  void raw(Input& input) const {
    const std::size_t offset = input.number<std::uint16_t>() % memory_.bytes;
    const Bytes bytes = input.take(std::min<std::size_t>(input.byte(), memory_.bytes - offset));
    memory_.write(offset, bytes.data(), bytes.size());
  }

  /// A piece of a segment, mostly of one that there is.
  void wants(Input& input) {
    const std::uint64_t any = input.byte();
    const auto segments = static_cast<std::uint64_t>(run_.table.size());
    const WantedPiece ask{++requests_,
                          any < 250 ? any % segments : input.number<std::uint64_t>() % WantedPiece::kSegments,
                          input.choice(5)};
    const std::uint64_t word = ask.packed();
    memory_.write(RingLayout::worker_words() + offsetof(WorkerWords, wanted), &word, sizeof word);
  }

  /// One slot; `fixes` says what of it is put right.
  void slot(Input& input) const {
    const std::uint8_t fixes = input.byte();
    auto header = input.number<SlotHeader>();
    Bytes payload = input.take(kSlotBytes);
    payload.resize(kSlotBytes);
    if ((fixes & 1U) != 0) header.sequence = channel_.slots_taken() + 1 + (fixes >> 6);
    if ((fixes & 2U) != 0) header.magic = SlotHeader::kMagic;
    if ((fixes & 4U) != 0)
      header.bytes = static_cast<std::int64_t>(static_cast<std::uint64_t>(header.bytes) % 160);
    if ((fixes & 8U) != 0) header.message %= 8;
    if ((fixes & 16U) != 0 && header.bytes >= 0 && header.bytes <= std::int64_t{kSlotBytes})
      header.payload_hash = chained_hash(payload.data(), static_cast<std::size_t>(header.bytes));
    if ((fixes & 32U) != 0) header.header_hash = header.expected_hash();
    place(header, payload.data(), kSlotBytes);
  }

  /// A message as workers send it, apart from what `input` changes of its header, its body and its slots.
  void whole(Input& input, ServerChannel& channel, Sink& sink) {
    const std::size_t kind = input.choice(8);
    const int client = static_cast<int>(input.choice(4)), round = static_cast<int>(input.choice(8));
    const auto& table = run_.table;
    const SegmentId id(static_cast<std::int32_t>(input.choice(static_cast<std::size_t>(table.size()))));
    const auto units = static_cast<int>(kind == 0 ? 0 : input.choice(10));
    const float value = kind == 0 ? 0 : input.number<float>();
    const std::uint64_t base = run_.store.version(id);
    const ValueType type = kind < 6 ? ValueType::float32 : kind == 6 ? ValueType::bf16 : ValueType::int8;
    WholeMessage message = kind == 0 ? small_report(client, round)
                                     : small_update(table[id], client, round, base, units, value, type);
    const std::size_t changes = input.choice(8);
    for (std::size_t i = 0; i < changes; ++i) {
      const std::size_t at = input.choice(sizeof(MessageHeader));
      reinterpret_cast<std::uint8_t*>(&message.header)[at] = input.byte();
    }
    const std::size_t damages = input.choice(4);
    for (std::size_t i = 0; i < damages && !message.body.empty(); ++i)
      message.body[input.number<std::uint16_t>() % message.body.size()] = input.byte();
    ++messages_;
    // Pieces of 128 bytes, unless the input says otherwise: an honest worker fills each slot.
    const std::uint8_t piece_choice = input.byte();
    const std::size_t piece = piece_choice < 192 ? kSlotBytes : 1 + piece_choice % 64;
    const std::uint8_t damaged_slot = input.byte();
    std::size_t sent = 0, index = 0;
    do {
      SlotHeader header;
      header.sequence = channel.slots_taken() + 1;
      header.magic = SlotHeader::kMagic;
      header.message = messages_;
      header.offset = static_cast<std::int64_t>(sent);
      header.bytes = static_cast<std::int64_t>(std::min(piece, message.body.size() - sent));
      header.header = message.header;
      const std::uint8_t* from = message.body.data() + sent;
      header.payload_hash = chained_hash(from, static_cast<std::size_t>(header.bytes));
      header.header_hash = header.expected_hash();
      if (index == damaged_slot) header.payload_hash ^= 1;
      place(header, from, static_cast<std::size_t>(header.bytes));
      sent += static_cast<std::size_t>(header.bytes);
      ++index;
      const std::uint64_t before = channel.slots_taken();
      for (int polls = 0; polls < 20 && channel.slots_taken() == before; ++polls) channel.poll(sink, 1);
    } while (sent < message.body.size());
  }

 private:
  std::uint64_t requests_ = 0;

  void place(const SlotHeader& header, const void* payload, std::size_t bytes) const {
    // Where the server looks, whatever the sequence says.
    const std::uint64_t place =
        channel_.slots_taken() + 1 + (header.sequence - channel_.slots_taken() - 1) % kSlots;
    memory_.write(layout_.payload(place), payload, bytes);
    memory_.write(layout_.header(place), &header, sizeof header);
  }

  const RingMemory& memory_;
  const ServerChannel& channel_;
  const SmallRun& run_;
  RingLayout layout_;
  std::uint64_t messages_ = 0;
};

}  // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  keep_quiet();
  Input input(data, size);
  const auto kind = static_cast<SmallModel>(input.choice(kSmallModels));
  StagingPool pool(std::size_t{64} << 10);  // outlives the core, which holds what came out of it
  SmallRun run(kind, small_policy(input.byte()));
  const RingMemory memory;
  ServerChannel channel(WorkerRank(1), ring_options(), kMaxTasks, memory.span());
  channel.set_tasks(run.core->tasks());
  Sink sink(*run.core, pool);
  Worker worker(memory, channel, run);
  double now_s = 1;
  while (!input.empty()) {
    switch (input.choice(9)) {
      case 0:
        worker.raw(input);
        break;
      case 1:
        worker.slot(input);
        break;
      case 2:
      case 3:
      case 4:
        worker.whole(input, channel, sink);
        break;
      case 5:
        run.core->tick(now_s += 1);
        channel.heartbeat();
        channel.set_notice(run.core->notice(Notice::Phase::running));
        break;
      case 6:
        channel.abandon();
        break;
      case 8:
        worker.wants(input);
        break;
      default:
        channel.poll(sink, static_cast<int>(input.choice(9)));
        channel.serve_pull(run.store);
    }
  }
  // What is damaged is passed over after some looks; what is not there is not waited for.
  for (int i = 0; i < 200 && channel.slot_is_there(); ++i) channel.poll(sink, 1);
  const DropCounters& dropped = channel.dropped();
  if (dropped.corrupt < 0 || dropped.total() < 0) found("counters below 0");
  check_model(run);
  run.core->snapshot(now_s);
  return 0;
}
