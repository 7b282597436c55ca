#include <algorithm>
#include <atomic>
#include <cstring>
#include <utility>

#include "cos2p/support/clock.hpp"
#include "cos2p/support/error.hpp"
#include "cos2p/support/hash.hpp"
#include "cos2p/transport/channel.hpp"
#include "cos2p/transport/ring_layout.hpp"
#include "held_copy.hpp"
#include "streaming_copy.hpp"

namespace cos2p {

struct ServerChannel::State {
  State(WorkerRank worker_, RingOptions options_, int max_tasks_, Span<std::byte> memory_)
      : worker(worker_),
        options(options_),
        layout(options_),
        max_tasks(static_cast<std::size_t>(max_tasks_)),
        memory(memory_) {}

  enum class Taken {
    nothing,  ///< no slot is there
    later,    ///< one is there, but not whole yet, or there is no memory for it
    slot,     ///< one is done with
  };

  WorkerRank worker;
  RingOptions options;
  RingLayout layout;
  std::size_t max_tasks;
  Span<std::byte> memory;

  std::uint64_t expected = 1;  // sequence number of the next slot
  std::uint64_t tasks_sequence = 0;
  DropCounters dropped;

  // The message that is arriving.
  bool open = false;
  std::uint64_t message = 0;  // its number; of the last one where none is open
  MessageHeader header;
  Buffer body;
  std::size_t received = 0;
  std::uint64_t skipped = 0;  // number of a message whose remaining slots are passed over
  bool start_lost = false;    // a slot that could not be read stood where a message should begin

  HeldCopy held;

  // A slot that is not whole yet: since when, and how often it was looked at.
  double unsettled_since = 0;
  int unsettled_polls = 0;

  template <typename T>
  T* at(std::size_t offset) const {
    return reinterpret_cast<T*>(memory.data() + offset);
  }
  ServerWords& words() const { return *at<ServerWords>(RingLayout::server_words()); }
  const WorkerWords& worker_words() const { return *at<const WorkerWords>(RingLayout::worker_words()); }

