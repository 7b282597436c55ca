#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "cos2p/plan/submodel_plan.hpp"
#include "cos2p/transport/message.hpp"
#include "cos2p/transport/model_store.hpp"

namespace cos2p {

/// Size of a channel's ring: `slots` slots of `slot_bytes` payload each.
struct RingOptions {
  int slots = 24;
  std::int64_t slot_bytes = 256 << 10;  ///< rounded up to a multiple of 64
  double settle_s =
      1;  ///< how long the server waits for a slot whose checksum does not match to become whole
  double silence_s = 60;  ///< the worker gives the server up when its heartbeat stands still for so long
  int torn_reads = 3;     ///< of one segment, after which the worker has the server hold a copy (0: always)
  std::int64_t held_piece_bytes = 1 << 20;  ///< of such a copy, laid out at a time
};

/// What the server tells a worker; the worker reads it when it likes.
struct Notice {
  enum class Phase : std::uint32_t { starting = 0, running = 1, stopping = 2, excluded = 3 };
  Phase phase = Phase::starting;
  std::int32_t round = 0;     ///< rounds closed so far
  std::int32_t rounds = 0;    ///< rounds of the run (for the learning rate's schedule)
  std::int16_t lockstep = 0;  ///< 1: a client starts one local round per server round (policy sync)
  std::uint16_t tasks = 0;    ///< counts changes of the worker's tasks; the channel fills it in
};

/// One client that the worker executes.
struct ClientTask {
  std::int32_t client = -1;
  std::int32_t next_round = 0;  ///< index of its next local round (greater than 0 after a resume)
  Assignment assignment;
};

/// A part of a process's memory as another end of a channel reaches it: an MPI window, or plain memory in the
/// twin. put() and get() may return before the data moved (their memory must stay as it is); flush() waits
/// until all of them have.
class RemoteMemory {
 public:
  /// What suits this memory: bytes in one put(), and bytes between two flushes (0: a flush costs nothing).
  struct Pace {
    std::size_t put_bytes = 16 << 10;
    std::size_t flush_bytes = 0;
  };
  virtual ~RemoteMemory() = default;
  virtual Pace pace() const { return {}; }
  virtual void put(const void* source, std::size_t bytes, std::size_t offset) = 0;
  virtual void get(void* target, std::size_t bytes, std::size_t offset) = 0;
  virtual void flush() = 0;
  /// Waits only until the sources of all puts may be changed.
  virtual void flush_local() { flush(); }
  /// Gets, and waits for that alone, asleep where it takes a message's round trip: for a rank that has
  /// nothing else to do.
  virtual void get_patiently(void* target, std::size_t bytes, std::size_t offset) {
    get(target, bytes, offset);
    flush();
  }
};

struct WorkerChannelStats {
  std::int64_t bytes_pushed = 0, bytes_pulled = 0;
  double waiting_s = 0;         ///< seconds in which the ring was full
  std::int64_t torn_reads = 0;  ///< reads of a segment, the notice or the tasks that had to be repeated
  std::int64_t held_reads = 0;  ///< reads of a segment from a copy that the server held
};

/// Where a client reads the server's model: a channel, or a copy that is kept beside the training.
class ModelReader {
 public:
  virtual ~ModelReader() = default;
  /// Versions of all segments, by segment id.
  virtual std::vector<std::uint64_t> read_versions() = 0;
  /// The full segment, whole: version and checksum agree before and after. Returns its version.
  /// Throws Error(no_workers) where it cannot be had (the server is gone).
  virtual std::uint64_t read_segment(SegmentId id, Span<float> values) = 0;
  /// Tells the server that the reader still lives.
  virtual void heartbeat() = 0;
  virtual std::int64_t bytes_pulled() const = 0;
};

/// A worker's end: everything it does is one-sided. See docs/rma_protocol.md for the layout and the
/// orderings.
class WorkerChannel : public ModelReader {
 public:
  /// Called while there is nothing to do but wait (ring full, segment being written); sleeps, or lets the
  /// twin's server run. Where it is empty, the channel sleeps with a Backoff of its own.
  using Idle = std::function<void()>;

  /// `ring` is the channel's own memory at the server, `store` the server's ModelStore memory.
  WorkerChannel(const SegmentTable& table, RingOptions options, std::unique_ptr<RemoteMemory> ring,
                std::unique_ptr<RemoteMemory> store, Idle idle);

  /// Sends one message, whose body is `parts` one after another. Waits only while this channel's ring is
  /// full. Returns false where the server has stopped, excluded this worker, or its heartbeat stands still;
  /// what was sent of the message then counts as truncated.
  bool push(const MessageHeader& header, const std::vector<Span<const std::byte>>& parts);

  std::vector<std::uint64_t> read_versions() override;
  std::uint64_t read_segment(SegmentId id, Span<float> values) override;
  std::int64_t bytes_pulled() const override { return stats().bytes_pulled; }

  Notice read_notice();
  std::vector<ClientTask> read_tasks();
  /// Seconds for which the server's heartbeat has stood still, as seen by read_notice() and push().
  double server_silence_s() const;

  void heartbeat() override;
  /// Tells the server that this worker leaves in order; nothing may be pushed afterwards.
  void close();
  const WorkerChannelStats& stats() const;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

/// Why messages were dropped, counted.
struct DropCounters {
  std::int64_t corrupt = 0;    ///< checksum does not match
  std::int64_t truncated = 0;  ///< a message that another one cut off, or one whose worker left in the middle
  std::int64_t duplicate = 0;  ///< a slot or message that was seen before
  std::int64_t malformed = 0;  ///< sizes or kinds that cannot be
  std::int64_t rejected = 0;   ///< by the sink (unknown segment, wrong size, too stale)
  std::int64_t total() const { return corrupt + truncated + duplicate + malformed + rejected; }
};

/// The server's end. Never waits: poll() takes what is there.
class ServerChannel {
 public:
  /// `memory` (memory_bytes() bytes, aligned to 64) is what the worker's `ring` reaches; it must outlive this
  /// object. It is cleared here, before the worker may touch it.
  ServerChannel(WorkerRank worker, RingOptions options, int max_tasks, Span<std::byte> memory);
  static std::size_t memory_bytes(RingOptions options, int max_tasks);

  /// Takes at most `max_slots` slots; returns how many were taken.
  int poll(MessageSink& sink, int max_slots);

  /// Where the worker's link is slower than the merges: lays out the next piece that it asks for, of a copy
  /// that is held here until the last piece. True where one was laid out. For the thread that polls; the
  /// store's writer may go on. Requests for what there is not count as malformed.
  bool serve_pull(const ModelStore& store);

  /// Slots taken so far, and whether the next one is there (perhaps not whole yet).
  std::uint64_t slots_taken() const;
  bool slot_is_there() const;

  void set_notice(const Notice& notice);
  void set_tasks(const std::vector<ClientTask>& tasks);
  /// Counts up what read_notice() watches; call it in every turn of the server's loop.
  void heartbeat();

  /// The worker's heartbeat counter (any change means it lives), and whether it said that it leaves.
  std::uint64_t worker_heartbeat() const;
  bool closed_by_worker() const;
  /// The worker is gone (killed, silent): what it had begun is dropped and counted, and its memory given
  /// back.
  void abandon();
  const DropCounters& dropped() const;
  WorkerRank worker() const { return worker_; }

 private:
  struct State;
  WorkerRank worker_;
  std::shared_ptr<State> state_;
};

}  // namespace cos2p
