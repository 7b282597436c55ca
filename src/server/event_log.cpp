#include "cos2p/server/event_log.hpp"

#include <spdlog/spdlog.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <limits>

#include "cos2p/support/bytes.hpp"
#include "cos2p/support/error.hpp"
#include "cos2p/support/hash.hpp"
#include "cos2p/support/narrow.hpp"
#include "cos2p/transport/ring_layout.hpp"

namespace cos2p {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kLargestBody = std::uint64_t{1} << 40;

std::string events_directory(const std::string& directory) {
  return directory + "/events";
}

/// Every body is hashed in two pieces, of which the first is as long as a message's header.
std::size_t head_of(std::size_t body_bytes) {
  return std::min(body_bytes, sizeof(MessageHeader));
}

std::uint64_t body_hash_of(const void* head, std::size_t head_bytes, const void* body, std::size_t bytes) {
  return hash64(body, bytes, hash64(head, head_bytes));
}

}  // namespace

std::uint64_t EventRecord::expected_check() const {
  return hash64(this, offsetof(EventRecord, check), kEventLogMagic);
}

EventRecord event_record(EventKind kind, double time_s, std::int64_t subject, std::uint64_t value,
                         std::uint64_t hash) {
  EventRecord record;
  record.kind = kind;
  record.time_s = time_s;
  record.subject = subject;
  record.value = value;
  record.hash = hash;
  return record;
}

EventRecord published_record(SegmentId segment, std::uint64_t version, std::uint64_t checksum) {
  return event_record(EventKind::published, 0, segment.value(), version, checksum);
}

EventRecord round_record(const RoundRow& row) {
  return event_record(EventKind::round_closed, row.time_s, row.round, static_cast<std::uint64_t>(row.n_star));
}

std::uint64_t model_hash(const ModelStore& store) {
  std::uint64_t hash = 0;
  for (int s = 0; s < store.segments(); ++s) {
    const std::uint64_t words[2] = {store.version(SegmentId(s)), store.checksum(SegmentId(s))};
    hash = hash64(words, sizeof words, hash);
  }
  return hash;
}

std::uint64_t model_hash(const Checkpoint& checkpoint) {
  std::uint64_t hash = 0;
  for (std::size_t s = 0; s < checkpoint.values.size(); ++s) {
    const std::vector<float>& values = checkpoint.values[s];
    const std::uint64_t version = checkpoint.segments[s].version;
    const std::uint64_t words[2] = {version,
                                    chained_hash(values.data(), values.size() * sizeof(float), version)};
    hash = hash64(words, sizeof words, hash);
  }
  return hash;
}

std::string event_part_path(const std::string& directory, int part, const char* suffix) {
  return fmt::format("{}/part-{:04d}{}", events_directory(directory), part, suffix);
}

std::vector<int> event_parts(const std::string& directory) {
  std::vector<int> parts;
  std::error_code error;
  for (fs::directory_iterator it(events_directory(directory), error), end; !error && it != end;
       it.increment(error)) {
    const std::string name = it->path().filename().string();
    int part = 0, used = 0;
    if (std::sscanf(name.c_str(), "part-%d.log%n", &part, &used) == 1 &&
        used == static_cast<int>(name.size()) && part > 0)
      parts.push_back(part);
  }
  std::sort(parts.begin(), parts.end());
  return parts;
}

std::uint64_t event_log_bytes(const std::string& directory) {
  std::uint64_t bytes = 0;
  std::error_code error;
  for (fs::directory_iterator it(events_directory(directory), error), end; !error && it != end;
       it.increment(error)) {
    std::error_code unreadable;
    const std::uint64_t size = it->file_size(unreadable);
    if (!unreadable) bytes += size;
  }
  return bytes;
}

EventLog::EventLog(const std::string& directory, const Checkpoint& start, bool resuming,
                   std::uint64_t limit) {
  const std::string events = events_directory(directory);
  std::error_code error;
  if (!resuming) fs::remove_all(events, error);
  fs::create_directories(events, error);
  if (error) {
    fail(ExitCode::environment,
         "{} cannot be made ({}), leave out --event-log or choose another directory with --output", events,
         error.message());
  }
  const std::vector<int> parts = event_parts(directory);
  const int part = parts.empty() ? 1 : parts.back() + 1;
  write_checkpoint_file(event_part_path(directory, part, ".h5"), start);
  const std::uint64_t used = event_log_bytes(directory);
  room_ = limit == 0 ? std::numeric_limits<std::uint64_t>::max() : limit - std::min(limit, used);
  path_ = event_part_path(directory, part, ".log");
  file_ = std::fopen(path_.c_str(), "wbxe");
  if (file_ == nullptr || std::fwrite(&kEventLogMagic, sizeof kEventLogMagic, 1, file_) != 1 ||
      std::fflush(file_) != 0) {
    fail(ExitCode::environment,
         "{} cannot be written ({}), leave out --event-log or choose another directory with --output", path_,
         std::strerror(errno));
  }
}

EventLog::~EventLog() {
  if (file_ != nullptr) std::fclose(file_);
}

void EventLog::give_up(const std::string& reason) {
  spdlog::warn("nothing more is recorded in {} ({}); the run goes on, and a replay goes as far as this",
               path_, reason);
  std::fclose(file_);
  file_ = nullptr;
}

void EventLog::flush() {
  if (file_ != nullptr && std::fflush(file_) != 0) give_up(std::strerror(errno));
}

