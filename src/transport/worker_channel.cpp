#include <spdlog/spdlog.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <limits>
#include <optional>
#include <utility>

#include "body_reader.hpp"
#include "cos2p/support/bytes.hpp"
#include "cos2p/support/clock.hpp"
#include "cos2p/support/error.hpp"
#include "cos2p/support/hash.hpp"
#include "cos2p/transport/backoff.hpp"
#include "cos2p/transport/channel.hpp"
#include "cos2p/transport/ring_layout.hpp"
#include "cos2p/transport/store_entry.hpp"

namespace cos2p {
namespace {

// What a pull asks for at once. On a slow link each piece must come within the limit for a silent server, and
// the worker must show between them that it lives; on a fast one a flush for each costs next to nothing.
constexpr std::size_t kPulledPiece = 4 << 20;
// A link that was slower than the merges is tried again after so many copies that the server held: a try
// costs as much as a copy.
constexpr int kCopiesBetweenTries = 8;
}  // namespace

void BodyReader::gather(std::byte* target, std::size_t bytes) {
  while (bytes > 0) {
    const std::size_t now = std::min(bytes, contiguous());
    COS2P_ASSERT(now > 0);
    std::memcpy(target, data(), now);
    target += now;
    bytes -= now;
    advance(now);
  }
}

struct WorkerChannel::State {
  State(const SegmentTable& table_, RingOptions options_, std::unique_ptr<RemoteMemory> ring_,
        std::unique_ptr<RemoteMemory> store_, Idle idle_)
      : table(table_),
        options(options_),
        layout(options_),
        ring(std::move(ring_)),
        store(std::move(store_)),
        idle(std::move(idle_)),
        segments(ModelStore::layout(table_)),
        headers(layout.slots()),
        staging(kHashBlock),
        pace(ring->pace()),
        last_read_s(monotonic_seconds()),
        last_change_s(last_read_s),
        outrun(segments.size()) {}

  const SegmentTable& table;
  RingOptions options;
  RingLayout layout;
  std::unique_ptr<RemoteMemory> ring, store;
  Idle idle;
  std::vector<ModelStore::Layout> segments;

  std::vector<SlotHeader> headers;  // what put() reads from until the next flush, by place in the ring
  std::vector<std::byte> staging;   // a block that crosses from one part of the body into the next
  bool staging_in_flight = false;
  RemoteMemory::Pace pace;

  std::uint64_t issued = 0;     // slots whose payload has been put
  std::uint64_t published = 0;  // slots whose header has been put
  std::uint64_t tail = 0;       // slots that the server is known to have taken
  std::uint64_t messages = 0;
  std::size_t unflushed = 0;  // payload bytes since the last flush

  ServerWords server;  // as last read
  Notice notice;       // the last one that was whole
  std::uint64_t last_heartbeat = 0;
  double last_read_s, last_change_s;
  WorkerWords own;
  Backoff backoff;
  std::vector<int> outrun;         // for each segment the reads in a row that needed a held copy
  bool told = false;               // that there are such
  std::uint64_t held_request = 0;  // WantedPiece::request of the last one
  WorkerChannelStats stats;

