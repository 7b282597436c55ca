#include <algorithm>
#include <cstring>

#include "cos2p/support/machine.hpp"
#include "cos2p/support/narrow.hpp"
#include "tables.hpp"

namespace cos2p {
namespace {

const char* unit_name(SegmentKind kind) {
  return kind == SegmentKind::attention ? "head" : "neuron";
}

void write_root(h5::Group root) {
  root.set_text(
      "about",
      "Checkpoint of cos2p: one Transformer trained together by unequal machines. /meta who and how, /model "
      "the weights, "
      "/segments versions, /clients who trained what, /state for a resume, /history the course of the run.");
  root.set_text("format", kFormat);
  root.set<std::int32_t>("schema_version", kSchemaVersion);
}

void write_meta(h5::Group root, const RunIdentity& identity) {
  h5::Group meta = root.create_group("meta");
  meta.set_text("about",
                "identity of the run; the attributes of options are every option in effect, by its name on "
                "the command line");
  meta.set<std::int32_t>("schema_version", kSchemaVersion);
  meta.set_text("program_version", identity.program_version);
  meta.set_text("run_id", identity.run_id);
  meta.set_text("created", identity.created);
  meta.set_text("dataset", identity.dataset);
  h5::Group options = meta.create_group("options");
  for (const auto& [name, value] : identity.options) options.set_text(name, value);
}

/// The group of a segment; those of a block lie in the block's group.
h5::Group create_segment_group(h5::Group& model, const std::string& name) {
  const auto slash = name.find('/');
  if (slash == std::string::npos) return model.create_group(name);
  const std::string block = name.substr(0, slash);
  h5::Group parent = model.has(block) ? model.open_group(block) : model.create_group(block);
  return parent.create_group(name.substr(slash + 1));
}

void write_model(h5::Group root, const SegmentTable& table, const Checkpoint& checkpoint) {
  h5::Group model = root.create_group("model");
  model.set_text("about",
                 "weights of the global model, float32, one group per segment; per_unit: axis 0 is the unit "
                 "(head or neuron); "
                 "xxh3_64: XXH3 of the values' bytes, remove it from a tensor changed by hand");
  for (const auto& field : model_fields())
    model.set<std::int32_t>(field.name, checkpoint.model.*field.member);
  for (const auto& field : checkpoint.model.reads_texts() ? text_fields() : image_fields())
    model.set<std::int32_t>(field.name, checkpoint.model.*field.member);
  model.set_array("exits", checkpoint.model.exits);
  for (const Segment& segment : table) {
    h5::Group group = create_segment_group(model, segment.name);
    const auto& values = checkpoint.values[static_cast<std::size_t>(segment.id.value())];
    for (const TensorSpec& tensor : segment.tensors) {
      h5::Dataset dataset = group.write_array(tensor.name, tensor.shape, values.data() + tensor.offset);
      dataset.set_texts("axes", tensor.axes);
      dataset.set<std::uint8_t>("per_unit", tensor.per_unit ? 1 : 0);
      if (tensor.per_unit) dataset.set_text("unit", unit_name(segment.kind));
    }
  }
}

void copy_text(const std::string& from, char* to, std::size_t width) {
  COS2P_ASSERT(from.size() < width);
  std::copy(from.begin(), from.end(), to);
}

void write_segments(h5::Group root, const SegmentTable& table, const std::vector<SegmentRecord>& records) {
  std::vector<SegmentRow> rows;
  for (const Segment& segment : table) {
    SegmentRow row{};
    copy_text(segment.name, row.name, sizeof(row.name));
    copy_text(to_string(segment.kind), row.kind, sizeof(row.kind));
    row.block = segment.block;
    row.units = segment.units;
    row.parameters = segment.numel;
    row.record = records[static_cast<std::size_t>(segment.id.value())];
    rows.push_back(row);
  }
  h5::Dataset dataset = root.write_table("segments", segment_columns(), rows);
  dataset.set_text("about",
                   "one row per segment: version = merges so far; updates = updates merged so far; trainers "
                   "= distinct clients that "
                   "ever contributed; last_* = of the last merge; block -1 = the embedding");
}

void write_masks(h5::Group client, const ClientRecord& record) {
  h5::Group masks = client.create_group("masks");
  for (std::size_t block = 0; block < record.heads.size(); ++block) {
    h5::Group group = masks.create_group(block_name(block));
    for (const auto& [name, units] :
         {std::pair("heads", &record.heads[block]), std::pair("neurons", &record.neurons[block])}) {
      std::vector<std::uint8_t> mask(static_cast<std::size_t>(units->total()), 0);
      for (const std::int32_t unit : units->kept()) mask[static_cast<std::size_t>(unit)] = 1;
      group.write_array(name, mask);
    }
  }
}

void write_clients(h5::Group root, const std::vector<ClientRecord>& records) {
  h5::Group clients = root.create_group("clients");
  clients.set_text(
      "about",
      "one group per client: blocks 0..kept_blocks-1 are kept, the first frozen_blocks of them not trained "
      "(rolling = k > 0: that is the deepest window of a client whose trained blocks move with its rounds, "
      "from the k-th on); "
      "heads, neurons = kept in each block, or more in the shallow or in the deep ones by width_balance "
      "(falling, rising); masks/block_NN/{heads,neurons}: 1 = kept by the last update, "
      "none before it");
  for (std::size_t i = 0; i < records.size(); ++i) {
    const ClientRecord& record = records[i];
    h5::Group client = clients.create_group(client_name(i));
    client.set_text("budget", record.budget);
    client.set<std::int32_t>("kept_blocks", record.assignment.kept_blocks);
    client.set<std::int32_t>("frozen_blocks", record.assignment.frozen_blocks);
    client.set<std::int32_t>("rolling", record.assignment.rolling);
    client.set_text("width_balance", to_string(record.assignment.width_balance));
    client.set<std::int32_t>("heads", record.assignment.heads);
    client.set<std::int32_t>("neurons", record.assignment.neurons);
    client.set("memory_budget_bytes", record.memory_budget);
    client.set("predicted_memory_bytes", record.predicted_memory);
    client.set("measured_memory_bytes", record.measured_memory);
    client.set("samples", record.samples);
    client.set("rounds", record.rounds);
    client.write_array("class_counts", record.class_counts);
    write_masks(std::move(client), record);
  }
}

void write_pending(h5::Group group, const PendingUpdate& update) {
  group.set("client", update.client);
  group.set("client_round", update.client_round);
  group.set("segment", update.segment);
  group.set("base_version", update.base_version);
  group.set("weight_samples", update.weight);
  group.write_array("bitmap", update.bitmap);
  group.write_array("values", update.values);
}

void write_input(h5::Group& state, const InputEncoding& input) {
  h5::Group normalization = state.create_group("normalization");
  normalization.set_text("about", "of each channel, of pixels scaled to [0, 1]; empty for texts");
  normalization.write_array("mean", input.normalization.mean);
  normalization.write_array("deviation", input.normalization.deviation);
  if (!input.vocabulary) return;
  h5::Group text = state.create_group("text");
  text.set_text("about",
                "how texts become word pieces, as BERT does it; vocabulary: a vocab.txt, one piece a line in "
                "UTF-8, its id is its line counted from 0; lower_case: 1 = letters are lower-cased and lose "
                "their accents");
  text.set<std::uint8_t>("lower_case", input.vocabulary->lower_case() ? 1 : 0);
  const std::string lines = input.vocabulary->to_text();
  text.write_array("vocabulary", std::vector<std::uint8_t>(lines.begin(), lines.end()));
}

void write_state(h5::Group root, const Checkpoint& checkpoint) {
  const RunState& state = checkpoint.state;
  h5::Group group = root.create_group("state");
  group.set_text("about",
                 "what a resumed run needs besides: pending = updates received and not merged; in_flight = "
                 "local rounds computed and "
                 "not delivered (in-process transport); bitmap: bit u of byte u/8 = unit u is in values; "
                 "open_* = the unclosed round");
  group.set("round", state.round);
  group.set("time_s", state.time_s);
  group.set("seed", state.seed);
  group.set("open_weight_samples", state.open_weight);
  group.set("open_compute_s", state.open_compute_s);
  group.set("open_waiting_s", state.open_waiting_s);
  group.write_array("open_since_s", state.open_since_s);
  group.write_array("next_start_s", state.next_start_s);
  group.write_array("idle_since_s", state.idle_since_s);
  group.write_array("taking_part", state.taking_part);
  group.write_array("away_until_s", state.away_until_s);
  group.write_array("open_updates", state.open_updates);
  group.write_table("open_round", round_columns(), std::vector<RoundRow>{state.open_round});
  h5::Group velocity = group.create_group("velocity");
  velocity.set_text(
      "about",
      "of the server's momentum, one list per row of /segments, or none: float32, the segment's "
      "tensors in their order");
  velocity.set<std::int32_t>("segments", narrow<std::int32_t>(state.velocity.size()));
  for (std::size_t i = 0; i < state.velocity.size(); ++i)
    velocity.write_array(item_name(i), state.velocity[i]);
  h5::Group deltas = group.create_group("class_deltas");
  deltas.set_text("about",
                  "mean delta with which clients of depth_blocks blocks last moved a segment, float32");
  deltas.set<std::int32_t>("deltas", narrow<std::int32_t>(state.class_deltas.size()));
  for (std::size_t i = 0; i < state.class_deltas.size(); ++i) {
    h5::Group item = deltas.create_group(item_name(i));
    item.set("depth_blocks", state.class_deltas[i].depth);
    item.set("segment", state.class_deltas[i].segment);
    item.write_array("values", state.class_deltas[i].values);
  }
  write_input(group, checkpoint.input);
  h5::Group pending = group.create_group("pending");
  for (std::size_t i = 0; i < state.pending.size(); ++i)
    write_pending(pending.create_group(item_name(i)), state.pending[i]);
  h5::Group in_flight = group.create_group("in_flight");
  for (std::size_t i = 0; i < state.in_flight.size(); ++i) {
    const InFlightRound& round = state.in_flight[i];
    h5::Group item = in_flight.create_group(item_name(i));
    item.set("client", round.client);
    item.set("client_round", round.client_round);
    item.set("deliver_at_s", round.deliver_at_s);
    item.set("deltas", round.deltas);
    item.write_table("report", report_columns(), std::vector<RoundReport>{round.report});
    h5::Group updates = item.create_group("updates");
    for (std::size_t u = 0; u < round.updates.size(); ++u)
      write_pending(updates.create_group(item_name(u)), round.updates[u]);
  }
}

void write_history(h5::Group root, const History& history) {
  h5::Group group = root.create_group("history");
  group.set_text(
      "about",
      "one row per server round, per evaluation and exit, per local round of a client, per change of a "
      "worker's state, per merge of a segment; units are "
      "in the names");
  group.write_table("rounds", round_columns(), history.rounds);
  group.write_table("evaluations", evaluation_columns(), history.evaluations);
  group.write_table("clients", client_columns(), history.clients);
  group.write_table("members", member_columns(), history.members);
  group.write_table("merges", merge_columns(), history.merges);
}

}  // namespace

std::string program_in_words(const std::string& program_version) {
  return fmt::format("cos2p {}, checkpoints of version {}, {} endian", program_version, kSchemaVersion,
                     byte_order());
}

void write_file(const std::string& path, const Checkpoint& checkpoint) {
  const SegmentTable table(checkpoint.model);
  const auto segments = static_cast<std::size_t>(table.size());
  COS2P_ASSERT(checkpoint.values.size() == segments && checkpoint.segments.size() == segments);
  for (const Segment& segment : table) {
    COS2P_ASSERT(
        narrow<std::int64_t>(checkpoint.values[static_cast<std::size_t>(segment.id.value())].size()) ==
        segment.numel);
  }
  for (const ClientRecord& client : checkpoint.clients)
    COS2P_ASSERT(client.heads.size() == client.neurons.size());

  h5::File file = h5::File::create(path);
  write_root(file.root());
  write_meta(file.root(), checkpoint.identity);
  write_model(file.root(), table, checkpoint);
  write_segments(file.root(), table, checkpoint.segments);
  write_clients(file.root(), checkpoint.clients);
  write_state(file.root(), checkpoint);
  write_history(file.root(), checkpoint.history);
  file.sync_and_close();
}

}  // namespace cos2p
