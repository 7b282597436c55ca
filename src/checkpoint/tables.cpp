#include "tables.hpp"

#include <cstddef>

namespace cos2p {

using h5::Column;
using h5::Kind;

const std::vector<Column>& segment_columns() {
  static const std::vector<Column> columns{
      {"name", offsetof(SegmentRow, name), Kind::text, sizeof(SegmentRow::name)},
      {"kind", offsetof(SegmentRow, kind), Kind::text, sizeof(SegmentRow::kind)},
      {"block", offsetof(SegmentRow, block), Kind::int32},
      {"units", offsetof(SegmentRow, units), Kind::int64},
      {"parameters", offsetof(SegmentRow, parameters), Kind::int64},
      {"version", offsetof(SegmentRow, record) + offsetof(SegmentRecord, version), Kind::uint64},
      {"updates", offsetof(SegmentRow, record) + offsetof(SegmentRecord, updates), Kind::int64},
      {"trainers", offsetof(SegmentRow, record) + offsetof(SegmentRecord, trainers), Kind::int64},
      {"last_staleness_versions", offsetof(SegmentRow, record) + offsetof(SegmentRecord, last_staleness),
       Kind::int32},
      {"last_updates", offsetof(SegmentRow, record) + offsetof(SegmentRecord, last_updates), Kind::int32},
  };
  return columns;
}

const std::vector<Column>& round_columns() {
  static const std::vector<Column> columns{
      {"round", offsetof(RoundRow, round), Kind::int32},
      {"time_s", offsetof(RoundRow, time_s), Kind::float64},
      {"reports", offsetof(RoundRow, reports), Kind::int32},
      {"updates", offsetof(RoundRow, updates), Kind::int32},
      {"n_star", offsetof(RoundRow, n_star), Kind::int32},
      {"segments_merged", offsetof(RoundRow, segments_merged), Kind::int32},
      {"segments_total", offsetof(RoundRow, segments_total), Kind::int32},
      {"staleness_mean_versions", offsetof(RoundRow, staleness_mean), Kind::float64},
      {"staleness_max_versions", offsetof(RoundRow, staleness_max), Kind::int32},
      {"dropped", offsetof(RoundRow, dropped), Kind::int64},
      {"loss", offsetof(RoundRow, loss), Kind::float64},
      {"utilisation", offsetof(RoundRow, utilisation), Kind::float64},
      {"workers", offsetof(RoundRow, workers), Kind::int32},
  };
  return columns;
}

const std::vector<Column>& evaluation_columns() {
  static const std::vector<Column> columns{
      {"round", offsetof(EvaluationRow, round), Kind::int32},
      {"block", offsetof(EvaluationRow, block), Kind::int32},
      {"time_s", offsetof(EvaluationRow, time_s), Kind::float64},
      {"loss", offsetof(EvaluationRow, loss), Kind::float64},
      {"accuracy", offsetof(EvaluationRow, accuracy), Kind::float64},
  };
  return columns;
}

std::vector<Column> report_columns(int schema_version) {
  std::vector<Column> columns{
      {"samples", offsetof(RoundReport, samples), Kind::int64},
      {"steps", offsetof(RoundReport, steps), Kind::int64},
      {"updates", offsetof(RoundReport, updates), Kind::int64},
      {"loss", offsetof(RoundReport, loss), Kind::float64},
      {"accuracy", offsetof(RoundReport, accuracy), Kind::float64},
      {"compute_s", offsetof(RoundReport, compute_s), Kind::float64},
      {"transfer_s", offsetof(RoundReport, transfer_s), Kind::float64},
      {"waiting_s", offsetof(RoundReport, waiting_s), Kind::float64},
      {"pulled_bytes", offsetof(RoundReport, bytes_pulled), Kind::int64},
      {"pushed_bytes", offsetof(RoundReport, bytes_pushed), Kind::int64},
      {"peak_memory_bytes", offsetof(RoundReport, peak_memory), Kind::int64},
      {"peak_resident_bytes", offsetof(RoundReport, peak_resident), Kind::int64},
  };
  if (schema_version >= 4) columns.push_back({"energy_j", offsetof(RoundReport, energy_j), Kind::float64});
  if (schema_version >= 6)
    columns.push_back({"free_memory_bytes", offsetof(RoundReport, free_memory), Kind::int64});
  return columns;
}

std::vector<Column> client_columns(int schema_version) {
  std::vector<Column> columns{
      {"round", offsetof(ClientRow, round), Kind::int32},
      {"client", offsetof(ClientRow, client), Kind::int32},
      {"client_round", offsetof(ClientRow, client_round), Kind::int32},
      {"time_s", offsetof(ClientRow, time_s), Kind::float64},
  };
  for (Column column : report_columns(schema_version)) {
    column.offset += offsetof(ClientRow, report);
    columns.push_back(column);
  }
  return columns;
}

const std::vector<Column>& member_columns() {
  static const std::vector<Column> columns{
      {"round", offsetof(MemberRow, round), Kind::int32},
      {"worker", offsetof(MemberRow, worker), Kind::int32},
      {"time_s", offsetof(MemberRow, time_s), Kind::float64},
      {"state", offsetof(MemberRow, state), Kind::text, sizeof(MemberRow::state)},
  };
  return columns;
}

const std::vector<Column>& merge_columns() {
  static const std::vector<Column> columns{
      {"round", offsetof(MergeRow, round), Kind::int32},
      {"segment", offsetof(MergeRow, segment), Kind::int32},
      {"version", offsetof(MergeRow, version), Kind::int64},
      {"updates", offsetof(MergeRow, updates), Kind::int32},
      {"staleness_max_versions", offsetof(MergeRow, staleness), Kind::int32},
  };
  return columns;
}

const std::vector<ModelField>& model_fields() {
  static const std::vector<ModelField> fields{
      {"dim", &ModelOptions::dim},         {"blocks", &ModelOptions::blocks},
      {"heads", &ModelOptions::heads},     {"feed_forward", &ModelOptions::feed_forward},
      {"classes", &ModelOptions::classes},
  };
  return fields;
}

const std::vector<ModelField>& image_fields() {
  static const std::vector<ModelField> fields{
      {"image_height_pixels", &ModelOptions::image_height},
      {"image_width_pixels", &ModelOptions::image_width},
      {"channels", &ModelOptions::channels},
      {"patch_pixels", &ModelOptions::patch},
  };
  return fields;
}

const std::vector<ModelField>& text_fields() {
  static const std::vector<ModelField> fields{
      {kVocabularySize, &ModelOptions::vocabulary},
      {"max_length_pieces", &ModelOptions::max_length},
  };
  return fields;
}

}  // namespace cos2p
