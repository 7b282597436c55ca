#include <spdlog/spdlog.h>

#include <algorithm>
#include <cstring>
#include <deque>
#include <iterator>
#include <limits>

#include "cos2p/config/run_options.hpp"
#include "cos2p/server/event_log.hpp"
#include "cos2p/server/server_core.hpp"
#include "cos2p/server/staging_pool.hpp"
#include "cos2p/support/error.hpp"
#include "cos2p/support/narrow.hpp"

namespace cos2p {
namespace {

/// Keeps what comes of each event until the records after it have been compared with it.
class Outcomes : public EventSink {
 public:
  void message(const Message&, double) override {}
  void tick(double) override {}
  void active(ClientId, bool, double) override {}
  void suspect(ClientId, bool, double) override {}
  void plan(const std::vector<Assignment>&, double) override {}
  void folded(double) override {}
  void evaluation(const std::vector<EvaluationRow>&) override {}
  void member(const MemberRow&) override {}
  void channels(int, std::int64_t) override {}
  void snapshot(int, std::uint64_t, double) override {}

  void published(SegmentId segment, std::uint64_t version, std::uint64_t checksum) override {
    waiting.push_back(published_record(segment, version, checksum));
  }
  void round_closed(const RoundRow& row) override { waiting.push_back(round_record(row)); }

  std::deque<EventRecord> waiting;
};

std::string described(const SegmentTable& table, const EventRecord& record) {
  if (record.kind == EventKind::round_closed)
    return fmt::format("the end of round {} at {:.3f} s, N* {}", record.subject, record.time_s, record.value);
  const bool known = record.subject >= 0 && record.subject < table.size();
  return fmt::format("{} version {} with checksum {:016x}",
                     known ? table[SegmentId(static_cast<std::int32_t>(record.subject))].name : "a segment",
                     record.value, record.hash);
}

bool same(const EventRecord& a, const EventRecord& b) {
  return a.kind == b.kind && a.subject == b.subject && a.value == b.value && a.hash == b.hash &&
         std::memcmp(&a.time_s, &b.time_s, sizeof a.time_s) == 0;
}

/// The recorded message; its memory is its own. Throws where the record cannot be one.
Message recorded_message(const EventRecord& record, const std::vector<std::byte>& body) {
  Message message;
  if (record.subject < 0 || record.subject > std::numeric_limits<std::int32_t>::max())
    fail(ExitCode::checkpoint, "a recorded message is of worker {}", record.subject);
  message.worker = WorkerRank(static_cast<std::int32_t>(record.subject));
  if (body.size() < sizeof message.header) fail(ExitCode::checkpoint, "a recorded message has no header");
  std::memcpy(static_cast<void*>(&message.header), body.data(), sizeof message.header);
  const std::size_t bytes = body.size() - sizeof message.header;
  if (message.header.body_bytes < 0 || narrow<std::size_t>(message.header.body_bytes) != bytes)
    fail(ExitCode::checkpoint, "a recorded message has {} bytes instead of {}", bytes,
         message.header.body_bytes);
  message.body = plain_buffer(bytes);
  std::memcpy(message.body.data(), body.data() + sizeof message.header, bytes);
  return message;
}

std::vector<Assignment> recorded_plan(const SegmentTable& table, std::size_t clients,
                                      const std::vector<std::byte>& body) {
  std::vector<RecordedAssignment> recorded(clients);
  if (body.size() != clients * sizeof(RecordedAssignment))
    fail(ExitCode::checkpoint, "a recorded plan has {} bytes, for {} clients", body.size(), clients);
  std::memcpy(recorded.data(), body.data(), body.size());
  std::vector<Assignment> plan;
  for (const RecordedAssignment& r : recorded) {
    plan.push_back({r.kept_blocks, r.frozen_blocks, r.heads, r.neurons, r.rolling,
                    static_cast<WidthBalance>(r.width_balance)});
    if (!plan.back().takes_part()) continue;
    try {
      check_assignment(table, plan.back());
    } catch (const Error& error) {
      fail(ExitCode::checkpoint, "a recorded plan does not fit the model ({})", error.what());
    }
  }
  return plan;
}

bool only_adds_rows(EventKind kind) {
  return kind == EventKind::evaluation || kind == EventKind::member || kind == EventKind::channels;
}

std::vector<EvaluationRow> recorded_evaluation(const SegmentTable& table,
                                               const std::vector<std::byte>& body) {
  if (body.empty() || body.size() % sizeof(EvaluationRow) != 0)
    fail(ExitCode::checkpoint, "a recorded evaluation has {} bytes", body.size());
  std::vector<EvaluationRow> rows(body.size() / sizeof(EvaluationRow));
  std::memcpy(static_cast<void*>(rows.data()), body.data(), body.size());
  for (const EvaluationRow& row : rows) {
    if (row.block < 0 || row.block >= table.options().blocks)
      fail(ExitCode::checkpoint, "a recorded evaluation is of the exit of block {}", row.block);
  }
  return rows;
}

MemberRow recorded_member(const std::vector<std::byte>& body) {
  MemberRow row;
  if (body.size() != sizeof row) fail(ExitCode::checkpoint, "a recorded member has {} bytes", body.size());
  std::memcpy(static_cast<void*>(&row), body.data(), sizeof row);
  const auto is_text = [](char c) { return c == 0 || (c >= 'a' && c <= 'z'); };
  if (row.state[sizeof row.state - 1] != 0 ||
      !std::all_of(std::begin(row.state), std::end(row.state), is_text))
    fail(ExitCode::checkpoint, "the state of a recorded member is no word");
  return row;
}

/// One part being replayed.
class Replay {
 public:
  Replay(const SegmentTable& table, ServerCore& core, Outcomes& outcomes, double start_s)
      : table_(table), core_(core), outcomes_(outcomes), now_s_(start_s) {}

