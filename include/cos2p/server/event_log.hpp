#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cos2p/checkpoint/checkpoint.hpp"
#include "cos2p/transport/message.hpp"
#include "cos2p/transport/model_store.hpp"

namespace cos2p {

struct RunOptions;

/// What a ServerCore tells of its work, in the order in which things happen: first what it is told, then what
/// comes of it. Called by the thread that uses the core.
class EventSink {
 public:
  virtual ~EventSink() = default;
  // what the core is told
  virtual void message(const Message& message, double now_s) = 0;
  virtual void tick(double now_s) = 0;
  virtual void active(ClientId client, bool active, double now_s) = 0;
  virtual void suspect(ClientId client, bool suspect, double now_s) = 0;
  virtual void plan(const std::vector<Assignment>& plan, double now_s) = 0;
  virtual void folded(double now_s) = 0;
  virtual void evaluation(const std::vector<EvaluationRow>& rows) = 0;
  virtual void member(const MemberRow& row) = 0;
  virtual void channels(int workers, std::int64_t drops) = 0;
  // what comes of it
  /// A segment's new version; `checksum` covers values and version.
  virtual void published(SegmentId segment, std::uint64_t version, std::uint64_t checksum) = 0;
  virtual void round_closed(const RoundRow& row) = 0;
  /// A checkpoint is made of what the core holds now.
  virtual void snapshot(int round, std::uint64_t model_hash, double now_s) = 0;
};

/// Of all segments' versions and checksums: equal where two models are the same to the bit.
std::uint64_t model_hash(const Checkpoint& checkpoint);
std::uint64_t model_hash(const ModelStore& store);

/// The kinds of records; the numbers stand in files.
enum class EventKind : std::uint32_t {
  message = 1,
  tick = 2,
  active = 3,
  suspect = 4,
  folded = 5,
  published = 6,
  round_closed = 7,
  snapshot = 8,
  plan = 9,
  evaluation = 10,
  member = 11,
  channels = 12,
};
/// What an event log begins with; the last digit is its version.
inline constexpr std::uint64_t kEventLogMagic = 0x34676f6c76653263ULL;  // "c2evlog4"

/// One record, as it stands in the file (little endian), followed by `body_bytes` bytes.
struct EventRecord {
  static constexpr std::uint32_t kMagic = 0x76653263;  ///< "c2ev"
  std::uint32_t magic = kMagic;
  EventKind kind = EventKind::tick;
  double time_s = 0;
  std::int64_t subject = 0;      ///< client, segment, round or worker; channels: messages that they dropped
  std::uint64_t value = 0;       ///< version, flag or N*; channels: workers
  std::uint64_t hash = 0;        ///< of what was published, or of the model
  std::uint64_t body_bytes = 0;  ///< message: its header, then its body; plan: RecordedAssignment of each
                                 ///< client; evaluation: its rows; member: the row
  std::uint64_t body_hash = 0;
  std::uint64_t check = 0;  ///< of everything above
  std::uint64_t expected_check() const;
};
static_assert(sizeof(EventRecord) == 64);

/// An Assignment, as it stands in the file.
struct RecordedAssignment {
  std::int32_t kept_blocks = 0, frozen_blocks = 0, heads = 0, neurons = 0, rolling = 0, width_balance = 0;
};
EventRecord event_record(EventKind kind, double time_s, std::int64_t subject = 0, std::uint64_t value = 0,
                         std::uint64_t hash = 0);
EventRecord published_record(SegmentId segment, std::uint64_t version, std::uint64_t checksum);
EventRecord round_record(const RoundRow& row);

/// Writes all that a core is told and publishes to DIR/events: for each start of the server a part, which is
/// what the core held then (part-NNNN.h5, a checkpoint) and the records (part-NNNN.log, which only grows).
/// A part whose end is missing, because the server was killed, is good up to there.
class EventLog : public EventSink {
 public:
  /// Begins the next part (the first one, in place of what was there, where the run is not `resuming`).
  /// `limit`: bytes of all parts together after which nothing more is recorded; 0 = none. Throws
  /// Error(environment) where the part cannot be begun; later the run goes on without, and says so.
  EventLog(const std::string& directory, const Checkpoint& start, bool resuming, std::uint64_t limit);
  ~EventLog() override;
  EventLog(const EventLog&) = delete;
  EventLog& operator=(const EventLog&) = delete;

