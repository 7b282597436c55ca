#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <exception>
#include <fstream>
#include <memory>

#include "tables.hpp"

namespace cos2p {
namespace {

/// Refuses what is not an HDF5 file at all, before HDF5 sees it.
void check_signature(const std::string& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) {
    fail(ExitCode::checkpoint,
         "checkpoint '{}' cannot be opened ({}), give a checkpoint file or the output directory of a run",
         path, std::strerror(errno));
  }
  if (!S_ISREG(status.st_mode)) {
    fail(ExitCode::checkpoint,
         "'{}' is not a checkpoint (not a regular file), give a checkpoint file or the output directory of a "
         "run",
         path);
  }
  std::ifstream stream(path, std::ios::binary);
  if (!stream) {
    fail(ExitCode::checkpoint, "checkpoint '{}' cannot be opened ({}), check its permissions", path,
         std::strerror(errno));
  }
  static constexpr char kSignature[] = {'\x89', 'H', 'D', 'F', '\r', '\n', '\x1a', '\n'};
  char found[sizeof(kSignature)] = {};
  stream.read(found, sizeof(found));
  const auto size = static_cast<std::size_t>(stream.gcount());
  if (!std::equal(found, found + size, kSignature)) {
    fail(ExitCode::checkpoint,
         "'{}' is not a checkpoint (not an HDF5 file), give a checkpoint file or the output directory of a "
         "run",
         path);
  }
  if (size < sizeof(kSignature)) {
    fail(ExitCode::checkpoint,
         "checkpoint '{}' is cut (only {} bytes are left), use the checkpoint before it or start anew", path,
         size);
  }
}

void check_root(const h5::Group& root) {
  const std::string& file = root.context().file();
  if (!root.has_attribute("format") || root.get_text("format") != kFormat) {
    fail(ExitCode::checkpoint,
         "'{}' is not a checkpoint of cos2p (an HDF5 file whose / has no attribute format = \"{}\"), give a "
         "checkpoint file or the "
         "output directory of a run",
         file, kFormat);
  }
  const auto version = root.get<std::int32_t>("schema_version");
  if (version < kOldestSchemaVersion || version > kSchemaVersion) {
    fail(ExitCode::checkpoint,
         "checkpoint '{}' has schema version {} (this program reads versions {} to {}), use the cos2p that "
         "wrote it",
         file, version, kOldestSchemaVersion, kSchemaVersion);
  }
}

RunIdentity read_meta(const h5::Group& meta) {
  RunIdentity identity;
  identity.run_id = meta.get_text("run_id");
  identity.program_version = meta.get_text("program_version");
  identity.created = meta.get_text("created");
  identity.dataset = meta.get_text("dataset");
  const h5::Group options = meta.open_group("options");
  for (const std::string& name : options.attribute_names()) identity.options[name] = options.get_text(name);
  return identity;
}

ModelOptions read_model_options(const h5::Group& model) {
  ModelOptions options;
  for (const auto& field : model_fields()) options.*field.member = model.get<std::int32_t>(field.name);
  for (const auto& field : model.has_attribute(kVocabularySize) ? text_fields() : image_fields())
    options.*field.member = model.get<std::int32_t>(field.name);
  options.exits = model.get_array<std::int32_t>("exits");
  // Before tables are made for them: that many blocks must be there, beside the embedding.
  const std::int64_t groups = options.linear() ? 1 : std::int64_t{options.blocks} + 1;
  if (model.links() != groups) {
    model.context().refuse(
        fmt::format("/model says {} blocks and holds {} groups", options.blocks, model.links()));
  }
  options.validate();
  return options;
}

std::vector<std::vector<float>> read_values(const h5::Group& model, const SegmentTable& table) {
  std::vector<std::vector<float>> values;
  for (const Segment& segment : table) {
    const h5::Group group = model.open_group(segment.name);
    std::vector<float> segment_values;
    for (const TensorSpec& tensor : segment.tensors) {
      const h5::Dataset dataset = group.open_dataset(tensor.name);
      if (dataset.shape() != tensor.shape) {
        model.context().refuse(fmt::format("segment {}: tensor {} has shape {}, its model needs {}",
                                           segment.name, tensor.name, h5::to_string(dataset.shape()),
                                           h5::to_string(tensor.shape)));
      }
      segment_values.resize(static_cast<std::size_t>(tensor.offset + tensor.numel()));
      dataset.read(segment_values.data() + tensor.offset);
    }
    values.push_back(std::move(segment_values));
  }
  return values;
}

std::vector<SegmentRecord> read_segments(const h5::Group& root, const SegmentTable& table) {
  const auto rows = root.read_table<SegmentRow>("segments", segment_columns());
  if (rows.size() != static_cast<std::size_t>(table.size())) {
    root.context().refuse(
        fmt::format("/segments has {} rows, its model {} segments", rows.size(), table.size()));
  }
  std::vector<SegmentRecord> records;
  for (const Segment& segment : table) {
    const SegmentRow& row = rows[records.size()];
    const std::string name(row.name, ::strnlen(row.name, sizeof(row.name)));
    if (name != segment.name) {
      root.context().refuse(
          fmt::format("row {} of /segments is {}, expected {}", records.size(), name, segment.name));
    }
    records.push_back(row.record);
  }
  return records;
}

UnitSet read_mask(const h5::Group& block, const std::string& name, std::int64_t total) {
  const auto mask = block.read_array<std::uint8_t>(name);
  if (static_cast<std::int64_t>(mask.size()) != total) {
    block.context().refuse(fmt::format("mask {}/{} has shape ({}), its model needs ({})", block.path(), name,
                                       mask.size(), total));
  }
  std::vector<std::int32_t> kept;
  for (std::size_t i = 0; i < mask.size(); ++i) {
    if (mask[i] != 0) kept.push_back(static_cast<std::int32_t>(i));
  }
  return {total, std::move(kept)};
}

/// Version 2 knew no other than `even`.
WidthBalance read_width_balance(const h5::Group& group, int version) {
  if (version == 2 && !group.has_attribute("width_balance")) return WidthBalance::even;
  const std::string text = group.get_text("width_balance");
  for (const WidthBalance kind : {WidthBalance::even, WidthBalance::falling, WidthBalance::rising}) {
    if (to_string(kind) == text) return kind;
  }
  group.context().refuse(
      fmt::format("{} has width_balance '{}', known are even, falling and rising", group.path(), text));
}

void check_index(const h5::Group& group, const char* what, std::int64_t index, std::int64_t count) {
  if (index < 0 || index >= count) {
    group.context().refuse(fmt::format("{}: {} {} is not in 0..{}", group.path(), what, index, count - 1));
  }
}

void check_round(const h5::Group& group, const char* what, std::int32_t round) {
  if (round < 0 || round > kLastRound)
    group.context().refuse(fmt::format("{}: {} {} cannot be", group.path(), what, round));
}

ClientRecord read_client(const h5::Group& group, const SegmentTable& table, int version) {
  const ModelOptions& model = table.options();
  ClientRecord record;
  record.budget = group.get_text("budget");
  record.assignment.kept_blocks = group.get<std::int32_t>("kept_blocks");
  record.assignment.frozen_blocks = group.get<std::int32_t>("frozen_blocks");
  record.assignment.rolling = group.get<std::int32_t>("rolling");
  record.assignment.heads = group.get<std::int32_t>("heads");
  record.assignment.neurons = group.get<std::int32_t>("neurons");
  record.assignment.width_balance = read_width_balance(group, version);
  record.memory_budget = group.get<std::int64_t>("memory_budget_bytes");
  record.predicted_memory = group.get<std::int64_t>("predicted_memory_bytes");
  record.measured_memory = group.get<std::int64_t>("measured_memory_bytes");
  record.samples = group.get<std::int64_t>("samples");
  record.rounds = group.get<std::int32_t>("rounds");
  record.class_counts = group.read_array<std::int64_t>("class_counts");
  const Assignment& a = record.assignment;
  if (a.kept_blocks < 0 || a.kept_blocks > model.blocks || a.heads < 0 || a.heads > model.heads ||
      a.neurons < 0 || a.neurons > model.feed_forward) {
    group.context().refuse(fmt::format(
        "{} is assigned {} blocks of {} heads and {} neurons, its model has {} of {} and {}", group.path(),
        a.kept_blocks, a.heads, a.neurons, model.blocks, model.heads, model.feed_forward));
  }
  if (a.frozen_blocks < 0 || a.frozen_blocks > std::max(0, a.kept_blocks - 1) || a.rolling < 0 ||
      (a.takes_part() && window_count(table, a) == 0)) {
    group.context().refuse(fmt::format("{} is assigned {} frozen of {} blocks, rolling {}, which cannot be",
                                       group.path(), a.frozen_blocks, a.kept_blocks, a.rolling));
  }
  check_round(group, "rounds", record.rounds);
  const h5::Group masks = group.open_group("masks");
  const std::int64_t blocks = masks.links();
  if (blocks > model.blocks) {
    group.context().refuse(
        fmt::format("{} holds {} blocks, its model has {}", masks.path(), blocks, model.blocks));
  }
  for (std::int64_t i = 0; i < blocks; ++i) {
    const h5::Group block = masks.open_group(block_name(static_cast<std::size_t>(i)));
    record.heads.push_back(read_mask(block, "heads", model.heads));
    record.neurons.push_back(read_mask(block, "neurons", model.feed_forward));
  }
  return record;
}

std::vector<ClientRecord> read_clients(const h5::Group& clients, const SegmentTable& table, int version) {
  std::vector<ClientRecord> records;
  const auto count = static_cast<std::size_t>(clients.links());
  for (std::size_t i = 0; i < count; ++i)
    records.push_back(read_client(clients.open_group(client_name(i)), table, version));
  return records;
}

/// Reads /state; knows the model and the number of clients, so that no stored index leads astray.
class StateReader {
 public:
  StateReader(const SegmentTable& table, std::size_t clients, int schema_version)
      : table_(table), clients_(static_cast<std::int64_t>(clients)), schema_version_(schema_version) {}