  /// Takes one record; false where it came out otherwise.
  bool take(const EventRecord& record, const std::vector<std::byte>& body, ReplayResult& result) {
    const bool outcome = record.kind == EventKind::published || record.kind == EventKind::round_closed;
    if (outcome) return compare(record, result);
    if (record.kind == EventKind::snapshot) {
      const std::uint64_t hash = model_hash(core_.snapshot(record.time_s));
      result.snapshots.push_back({record.subject, hash, record.time_s, result.told});
      if (hash == record.hash) return true;
      result.difference =
          fmt::format("the checkpoint of round {} had the hash {:016x}, and now it has {:016x}",
                      record.subject, record.hash, hash);
      return false;
    }
    if (!outcomes_.waiting.empty()) {
      result.difference = fmt::format("now there is {} and nothing like it was recorded",
                                      described(table_, outcomes_.waiting.front()));
      return false;
    }
    tell(record, body, result);
    return true;
  }

  /// When the core was last told something.
  double now_s() const { return now_s_; }

 private:
  bool compare(const EventRecord& record, ReplayResult& result) {
    ++(record.kind == EventKind::published ? result.merges : result.rounds);
    if (outcomes_.waiting.empty()) {
      result.difference =
          fmt::format("recorded was {}, and now nothing comes of it", described(table_, record));
      return false;
    }
    const EventRecord now = outcomes_.waiting.front();
    outcomes_.waiting.pop_front();
    if (same(now, record)) return true;
    result.difference = fmt::format("recorded was {}, and now there is {}", described(table_, record),
                                    described(table_, now));
    return false;
  }

  void tell(const EventRecord& record, const std::vector<std::byte>& body, ReplayResult& result) {
    if (!only_adds_rows(record.kind)) ++result.told;
    now_s_ = std::max(now_s_, record.time_s);  // an evaluation has the time of what was evaluated
    const auto client = [&] {
      if (record.subject < 0 || record.subject >= narrow<std::int64_t>(core_.tasks().size()))
        fail(ExitCode::checkpoint, "a record names client {}, of {}", record.subject, core_.tasks().size());
      return ClientId(static_cast<std::int32_t>(record.subject));
    };
    switch (record.kind) {
      case EventKind::message:
        ++result.messages;
        core_.handle(recorded_message(record, body), record.time_s);
        break;
      case EventKind::tick:
        core_.tick(record.time_s);
        break;
      case EventKind::active:
        core_.set_active(client(), record.value != 0, record.time_s);
        break;
      case EventKind::suspect:
        core_.set_suspect(client(), record.value != 0, record.time_s);
        break;
      case EventKind::plan:
        core_.set_plan(recorded_plan(table_, core_.tasks().size(), body), record.time_s);
        break;
      case EventKind::folded:
        core_.fold_largest(record.time_s);
        break;
      case EventKind::evaluation:
        core_.add_evaluation(recorded_evaluation(table_, body));
        break;
      case EventKind::member: {
        const MemberRow row = recorded_member(body);
        core_.add_member(WorkerRank(row.worker), row.state, row.time_s);
        break;
      }
      case EventKind::channels:
        if (record.value > std::numeric_limits<std::int32_t>::max())
          fail(ExitCode::checkpoint, "a record is of {} workers", record.value);
        core_.set_channels(static_cast<int>(record.value), record.subject);
        break;
      default:
        fail(ExitCode::checkpoint, "a record is of kind {}", static_cast<std::uint32_t>(record.kind));
    }
  }

