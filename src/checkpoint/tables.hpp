#pragma once

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <string>
#include <vector>

#include "cos2p/checkpoint/checkpoint.hpp"
#include "h5.hpp"

namespace cos2p {

/// A row of /segments as it lies in the file.
struct SegmentRow {
  char name[48];
  char kind[16];
  std::int32_t block;
  std::int64_t units, parameters;
  SegmentRecord record;
};

/// Members of the row structs and their names in the file (units are in the names). The order is the order in
/// the file.
const std::vector<h5::Column>& segment_columns();
const std::vector<h5::Column>& round_columns();
const std::vector<h5::Column>& evaluation_columns();
/// Without what `schema_version` did not know yet.
std::vector<h5::Column> client_columns(int schema_version = kSchemaVersion);
const std::vector<h5::Column>& member_columns();
const std::vector<h5::Column>& merge_columns();
std::vector<h5::Column> report_columns(int schema_version = kSchemaVersion);  ///< of a RoundReport

/// Shape of the model: attributes of /model (`exits` is an array beside them). A model has the fields of all
/// models and those of what it reads.
struct ModelField {
  const char* name;
  int ModelOptions::*member;
};
const std::vector<ModelField>& model_fields();
const std::vector<ModelField>& image_fields();
const std::vector<ModelField>& text_fields();
inline constexpr const char* kVocabularySize = "vocabulary_size";  ///< of text_fields(): only texts have it

/// Paths that the writer and the reader share.
inline constexpr const char* kFormat = "cos2p checkpoint";  ///< attribute `format` of /: this file is ours
inline std::string client_name(std::size_t client) {
  return fmt::format("{:04d}", client);
}
inline std::string block_name(std::size_t block) {
  return fmt::format("block_{:02d}", block);
}
inline std::string item_name(std::size_t item) {
  return fmt::format("{:06d}", item);
}

/// The file itself, without anything about directories and names.
void write_file(const std::string& path, const Checkpoint& checkpoint);
Checkpoint read_file(const std::string& path);

}  // namespace cos2p