  RunState read(const h5::Group& group) const {
    RunState state;
    state.round = group.get<std::int32_t>("round");
    check_round(group, "round", state.round);
    state.time_s = group.get<double>("time_s");
    state.seed = group.get<std::uint64_t>("seed");
    state.open_weight = group.get<double>("open_weight_samples");
    state.open_compute_s = group.get<double>("open_compute_s");
    state.open_waiting_s = group.get<double>("open_waiting_s");
    state.open_since_s = group.read_array<double>("open_since_s");
    state.next_start_s = group.read_array<double>("next_start_s");
    state.idle_since_s = group.read_array<double>("idle_since_s");
    state.open_updates = group.read_array<std::int32_t>("open_updates");
    check_length(group, "open_since_s", state.open_since_s.size(), table_.size());
    check_length(group, "next_start_s", state.next_start_s.size(), clients_);
    check_length(group, "idle_since_s", state.idle_since_s.size(), clients_);
    state.taking_part = group.read_array<std::int32_t>("taking_part");
    state.away_until_s = group.read_array<double>("away_until_s");
    check_length(group, "taking_part", state.taking_part.size(), clients_);
    check_length(group, "away_until_s", state.away_until_s.size(), clients_);
    check_length(group, "open_updates", state.open_updates.size(), table_.size());
    state.open_round = one_row<RoundRow>(group, "open_round", round_columns());
    state.velocity = read_velocity(group.open_group("velocity"));
    state.class_deltas = read_class_deltas(group.open_group("class_deltas"));
    state.pending = read_updates(group.open_group("pending"));
    if (!state.pending.empty() && state.open_since_s.empty())
      group.context().refuse("/state/pending holds updates and /state/open_since_s no times of theirs");
    const h5::Group in_flight = group.open_group("in_flight");
    const auto rounds = static_cast<std::size_t>(in_flight.links());
    for (std::size_t i = 0; i < rounds; ++i) {
      const h5::Group item = in_flight.open_group(item_name(i));
      InFlightRound round;
      round.client = item.get<std::int32_t>("client");
      check_index(item, "client", round.client, clients_);
      round.client_round = item.get<std::int32_t>("client_round");
      check_round(item, "client_round", round.client_round);
      round.deliver_at_s = item.get<double>("deliver_at_s");
      if (schema_version_ >= 6) round.deltas = item.get<std::int32_t>("deltas");
      round.report = one_row<RoundReport>(item, "report", report_columns(schema_version_));
      round.updates = read_updates(item.open_group("updates"));
      state.in_flight.push_back(std::move(round));
    }
    return state;
  }