void EventLog::write(EventRecord& record, const void* head, std::size_t head_bytes, const void* body,
                     std::size_t bytes) {
  if (file_ == nullptr) return;
  record.body_bytes = head_bytes + bytes;
  record.body_hash = record.body_bytes > 0 ? body_hash_of(head, head_bytes, body, bytes) : 0;
  record.check = record.expected_check();
  const std::uint64_t needed = sizeof record + record.body_bytes;
  if (needed > room_) {
    give_up("the parts have reached --event-log-limit");
    return;
  }
  room_ -= needed;
  if (std::fwrite(&record, sizeof record, 1, file_) != 1 ||
      (head_bytes > 0 && std::fwrite(head, head_bytes, 1, file_) != 1) ||
      (bytes > 0 && std::fwrite(body, bytes, 1, file_) != 1))
    give_up(std::strerror(errno));
}

/// The core is told something: what it was told before and did nothing is of no interest any more.
void EventLog::told(EventRecord record, const void* body, std::size_t bytes) {
  tick_waits_ = false;
  const std::size_t head = head_of(bytes);
  write(record, body, head, static_cast<const std::byte*>(body) + head, bytes - head);
}

void EventLog::came_of_it(EventRecord record) {
  if (tick_waits_) {
    tick_waits_ = false;
    EventRecord tick = event_record(EventKind::tick, tick_s_);
    write(tick, nullptr, 0, nullptr, 0);
  }
  write(record, nullptr, 0, nullptr, 0);
}

void EventLog::message(const Message& message, double now_s) {
  tick_waits_ = false;
  EventRecord record = event_record(EventKind::message, now_s, message.worker.value());
  write(record, &message.header, sizeof message.header, message.body.data(),
        narrow<std::size_t>(message.header.body_bytes));
}

void EventLog::tick(double now_s) {
  tick_waits_ = true;
  tick_s_ = now_s;
}

void EventLog::active(ClientId client, bool active, double now_s) {
  told(event_record(EventKind::active, now_s, client.value(), active ? 1 : 0));
}

void EventLog::suspect(ClientId client, bool suspect, double now_s) {
  told(event_record(EventKind::suspect, now_s, client.value(), suspect ? 1 : 0));
}

void EventLog::plan(const std::vector<Assignment>& plan, double now_s) {
  std::vector<RecordedAssignment> body;
  for (const Assignment& a : plan)
    body.push_back({a.kept_blocks, a.frozen_blocks, a.heads, a.neurons, a.rolling,
                    static_cast<std::int32_t>(a.width_balance)});
  told(event_record(EventKind::plan, now_s), body.data(), body.size() * sizeof(RecordedAssignment));
}

void EventLog::folded(double now_s) {
  told(event_record(EventKind::folded, now_s));
}

void EventLog::evaluation(const std::vector<EvaluationRow>& rows) {
  if (rows.empty()) return;
  static_assert(sizeof(EvaluationRow) == 32);
  told(event_record(EventKind::evaluation, rows.back().time_s), rows.data(),
       rows.size() * sizeof(EvaluationRow));
  flush();
}

void EventLog::member(const MemberRow& row) {
  static_assert(sizeof(MemberRow) == 32);
  MemberRow clean;  // no byte between the entries is left to chance
  std::memset(static_cast<void*>(&clean), 0, sizeof clean);
  clean.round = row.round;
  clean.worker = row.worker;
  clean.time_s = row.time_s;
  std::memcpy(clean.state, row.state, sizeof row.state);
  told(event_record(EventKind::member, row.time_s, row.worker), &clean, sizeof clean);
  flush();
}

void EventLog::channels(int workers, std::int64_t drops) {
  told(event_record(EventKind::channels, 0, drops, narrow<std::uint64_t>(workers)));
}

void EventLog::published(SegmentId segment, std::uint64_t version, std::uint64_t checksum) {
  came_of_it(published_record(segment, version, checksum));
  flush();
}

void EventLog::round_closed(const RoundRow& row) {
  came_of_it(round_record(row));
  flush();
}

void EventLog::snapshot(int round, std::uint64_t hash, double now_s) {
  came_of_it(event_record(EventKind::snapshot, now_s, round, 0, hash));
  flush();
}

EventReader::EventReader(const std::string& path) : file_(std::fopen(path.c_str(), "rbe")) {
  std::uint64_t magic = 0;
  if (file_ == nullptr) {
    fail(ExitCode::checkpoint, "{} cannot be read ({}), give the output directory of a run with --event-log",
         path, std::strerror(errno));
  }
  std::error_code error;
  size_ = narrow<std::int64_t>(fs::file_size(path, error));
  good_ = sizeof magic;
  if (error || std::fread(&magic, sizeof magic, 1, file_) != 1 || magic != kEventLogMagic) {
    std::fclose(file_);
    fail(ExitCode::checkpoint,
         "{} is no event log of this version (it does not begin as one), give the output directory of a run "
         "with --event-log",
         path);
  }
}

EventReader::~EventReader() {
  std::fclose(file_);
}

bool EventReader::next(EventRecord& record, std::vector<std::byte>& body) {
  if (std::fread(&record, sizeof record, 1, file_) != 1 || record.magic != EventRecord::kMagic ||
      record.check != record.expected_check() || record.body_bytes > kLargestBody)
    return false;
  const std::int64_t after = good_ + narrow<std::int64_t>(sizeof record + record.body_bytes);
  if (after > size_) return false;
  body.resize(record.body_bytes);
  if (!body.empty() && std::fread(body.data(), body.size(), 1, file_) != 1) return false;
  const std::size_t head = head_of(body.size());
  if (!body.empty() &&
      body_hash_of(body.data(), head, body.data() + head, body.size() - head) != record.body_hash)
    return false;
  good_ = after;
  return true;
}

}  // namespace cos2p