  void wait();
  void beat();
  bool refresh(bool patient = false);
  bool server_gone() const;
  void wait_or_give_up(const std::string& what);
  std::optional<std::uint64_t> read_directly(const Segment& segment, Span<float> values, int attempts);
  std::optional<std::uint64_t> get_held_piece(const Segment& segment, std::uint64_t piece, std::byte* target,
                                              std::size_t bytes);
  std::optional<std::uint64_t> read_held(const Segment& segment, Span<float> values);
  std::string in_words(const Segment& segment) const { return "segment '" + segment.name + "'"; }
  bool wait_for_slot();
  void send_slot(BodyReader& body, SlotHeader& header);
  void publish_slots();
  void flush_ring();
};

void WorkerChannel::State::wait() {
  if (idle) {
    idle();
  } else {
    backoff.pause();
  }
}

void WorkerChannel::State::flush_ring() {
  ring->flush();
  unflushed = 0;
  staging_in_flight = false;
}

// Reads the server's words, and with that completes all puts; or, while there is nothing to do but wait,
// reads them asleep. False where the notice was torn; tail and heartbeat are single words and always good.
bool WorkerChannel::State::refresh(bool patient) {
  if (patient) {
    ring->get_patiently(&server, sizeof(server), RingLayout::server_words());
  } else {
    ring->get(&server, sizeof(server), RingLayout::server_words());
    flush_ring();
  }
  last_read_s = monotonic_seconds();
  if (server.heartbeat != last_heartbeat) {
    last_heartbeat = server.heartbeat;
    last_change_s = last_read_s;
  }
  if (server.tail > tail && server.tail <= published) tail = server.tail;
  if (server.check != notice_check(server.sequence, server.notice)) return false;
  notice = server.notice;
  return true;
}

bool WorkerChannel::State::server_gone() const {
  return notice.phase == Notice::Phase::stopping || notice.phase == Notice::Phase::excluded ||
         last_read_s - last_change_s > options.silence_s;
}

void WorkerChannel::State::beat() {
  ++own.heartbeat;
  ring->put(&own.heartbeat, sizeof(own.heartbeat),
            RingLayout::worker_words() + offsetof(WorkerWords, heartbeat));
  ring->flush_local();  // on its way; nobody has to wait until it is there
}

// Between two attempts to read what the server keeps changing; the server's heartbeat bounds them.
void WorkerChannel::State::wait_or_give_up(const std::string& what) {
  wait();
  beat();
  refresh(true);
  if (last_read_s - last_change_s > options.silence_s) {
    fail(ExitCode::no_workers,
         "The {} cannot be read (the server has been silent for {:.0f} s), look into the server's log", what,
         last_read_s - last_change_s);
  }
}

// Payloads first, then, once they are known to have arrived, the headers that make them count.
void WorkerChannel::State::publish_slots() {
  if (published == issued) return;
  flush_ring();
  for (; published < issued; ++published) {
    const std::uint64_t sequence = published + 1;
    ring->put(&headers[published % layout.slots()], sizeof(SlotHeader), layout.header(sequence));
  }
}

bool WorkerChannel::State::wait_for_slot() {
  if (issued - tail < layout.slots()) return true;
  publish_slots();  // what the server cannot see, it cannot take
  refresh();
  if (issued - tail < layout.slots()) return !server_gone();
  const ScopedTimer timer(stats.waiting_s);
  backoff.reset();
  while (issued - tail >= layout.slots()) {
    if (server_gone()) return false;
    wait();
    refresh(true);
  }
  return !server_gone();
}

// Puts the payload piece by piece and hashes each piece while it is still in the cache: the put has just read
// it from memory, or on a network the hash reads it while it travels.
void WorkerChannel::State::send_slot(BodyReader& body, SlotHeader& header) {
  const std::uint64_t sequence = ++issued;
  const std::size_t target = layout.payload(sequence);
  const auto bytes = static_cast<std::size_t>(header.bytes);
  const std::size_t piece = std::max(pace.put_bytes / kHashBlock, std::size_t{1}) * kHashBlock;
  header.payload_hash = 0;
  for (std::size_t done = 0; done < bytes;) {
    // Whole hash blocks, so that pieces do not show in the hash; only a slot's last piece may end anywhere.
    std::size_t now = std::min(piece, bytes - done);
    const std::byte* from = nullptr;
    if (body.contiguous() >= std::min(kHashBlock, now)) {
      if (body.contiguous() < now) now = body.contiguous() / kHashBlock * kHashBlock;
      from = body.data();
      body.advance(now);
    } else {
      if (staging_in_flight) flush_ring();
      now = std::min(kHashBlock, now);
      body.gather(staging.data(), now);
      staging_in_flight = true;
      from = staging.data();
    }
    ring->put(from, now, target + done);
    header.payload_hash = chained_hash(from, now, header.payload_hash);
    done += now;
  }
  unflushed += bytes;
  header.sequence = sequence;
  header.header_hash = header.expected_hash();
  headers[(sequence - 1) % layout.slots()] = header;
}

// Nothing where `attempts` reads were torn by a merge.
std::optional<std::uint64_t> WorkerChannel::State::read_directly(const Segment& segment, Span<float> values,
                                                                 int attempts) {
  const ModelStore::Layout& at = segments.at(static_cast<std::size_t>(segment.id.value()));
  StoreEntry before, after;
  for (backoff.reset(); attempts > 0;) {
    // The entry is known before the values are asked for, and asked for again when all of them are here.
    store->get(&before, sizeof(before), at.entry_offset);
    store->flush();
    if (before.lock % 2 == 0) {
      for (std::size_t done = 0; done < at.values_bytes; done += kPulledPiece) {
        if (done > 0) beat();
        store->get(reinterpret_cast<std::byte*>(values.data()) + done,
                   std::min(kPulledPiece, at.values_bytes - done), at.values_offset + done);
        store->flush();
      }
      store->get(&after, sizeof(after), at.entry_offset);
      store->flush();
      stats.bytes_pulled += static_cast<std::int64_t>(at.values_bytes);
      if (after.lock == before.lock && after.version == before.version &&
          chained_hash(values.data(), at.values_bytes, before.version) == before.checksum) {
        return before.version;
      }
      --attempts;
    }
    ++stats.torn_reads;
    wait_or_give_up(in_words(segment));
  }
  return std::nullopt;
}

// Asks the server for a piece and waits until it lies there; returns the version of the copy, or nothing
// where the server stops. The server changes the piece only after the next request.
std::optional<std::uint64_t> WorkerChannel::State::get_held_piece(const Segment& segment, std::uint64_t piece,
                                                                  std::byte* target, std::size_t bytes) {
  held_request = held_request % (WantedPiece::kRequests - 1) + 1;
  own.wanted = WantedPiece{held_request, static_cast<std::uint64_t>(segment.id.value()), piece}.packed();
  ring->put(&own.wanted, sizeof(own.wanted), RingLayout::worker_words() + offsetof(WorkerWords, wanted));
  ring->flush_local();
  HeldPieceHeader header;
  for (backoff.reset();;) {
    ring->get_patiently(&header, sizeof(header), layout.held_header());
    if (header.wanted == own.wanted && header.check == header.expected_check()) {
      ring->get(target, bytes, layout.held_piece());
      ring->flush();
      stats.bytes_pulled += static_cast<std::int64_t>(bytes);
      if (chained_hash(target, bytes) == header.hash) return header.version;
    }
    wait_or_give_up(in_words(segment));
    if (notice.phase == Notice::Phase::stopping) return std::nullopt;
    if (notice.phase == Notice::Phase::excluded) {
      fail(ExitCode::no_workers,
           "The {} cannot be read (the server has put this worker out), look into the server's log",
           in_words(segment));
    }
  }
}

// The server copies the segment once, and this worker gets the copy at the pace of its link.
std::optional<std::uint64_t> WorkerChannel::State::read_held(const Segment& segment, Span<float> values) {
  auto* target = reinterpret_cast<std::byte*>(values.data());
  const std::size_t bytes = values.size_bytes(), most = layout.held_piece_bytes();
  std::optional<std::uint64_t> first;
  for (std::size_t piece = 0; piece * most < bytes; ++piece) {
    const std::size_t done = piece * most;
    const auto version = get_held_piece(segment, piece, target + done, std::min(most, bytes - done));
    if (!version) return std::nullopt;
    if (first.value_or(*version) != *version)
      fail(ExitCode::internal, "The {} came in pieces of versions {} and {}", in_words(segment), *first,
           *version);
    first = version;
    beat();
  }
  ++stats.held_reads;
  return first;
}

WorkerChannel::WorkerChannel(const SegmentTable& table, RingOptions options,
                             std::unique_ptr<RemoteMemory> ring, std::unique_ptr<RemoteMemory> store,
                             Idle idle)
    : state_(std::make_shared<State>(table, options, std::move(ring), std::move(store), std::move(idle))) {}

bool WorkerChannel::push(const MessageHeader& message, const std::vector<Span<const std::byte>>& parts) {
  State& s = *state_;
  std::size_t total = 0;
  for (const auto& part : parts) total += part.size();
  if (message.body_bytes < 0 || static_cast<std::size_t>(message.body_bytes) != total) {
    fail(ExitCode::internal, "A message announces {} bytes and has {}", message.body_bytes, total);
  }
  if (s.own.closed != 0) fail(ExitCode::internal, "A push after close()");
  BodyReader body(parts);
  SlotHeader header;
  header.magic = SlotHeader::kMagic;
  header.message = ++s.messages;
  header.header = message;
  std::size_t sent = 0;
  do {
    if (!s.wait_for_slot()) return false;
    header.offset = static_cast<std::int64_t>(sent);
    header.bytes = static_cast<std::int64_t>(std::min(s.layout.slot_bytes(), total - sent));
    s.send_slot(body, header);
    sent += static_cast<std::size_t>(header.bytes);
    if (s.unflushed >= s.pace.flush_bytes) s.publish_slots();
  } while (sent < total);
  s.publish_slots();
  s.refresh();  // its flush completes the headers; the server's words come along at no further cost
  s.stats.bytes_pushed += message.body_bytes;
  return !s.server_gone();
}

std::vector<std::uint64_t> WorkerChannel::read_versions() {
  State& s = *state_;
  std::vector<StoreEntry> entries(s.segments.size());
  s.store->get(entries.data(), entries.size() * sizeof(StoreEntry), 0);
  s.store->flush();
  std::vector<std::uint64_t> versions;
  versions.reserve(entries.size());
  for (const StoreEntry& entry : entries) versions.push_back(entry.version);
  return versions;
}

std::uint64_t WorkerChannel::read_segment(SegmentId id, Span<float> values) {
  State& s = *state_;
  const Segment& segment = s.table[id];
  if (values.size_bytes() != static_cast<std::size_t>(segment.bytes())) {
    fail(ExitCode::internal, "Segment '{}' has {} bytes, the memory for it {}", segment.name, segment.bytes(),
         values.size_bytes());
  }
  int& outrun = s.outrun.at(static_cast<std::size_t>(id.value()));
  const int attempts = outrun == 0                         ? s.options.torn_reads
                       : outrun % kCopiesBetweenTries == 0 ? std::min(s.options.torn_reads, 1)
                                                           : 0;
  if (const auto version = s.read_directly(segment, values, attempts)) {
    outrun = 0;
    return *version;
  }
  ++outrun;
  if (!std::exchange(s.told, true)) {
    spdlog::warn(
        "segment '{}' is merged again while it is read ({} over this link take longer than the time between "
        "two merges), the server holds a copy of such segments for this worker; with a faster link or a "
        "larger --min-updates its updates would be less stale",
        segment.name, format_bytes(static_cast<double>(segment.bytes())));
  }
  if (const auto version = s.read_held(segment, values)) return *version;
  return *s.read_directly(segment, values, std::numeric_limits<int>::max());  // nothing is merged any more
}

Notice WorkerChannel::read_notice() {
  State& s = *state_;
  for (s.backoff.reset(); !s.refresh(true);) {
    ++s.stats.torn_reads;
    s.wait_or_give_up("server's notice");
  }
  return s.notice;
}

std::vector<ClientTask> WorkerChannel::read_tasks() {
  State& s = *state_;
  const std::size_t at = s.layout.tasks();
  std::vector<ClientTask> tasks;
  for (s.backoff.reset();;) {
    TaskTableHeader header;
    s.ring->get_patiently(&header, sizeof(header), at);
    tasks.resize(header.count);  // one word, set by the server within the table's size
    s.ring->get_patiently(tasks.data(), tasks.size() * sizeof(ClientTask), at + sizeof(header));
    if (header.check == task_check(header.sequence, tasks.data(), header.count)) return tasks;
    ++s.stats.torn_reads;
    s.wait_or_give_up("list of tasks");
  }
}

double WorkerChannel::server_silence_s() const {
  return state_->last_read_s - state_->last_change_s;
}

void WorkerChannel::heartbeat() {
  state_->beat();
}

void WorkerChannel::close() {
  State& s = *state_;
  s.own.closed = 1;
  s.ring->put(&s.own.closed, sizeof(s.own.closed),
              RingLayout::worker_words() + offsetof(WorkerWords, closed));
  s.flush_ring();
}

const WorkerChannelStats& WorkerChannel::stats() const {
  return state_->stats;
}

}  // namespace cos2p