 private:
  template <typename Row>
  static Row one_row(const h5::Group& group, const char* name, const std::vector<h5::Column>& columns) {
    const auto rows = group.read_table<Row>(name, columns);
    if (rows.size() != 1)
      group.context().refuse(
          fmt::format("table {}/{} has {} rows, expected 1", group.path(), name, rows.size()));
    return rows[0];
  }

  /// A list with one entry per segment or client, or none at all.
  static void check_length(const h5::Group& group, const char* name, std::size_t found,
                           std::int64_t expected) {
    if (found != 0 && static_cast<std::int64_t>(found) != expected) {
      group.context().refuse(
          fmt::format("{}/{} has {} entries, expected {}", group.path(), name, found, expected));
    }
  }

  std::vector<std::vector<float>> read_velocity(const h5::Group& group) const {
    std::vector<std::vector<float>> velocity;
    if (group.get<std::int32_t>("segments") == 0) return velocity;
    for (const Segment& segment : table_) {
      const std::string name = item_name(velocity.size());
      velocity.push_back(group.read_array<float>(name));
      if (static_cast<std::int64_t>(velocity.back().size()) != segment.numel) {
        group.context().refuse(fmt::format("{}/{} has {} values, segment {} needs {}", group.path(), name,
                                           velocity.back().size(), segment.name, segment.numel));
      }
    }
    return velocity;
  }