  Taken take(MessageSink& sink);
  Taken take_described(MessageSink& sink, const SlotHeader& slot);
  Taken begin_message(MessageSink& sink, const SlotHeader& slot);
  bool later_slot_has_come() const;
  bool settled();
  bool copy_payload(MessageSink& sink, const SlotHeader& slot);
  void close_message();
  Taken drop_message(std::int64_t& counter, std::uint64_t number);
};

namespace {

constexpr std::int64_t kStreamedBody = 1 << 20;  // larger bodies leave the cache before anybody reads them
constexpr int kLeastPolls = 16;                  // before a slot is given up, however long a poll took

// Bit by bit, since a weight that is not a number must equal itself here; there is no padding (message.hpp
// asserts the size).
bool same_bytes(const MessageHeader& a, const MessageHeader& b) {
  return std::memcmp(static_cast<const void*>(&a), static_cast<const void*>(&b), sizeof(a)) ==
         0;  // NOLINT(bugprone-suspicious-memory-comparison)
}

bool plausible(const SlotHeader& slot, std::size_t slot_bytes) {
  const MessageHeader& m = slot.header;
  const bool known = m.kind == MessageKind::segment_update || m.kind == MessageKind::round_report;
  return known && slot.bytes >= 0 && static_cast<std::size_t>(slot.bytes) <= slot_bytes && slot.offset >= 0 &&
         m.body_bytes >= 0 && slot.offset <= m.body_bytes && slot.bytes <= m.body_bytes - slot.offset &&
         (slot.bytes > 0 || m.body_bytes == 0) && m.bitmap_bytes >= 0 && m.bitmap_bytes <= m.body_bytes;
}

}  // namespace

// True once a slot that is not whole has had its time: nothing more will come. Data may arrive after the
// flush that should have waited for it, so the first look decides nothing.
bool ServerChannel::State::settled() {
  const double now = monotonic_seconds();
  if (unsettled_polls++ == 0) unsettled_since = now;
  return unsettled_polls >= kLeastPolls && now - unsettled_since >= options.settle_s;
}

// The worker publishes slots in order: where the next one is there, this one is not coming.
bool ServerChannel::State::later_slot_has_come() const {
  if (layout.slots() < 2) return false;
  const auto* place = at<SlotHeader>(layout.header(expected + 1));
  if (load_acquire(&place->sequence) != expected + 1) return false;
  SlotHeader next;
  racing_copy(&next, place, sizeof(next));
  return next.sequence == expected + 1 && next.header_hash == next.expected_hash();
}

void ServerChannel::State::close_message() {
  open = false;
  body = Buffer();
  received = 0;
}

// Counts the message once; its remaining slots are then passed over.
ServerChannel::State::Taken ServerChannel::State::drop_message(std::int64_t& counter, std::uint64_t number) {
  ++counter;
  skipped = number;
  message = std::max(message, number);
  close_message();
  return Taken::slot;
}

// Checks the payload and copies it to its place in the body, block by block, so that each is read from the
// ring once. A block whose hash is right is complete and changes no more (the worker writes there again only
// when the slot has been taken), so what is copied after it was hashed is what was hashed.
bool ServerChannel::State::copy_payload(MessageSink& sink, const SlotHeader& slot) {
  const std::byte* from = memory.data() + layout.payload(slot.sequence);
  std::byte* to = body.data() + slot.offset;
  const auto bytes = static_cast<std::size_t>(slot.bytes);
  const bool large = slot.header.body_bytes >= kStreamedBody;
  std::uint64_t hash = 0;
  for (std::size_t done = 0; done < bytes; done += kCopyBlock) {
    const std::size_t block = std::min(kCopyBlock, bytes - done);
    hash = chained_hash(from + done, block, hash);
    if (large) {
      streaming_copy(to + done, from + done, block);
    } else {
      racing_copy(to + done, from + done, block);
    }
    sink.inspect(worker, slot.header, slot.offset + static_cast<std::int64_t>(done), {from + done, block});
  }
  return hash == slot.payload_hash;
}

// Looks at the place of the next slot.
ServerChannel::State::Taken ServerChannel::State::take(MessageSink& sink) {
  const auto* place = at<SlotHeader>(layout.header(expected));
  if (load_acquire(&place->sequence) < expected && !later_slot_has_come()) {  // what lay there before
    unsettled_polls = 0;
    return Taken::nothing;
  }
  SlotHeader slot;
  racing_copy(&slot, place, sizeof(slot));
  if (slot.sequence == expected && slot.magic == SlotHeader::kMagic &&
      slot.header_hash == slot.expected_hash()) {
    return take_described(sink, slot);
  }
  if (!settled()) return Taken::later;
  ++dropped.corrupt;
  if (open) {
    skipped = message;
    close_message();
  } else {
    start_lost = true;
  }
  return Taken::slot;
}

// The header is whole: finds out where its payload belongs, if anywhere.
ServerChannel::State::Taken ServerChannel::State::take_described(MessageSink& sink, const SlotHeader& slot) {
  if (slot.message == skipped) return Taken::slot;
  if (!plausible(slot, layout.slot_bytes())) return drop_message(dropped.malformed, slot.message);
  const bool continues = open && slot.message == message;
  if (!continues && slot.message <= message) {
    ++dropped.duplicate;
    skipped = slot.message;
    return Taken::slot;
  }
  if (open && !continues) {
    ++dropped.truncated;
    close_message();
  }
  if (!continues) {
    const Taken begun = begin_message(sink, slot);
    if (!open) return begun;
  } else if (!same_bytes(header, slot.header)) {
    return drop_message(dropped.malformed, slot.message);
  }
  const auto offset = static_cast<std::size_t>(slot.offset);
  if (offset < received) {
    ++dropped.duplicate;
    return Taken::slot;
  }
  if (offset > received) return drop_message(dropped.truncated, slot.message);
  if (!copy_payload(sink, slot))
    return settled() ? drop_message(dropped.corrupt, slot.message) : Taken::later;
  received += static_cast<std::size_t>(slot.bytes);
  if (received == static_cast<std::size_t>(header.body_bytes)) {
    Message whole{worker, header, std::move(body), false};
    close_message();
    sink.deliver(std::move(whole));
  }
  return Taken::slot;
}

// Asks the sink for memory; afterwards `open` says whether there is any.
ServerChannel::State::Taken ServerChannel::State::begin_message(MessageSink& sink, const SlotHeader& slot) {
  if (slot.offset != 0) {
    if (!start_lost) ++dropped.truncated;  // a lost start has been counted
    start_lost = false;
    skipped = message = slot.message;
    return Taken::slot;
  }
  const MessageSink::Verdict verdict = sink.begin(worker, slot.header, body);
  if (verdict == MessageSink::Verdict::later) return Taken::later;
  start_lost = false;
  if (verdict == MessageSink::Verdict::reject) return drop_message(dropped.rejected, slot.message);
  if (body.size() < static_cast<std::size_t>(slot.header.body_bytes)) {
    fail(ExitCode::internal, "The sink gave {} bytes for a body of {}", body.size(), slot.header.body_bytes);
  }
  open = true;
  message = slot.message;
  header = slot.header;
  received = 0;
  return Taken::slot;
}

ServerChannel::ServerChannel(WorkerRank worker, RingOptions options, int max_tasks, Span<std::byte> memory)
    : worker_(worker) {
  const std::size_t needed = memory_bytes(options, max_tasks);
  if (memory.size() < needed || reinterpret_cast<std::uintptr_t>(memory.data()) % 64 != 0) {
    fail(ExitCode::internal, "A channel needs {} bytes aligned to 64, not {} bytes at {}", needed,
         memory.size(), static_cast<const void*>(memory.data()));
  }
  state_ = std::make_shared<State>(worker, options, max_tasks, memory);
  std::memset(memory.data(), 0, needed);  // no slot carries sequence number 0
  set_notice(Notice{});
  set_tasks({});
}

std::size_t ServerChannel::memory_bytes(RingOptions options, int max_tasks) {
  return RingLayout(options).bytes(max_tasks);
}

int ServerChannel::poll(MessageSink& sink, int max_slots) {
  State& s = *state_;
  int taken = 0;
  while (taken < max_slots) {
    const State::Taken result = s.take(sink);
    if (result == State::Taken::nothing && s.open && closed_by_worker()) abandon();
    if (result != State::Taken::slot) break;
    s.unsettled_polls = 0;
    store_release(&s.words().tail, s.expected++);
    ++taken;
  }
  return taken;
}

bool ServerChannel::serve_pull(const ModelStore& store) {
  State& s = *state_;
  const std::uint64_t wanted = load_acquire(&s.worker_words().wanted);
  const HeldCopy::Answer answer = s.held.serve(wanted, store, s.layout, s.memory);
  if (answer == HeldCopy::Answer::malformed) ++s.dropped.malformed;
  return answer == HeldCopy::Answer::laid_out;
}

std::uint64_t ServerChannel::slots_taken() const {
  return state_->expected - 1;
}

bool ServerChannel::slot_is_there() const {
  const State& s = *state_;
  return load_acquire(&s.at<SlotHeader>(s.layout.header(s.expected))->sequence) == s.expected;
}

void ServerChannel::set_notice(const Notice& notice) {
  // The check, not the order of these stores, is what keeps a reader from believing a mixture of two notices.
  ServerWords& words = state_->words();
  ServerWords next;
  next.sequence = words.sequence + 1;
  next.notice = notice;
  next.notice.tasks = static_cast<std::uint16_t>(state_->tasks_sequence);
  next.check = notice_check(next.sequence, next.notice);
  racing_copy(&words.sequence, &next.sequence,
              offsetof(ServerWords, spare) - offsetof(ServerWords, sequence));
  std::atomic_thread_fence(std::memory_order_release);
}

void ServerChannel::set_tasks(const std::vector<ClientTask>& tasks) {
  State& s = *state_;
  if (tasks.size() > s.max_tasks) {
    fail(ExitCode::internal, "{} tasks for worker {}, whose table holds {}", tasks.size(), worker_.value(),
         s.max_tasks);
  }
  TaskTableHeader next;
  next.sequence = ++s.tasks_sequence;
  next.count = tasks.size();
  next.check = task_check(next.sequence, tasks.data(), next.count);
  const std::size_t at = s.layout.tasks();
  racing_copy(s.memory.data() + at + sizeof(next), tasks.data(), tasks.size() * sizeof(ClientTask));
  racing_copy(s.memory.data() + at, &next, sizeof(next));
  std::atomic_thread_fence(std::memory_order_release);
}

void ServerChannel::heartbeat() {
  ServerWords& words = state_->words();
  store_release(&words.heartbeat, words.heartbeat + 1);
}

std::uint64_t ServerChannel::worker_heartbeat() const {
  return load_acquire(&state_->worker_words().heartbeat);
}

bool ServerChannel::closed_by_worker() const {
  return load_acquire(&state_->worker_words().closed) != 0;
}

void ServerChannel::abandon() {
  state_->held.release();
  if (!state_->open) return;
  state_->drop_message(state_->dropped.truncated, state_->message);
}

const DropCounters& ServerChannel::dropped() const {
  return state_->dropped;
}

}  // namespace cos2p