  const SegmentTable& table_;
  ServerCore& core_;
  Outcomes& outcomes_;
  double now_s_;
};

}  // namespace

ReplayResult replay_part(const std::string& directory, int part) {
  const Checkpoint start = read_checkpoint(event_part_path(directory, part, ".h5"));
  const RunOptions options = parse_options(Subcommand::train, to_toml(start.identity.options)).options;
  return replay_log(event_part_path(directory, part, ".log"), start, options);
}

ReplayResult replay_log(const std::string& path, const Checkpoint& start, const RunOptions& options) {
  EventReader reader(path);
  const SegmentTable table(start.model);
  ModelStore store(table);
  ServerCore core(
      table, store,
      {options.policy, options.rounds, options.seed, 0, start.identity, start.input, start.clients});
  core.restore(start);
  Outcomes outcomes;
  core.set_events(&outcomes);
  ReplayResult result;
  result.start = {start.state.round, model_hash(start), start.state.time_s, 0};
  Replay replay(table, core, outcomes, start.state.time_s);
  EventRecord record;
  std::vector<std::byte> body;
  // What the last event leads to and the file does not hold any more was cut off with the file's end.
  while (reader.next(record, body) && replay.take(record, body, result)) continue;
  result.unread_bytes = reader.unread_bytes();
  core.set_events(nullptr);
  result.end = core.snapshot(replay.now_s());
  return result;
}

bool ReplayResult::Snapshot::is(const Checkpoint& checkpoint, std::uint64_t hash_of_its_model) const {
  return round == checkpoint.state.round && model_hash == hash_of_its_model &&
         time_s == checkpoint.state.time_s;
}

namespace {

/// How much the core was told until it made `checkpoint`; nothing where this part did not make it.
std::optional<std::int64_t> told_before(const ReplayResult& part, const Checkpoint& checkpoint) {
  const std::uint64_t hash = model_hash(checkpoint);
  if (part.start.is(checkpoint, hash)) return 0;
  for (const ReplayResult::Snapshot& snapshot : part.snapshots) {
    if (snapshot.is(checkpoint, hash)) return snapshot.told;
  }
  return std::nullopt;
}

ReplayResult replayed(const std::string& directory, int part) {
  ReplayResult result = replay_part(directory, part);
  if (!result.difference.empty())
    fail(ExitCode::checkpoint, "part {} comes out otherwise than recorded: {}", part, result.difference);
  return result;
}

/// Whether the parts before the last one, whose `start` is given, lead from `checkpoint` to it: a server that
/// was resumed from the log was killed again before its first checkpoint.
bool leads_to(const ReplayResult::Snapshot& start, const Checkpoint& checkpoint, const std::string& directory,
              const std::vector<int>& parts) {
  ReplayResult::Snapshot goal = start;
  for (auto part = parts.rbegin() + 1; part != parts.rend(); ++part) {
    const ReplayResult result = replayed(directory, *part);
    if (!goal.is(result.end, model_hash(result.end))) return false;
    if (told_before(result, checkpoint)) return true;
    goal = result.start;
  }
  return false;
}

}  // namespace

std::optional<Checkpoint> state_after(const Checkpoint& checkpoint, const std::string& directory) {
  const std::vector<int> parts = event_parts(directory);
  if (parts.empty()) return std::nullopt;
  try {
    ReplayResult result = replayed(directory, parts.back());
    const std::optional<std::int64_t> told = told_before(result, checkpoint);
    if (told == result.told) return std::nullopt;
    if (!told && !leads_to(result.start, checkpoint, directory, parts))
      fail(ExitCode::checkpoint, "it does not hold that checkpoint");
    // The checkpoint's own evaluation is written with it, and told to the core after that.
    std::vector<EvaluationRow>& rows = result.end.history.evaluations;
    const int last = rows.empty() ? -1 : rows.back().round;
    std::copy_if(checkpoint.history.evaluations.begin(), checkpoint.history.evaluations.end(),
                 std::back_inserter(rows), [last](const EvaluationRow& row) { return row.round > last; });
    return std::move(result.end);
  } catch (const Error& e) {
    spdlog::warn("the event log in {} is of no use ({}), the run goes on from the checkpoint of round {}",
                 directory, e.what(), checkpoint.state.round);
    return std::nullopt;
  }
}

}  // namespace cos2p