  std::vector<ClassDelta> read_class_deltas(const h5::Group& list) const {
    std::vector<ClassDelta> deltas;
    const auto count = static_cast<std::size_t>(list.get<std::int32_t>("deltas"));
    for (std::size_t i = 0; i < count; ++i) {
      const h5::Group item = list.open_group(item_name(i));
      ClassDelta delta;
      delta.depth = item.get<std::int32_t>("depth_blocks");
      delta.segment = item.get<std::int32_t>("segment");
      check_index(item, "segment", delta.segment, table_.size());
      delta.values = item.read_array<float>("values");
      const Segment& segment = table_[SegmentId(delta.segment)];
      if (static_cast<std::int64_t>(delta.values.size()) != segment.numel) {
        item.context().refuse(fmt::format("{} has {} values, segment {} needs {}", item.path(),
                                          delta.values.size(), segment.name, segment.numel));
      }
      deltas.push_back(std::move(delta));
    }
    return deltas;
  }

  std::vector<PendingUpdate> read_updates(const h5::Group& list) const {
    std::vector<PendingUpdate> updates;
    const auto count = static_cast<std::size_t>(list.links());
    for (std::size_t i = 0; i < count; ++i) updates.push_back(read_update(list.open_group(item_name(i))));
    return updates;
  }

  PendingUpdate read_update(const h5::Group& group) const {
    PendingUpdate update;
    update.client = group.get<std::int32_t>("client");
    update.client_round = group.get<std::int32_t>("client_round");
    update.segment = group.get<std::int32_t>("segment");
    check_round(group, "client_round", update.client_round);
    check_index(group, "client", update.client, clients_);
    check_index(group, "segment", update.segment, table_.size());
    update.base_version = group.get<std::uint64_t>("base_version");
    update.weight = group.get<double>("weight_samples");
    update.bitmap = group.read_array<std::uint8_t>("bitmap");
    update.values = group.read_array<float>("values");
    const Segment& segment = table_[SegmentId(update.segment)];
    std::int64_t kept = 0;
    if (segment.units > 0) kept = UnitSet::from_bitmap(segment.units, update.bitmap).size();
    if (static_cast<std::int64_t>(update.values.size()) != segment.numel_with(kept)) {
      group.context().refuse(fmt::format("{} has {} values, segment {} with {} units needs {}", group.path(),
                                         update.values.size(), segment.name, kept, segment.numel_with(kept)));
    }
    return update;
  }

