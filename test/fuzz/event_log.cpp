// Event logs: the reader, and the replay of what it reads.
// Input: a byte (even: the file itself; odd: records, whose checks are put right or not), then the file or
// the records.
#include "cos2p/server/event_log.hpp"

#include "cos2p/config/run_options.hpp"
#include "cos2p/support/hash.hpp"
#include "fuzz/small_run.hpp"

using namespace cos2p;
using namespace cos2p::fuzz;

namespace {

/// A part of a run's events: what it began with, and its records, a file in memory.
struct Part {
  Checkpoint start = small_checkpoint(SmallModel::images);
  RunOptions options = parse_options(Subcommand::train, to_toml(start.identity.options)).options;
  MemoryFile log;
};

void append(Bytes& bytes, const void* data, std::size_t size) {
  const auto* from = static_cast<const std::uint8_t*>(data);
  bytes.insert(bytes.end(), from, from + size);
}

void append_record(Bytes& file, Input& input) {
  static const SegmentTable table(small_model(SmallModel::images));
  const std::uint8_t fixes = input.byte();
  EventRecord record;
  record.kind = static_cast<EventKind>((fixes & 1U) != 0 ? input.byte() : 1 + input.choice(12));
  record.time_s = (fixes & 2U) != 0 ? input.number<double>() : 30 + static_cast<double>(input.byte());
  record.subject = (fixes & 4U) != 0 ? input.number<std::int64_t>() : input.byte() % 4;
  record.value = input.byte();
  Bytes body;
  if (record.kind == EventKind::message) {
    const SegmentId id(static_cast<std::int32_t>(input.choice(static_cast<std::size_t>(table.size()))));
    const int client = static_cast<int>(input.choice(4)), round = static_cast<int>(input.choice(8));
    const std::size_t kind = input.choice(4);
    const bool report = kind == 0;
    const std::uint64_t base = 1 + input.choice(8);
    const auto units = static_cast<int>(input.choice(10));
    const auto value = input.number<float>();
    WholeMessage message =
        report ? small_report(client, round)
               : small_update(table[id], client, round, base, units, value, static_cast<ValueType>(kind - 1));
    if ((fixes & 8U) != 0) message.header.client_round = input.number<std::int32_t>();
    append(body, &message.header, sizeof message.header);
    append(body, message.body.data(), message.body.size());
  }
  if (record.kind == EventKind::plan) {
    for (int client = 0; client < 3; ++client) {
      const auto small = [&] { return static_cast<std::int32_t>(input.choice(12)) - 1; };
      const RecordedAssignment plan = {small(), small(), small(), small(), small(), small()};
      append(body, &plan, sizeof plan);
    }
  }
  if (record.kind == EventKind::evaluation) {
    const EvaluationRow row{static_cast<std::int32_t>(input.choice(8)),
                            static_cast<std::int32_t>(input.choice(4)) - 1, record.time_s, 1, 0.5};
    append(body, &row, sizeof row);
  }
  if (record.kind == EventKind::member) {
    MemberRow row;
    std::memset(static_cast<void*>(&row), 0, sizeof row);
    row.worker = input.byte();
    const Bytes state = input.take(sizeof row.state);
    if (!state.empty()) std::memcpy(row.state, state.data(), state.size());
    append(body, &row, sizeof row);
  }
  if ((fixes & 16U) != 0) body = input.part();
  record.body_bytes = (fixes & 32U) != 0 ? input.number<std::uint64_t>() : body.size();
  const std::size_t head = std::min(body.size(), sizeof(MessageHeader));
  if (!body.empty())
    record.body_hash = hash64(body.data() + head, body.size() - head, hash64(body.data(), head));
  if ((fixes & 64U) == 0) record.check = record.expected_check();
  append(file, &record, sizeof record);
  append(file, body.data(), body.size());
}

}  // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  keep_quiet();
  static const Part part;
  Input input(data, size);
  const std::uint8_t form = input.byte();
  Bytes file;
  if (form % 2 == 0) {
    file = input.rest();
  } else {
    append(file, &kEventLogMagic, sizeof kEventLogMagic);
    while (!input.empty()) append_record(file, input);
  }
  part.log.write(file);
  read_or_refused({ExitCode::checkpoint}, [&] {
    EventReader reader(part.log.path());
    EventRecord record;
    std::vector<std::byte> body;
    while (reader.next(record, body)) continue;
    if (reader.unread_bytes() < 0) found("more was read than there is");
  });
  if (form % 2 != 0 && form % 4 == 1)
    read_or_refused({ExitCode::checkpoint}, [&] { replay_log(part.log.path(), part.start, part.options); });
  return 0;
}