  void message(const Message& message, double now_s) override;
  /// Kept back until something comes of it: most ticks do nothing.
  void tick(double now_s) override;
  void active(ClientId client, bool active, double now_s) override;
  void suspect(ClientId client, bool suspect, double now_s) override;
  void plan(const std::vector<Assignment>& plan, double now_s) override;
  void folded(double now_s) override;
  void evaluation(const std::vector<EvaluationRow>& rows) override;
  void member(const MemberRow& row) override;
  void channels(int workers, std::int64_t drops) override;
  void published(SegmentId segment, std::uint64_t version, std::uint64_t checksum) override;
  void round_closed(const RoundRow& row) override;
  void snapshot(int round, std::uint64_t model_hash, double now_s) override;

 private:
  void told(EventRecord record, const void* body = nullptr, std::size_t bytes = 0);
  void came_of_it(EventRecord record);
  void write(EventRecord& record, const void* head, std::size_t head_bytes, const void* body,
             std::size_t bytes);
  void flush();
  void give_up(const std::string& reason);

  std::string path_;
  std::FILE* file_ = nullptr;
  std::uint64_t room_ = 0;  ///< bytes that may still be written
  bool tick_waits_ = false;
  double tick_s_ = 0;
};

/// Reads a part's records one after another.
class EventReader {
 public:
  explicit EventReader(const std::string& path);  ///< throws Error(checkpoint) for what is no such file
  ~EventReader();
  EventReader(const EventReader&) = delete;
  EventReader& operator=(const EventReader&) = delete;
  /// False at the end, which may be in the middle of a record: then unread_bytes() says how much is left.
  bool next(EventRecord& record, std::vector<std::byte>& body);
  std::int64_t unread_bytes() const { return size_ - good_; }

 private:
  std::FILE* file_ = nullptr;
  std::int64_t size_ = 0, good_ = 0;
};

/// Numbers of the parts in a run's directory, rising.
std::vector<int> event_parts(const std::string& directory);
/// Of all parts of a run's log; 0 where there is none.
std::uint64_t event_log_bytes(const std::string& directory);
std::string event_part_path(const std::string& directory, int part, const char* suffix);

/// What a replay of one part found.
struct ReplayResult {
  /// A checkpoint that was made, and came to the same model now.
  struct Snapshot {
    std::int64_t round = 0;
    std::uint64_t model_hash = 0;
    double time_s = 0;
    std::int64_t told = 0;  ///< as below, when it was made
    bool is(const Checkpoint& checkpoint, std::uint64_t hash_of_its_model) const;
  };
  std::int64_t messages = 0, merges = 0, rounds = 0;
  std::int64_t told = 0;  ///< records of what the core was told, without those that only add rows
  Snapshot start;         ///< what the part began with
  std::vector<Snapshot> snapshots;
  std::int64_t unread_bytes = 0;  ///< after the last whole record
  std::string difference;  ///< what came out otherwise than recorded, in words; empty where nothing did
  Checkpoint end;          ///< what the core holds in the end
};
/// Tells a core that starts from the part's checkpoint what the recorded one was told, and compares what
/// comes of it: every published segment, every round, every checkpoint.
ReplayResult replay_part(const std::string& directory, int part);
/// The same from the part's log at `path` alone, where its checkpoint and the options of that are at hand.
ReplayResult replay_log(const std::string& path, const Checkpoint& start, const RunOptions& options);

/// What the event log in `directory` leads to after `checkpoint`, the newest of that directory: the state
/// when the server last wrote to the log. Empty where the log goes no further, is of another course of the
/// run, or comes out otherwise than recorded (with a warning).
std::optional<Checkpoint> state_after(const Checkpoint& checkpoint, const std::string& directory);

}  // namespace cos2p