  const SegmentTable& table_;
  std::int64_t clients_;
  int schema_version_;
};

InputEncoding read_input(const h5::Group& state, const ModelOptions& model) {
  InputEncoding input;
  const h5::Group normalization = state.open_group("normalization");
  input.normalization.mean = normalization.read_array<float>("mean");
  input.normalization.deviation = normalization.read_array<float>("deviation");
  if (!model.reads_texts()) return input;
  const h5::Group text = state.open_group("text");
  const auto bytes = text.read_array<std::uint8_t>("vocabulary");
  const bool lower_case = text.get<std::uint8_t>("lower_case") != 0;
  input.vocabulary =
      Vocabulary::from_text(std::string(bytes.begin(), bytes.end()), lower_case, "/state/text/vocabulary");
  if (input.vocabulary->size() != model.vocabulary) {
    state.context().refuse(fmt::format("/state/text/vocabulary has {} pieces, its model {}",
                                       input.vocabulary->size(), model.vocabulary));
  }
  return input;
}

Checkpoint read_root(const h5::Group& root) {
  check_root(root);
  Checkpoint checkpoint;
  checkpoint.identity = read_meta(root.open_group("meta"));
  const h5::Group model = root.open_group("model");
  checkpoint.model = read_model_options(model);
  const SegmentTable table(checkpoint.model);
  checkpoint.values = read_values(model, table);
  checkpoint.segments = read_segments(root, table);
  const auto version = root.get<std::int32_t>("schema_version");
  checkpoint.clients = read_clients(root.open_group("clients"), table, version);
  const h5::Group state = root.open_group("state");
  checkpoint.state = StateReader(table, checkpoint.clients.size(), version).read(state);
  checkpoint.input = read_input(state, checkpoint.model);
  const h5::Group history = root.open_group("history");
  checkpoint.history.rounds = history.read_table<RoundRow>("rounds", round_columns());
  checkpoint.history.evaluations = history.read_table<EvaluationRow>("evaluations", evaluation_columns());
  checkpoint.history.clients = history.read_table<ClientRow>("clients", client_columns(version));
  for (const ClientRow& row : checkpoint.history.clients) {
    check_index(history, "a row's client", row.client, narrow<std::int64_t>(checkpoint.clients.size()));
    check_round(history, "a row's client_round", row.client_round);
  }
  if (version > 2) checkpoint.history.members = history.read_table<MemberRow>("members", member_columns());
  if (version > 4) checkpoint.history.merges = history.read_table<MergeRow>("merges", merge_columns());
  return checkpoint;
}

}  // namespace

Checkpoint read_file(const std::string& path) {
  const h5::Session session;
  check_signature(path);
  try {
    const h5::File file = h5::File::open(path);
    return read_root(file.root());
  } catch (const Error& error) {
    if (error.code() == ExitCode::checkpoint) throw;
    // Found by the model's own checks (options, bitmaps): for the reader the file is at fault.
    h5::Context(path, false).refuse(error.what());
  } catch (const std::exception& error) {  // sizes that no memory holds
    h5::Context(path, false).refuse(error.what());
  }
}

void require_model(const Checkpoint& checkpoint, const ModelOptions& expected, const std::string& path) {
  if (checkpoint.model == expected) return;
  const h5::Context context(path, false);
  const SegmentTable found_table(checkpoint.model), expected_table(expected);
  for (const Segment& segment : expected_table) {
    const Segment* found = found_table.find(segment.name);
    if (found == nullptr)
      context.refuse(fmt::format("it is of another model: it has no segment {}", segment.name));
    for (std::size_t i = 0; i < segment.tensors.size(); ++i) {
      const TensorSpec& want = segment.tensors[i];
      const TensorSpec& have = found->tensors[i];
      if (have.shape == want.shape) continue;
      context.refuse(
          fmt::format("it is of another model: segment {}, tensor {} has shape {} there and {} here",
                      segment.name, want.name, h5::to_string(have.shape), h5::to_string(want.shape)));
    }
  }
  for (const Segment& segment : found_table) {
    if (expected_table.find(segment.name) == nullptr) {
      context.refuse(fmt::format("it is of another model: segment {} is not in this run's", segment.name));
    }
  }
  context.refuse("it is of another model: same weights, but other image or patch sizes");
}

}  // namespace cos2p
