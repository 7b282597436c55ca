#include <cstring>
#include <nlohmann/json.hpp>

#include "tables.hpp"

namespace cos2p {
namespace {

using Json = nlohmann::ordered_json;

template <typename T>
T member(const void* row, std::size_t offset) {
  T value;
  std::memcpy(&value, static_cast<const char*>(row) + offset, sizeof(T));
  return value;
}

/// A table row, by the names that its columns have in the file.
Json row_json(const std::vector<h5::Column>& columns, const void* row) {
  Json json;
  for (const auto& column : columns) {
    switch (column.kind) {
      case h5::Kind::uint8:
        json[column.name] = member<std::uint8_t>(row, column.offset);
        break;
      case h5::Kind::int32:
        json[column.name] = member<std::int32_t>(row, column.offset);
        break;
      case h5::Kind::int64:
        json[column.name] = member<std::int64_t>(row, column.offset);
        break;
      case h5::Kind::uint64:
        json[column.name] = member<std::uint64_t>(row, column.offset);
        break;
      case h5::Kind::float32:
        json[column.name] = member<float>(row, column.offset);
        break;
      case h5::Kind::float64:
        json[column.name] = member<double>(row, column.offset);
        break;
      case h5::Kind::text: {
        const char* text = static_cast<const char*>(row) + column.offset;
        json[column.name] = std::string(text, ::strnlen(text, column.width));
        break;
      }
    }
  }
  return json;
}

template <typename Row>
Json rows_json(const std::vector<h5::Column>& columns, const std::vector<Row>& rows) {
  Json json = Json::array();
  for (const Row& row : rows) json.push_back(row_json(columns, &row));
  return json;
}

Json model_json(const ModelOptions& model, const SegmentTable& table) {
  Json json;
  for (const auto& field : model_fields()) json[field.name] = model.*field.member;
  for (const auto& field : model.reads_texts() ? text_fields() : image_fields())
    json[field.name] = model.*field.member;
  json["exits"] = model.exits;
  json["parameters"] = table.parameters();
  return json;
}

Json segments_json(const SegmentTable& table, const std::vector<SegmentRecord>& records) {
  Json json = Json::array();
  for (const Segment& segment : table) {
    const SegmentRecord& record = records[static_cast<std::size_t>(segment.id.value())];
    Json tensors = Json::array();
    for (const TensorSpec& tensor : segment.tensors) {
      tensors.push_back({{"name", tensor.name},
                         {"shape", tensor.shape},
                         {"axes", tensor.axes},
                         {"per_unit", tensor.per_unit}});
    }
    json.push_back({{"name", segment.name},
                    {"kind", to_string(segment.kind)},
                    {"block", segment.block},
                    {"units", segment.units},
                    {"parameters", segment.numel},
                    {"version", record.version},
                    {"updates", record.updates},
                    {"trainers", record.trainers},
                    {"last_updates", record.last_updates},
                    {"last_staleness_versions", record.last_staleness},
                    {"tensors", std::move(tensors)}});
  }
  return json;
}

Json clients_json(const std::vector<ClientRecord>& clients) {
  Json json = Json::array();
  for (std::size_t i = 0; i < clients.size(); ++i) {
    const ClientRecord& client = clients[i];
    Json masks = Json::array();
    for (std::size_t block = 0; block < client.heads.size(); ++block) {
      masks.push_back({{"block", block},
                       {"heads", client.heads[block].kept()},
                       {"neurons", client.neurons[block].kept()}});
    }
    json.push_back({{"id", i},
                    {"budget", client.budget},
                    {"kept_blocks", client.assignment.kept_blocks},
                    {"frozen_blocks", client.assignment.frozen_blocks},
                    {"rolling", client.assignment.rolling != 0},
                    {"width_balance", to_string(client.assignment.width_balance)},
                    {"heads", client.assignment.heads},
                    {"neurons", client.assignment.neurons},
                    {"memory_budget_bytes", client.memory_budget},
                    {"predicted_memory_bytes", client.predicted_memory},
                    {"measured_memory_bytes", client.measured_memory},
                    {"samples", client.samples},
                    {"class_counts", client.class_counts},
                    {"rounds", client.rounds},
                    {"masks", std::move(masks)}});
  }
  return json;
}

}  // namespace

std::string inspect_json(const Checkpoint& checkpoint, const std::string& path) {
  const SegmentTable table(checkpoint.model);
  const RunIdentity& identity = checkpoint.identity;
  const RunState& state = checkpoint.state;
  Json json;
  json["file"] = path;
  json["schema_version"] = kSchemaVersion;
  json["run_id"] = identity.run_id;
  json["program_version"] = identity.program_version;
  json["created"] = identity.created;
  json["dataset"] = identity.dataset;
  json["round"] = state.round;
  json["time_s"] = state.time_s;
  json["seed"] = state.seed;
  json["pending_updates"] = state.pending.size();
  json["in_flight_rounds"] = state.in_flight.size();
  json["options"] = identity.options;
  json["model"] = model_json(checkpoint.model, table);
  if (const auto& vocabulary = checkpoint.input.vocabulary) {
    json["text"] = {{"vocabulary_size", vocabulary->size()}, {"lower_case", vocabulary->lower_case()}};
  } else {
    json["normalization"] = {{"mean", checkpoint.input.normalization.mean},
                             {"deviation", checkpoint.input.normalization.deviation}};
  }
  json["segments"] = segments_json(table, checkpoint.segments);
  json["clients"] = clients_json(checkpoint.clients);
  json["history"] = {{"rounds", rows_json(round_columns(), checkpoint.history.rounds)},
                     {"evaluations", rows_json(evaluation_columns(), checkpoint.history.evaluations)},
                     {"clients", rows_json(client_columns(), checkpoint.history.clients)},
                     {"members", rows_json(member_columns(), checkpoint.history.members)},
                     {"merges", rows_json(merge_columns(), checkpoint.history.merges)}};
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";  // NaN becomes null
}

}  // namespace cos2p
