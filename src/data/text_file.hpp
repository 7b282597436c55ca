// Private to the data room: text files, and what the readers of labelled texts share.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "cos2p/data/dataset.hpp"

namespace cos2p::data {

constexpr const char* text_cure = "correct the file (datasets/README.md describes the format)";

/// The content of a file, plain or ".gz", without a byte order mark. Throws Error(data) for what cannot be
/// read and, with line and byte, for what is not UTF-8.
std::string read_text_file(const std::string& path);

/// The lines of a text, without their ends (LF, after any number of CR: a line that is written again is the
/// same line).
std::vector<std::string> lines_of(const std::string& text);

/// A row of a file as it was read.
struct LabelledText {
  std::int64_t line = 0;  ///< counted from 1
  std::string text;
  std::int64_t label = 0;  ///< as written
};

/// A whole number without sign; -1 for everything else.
std::int64_t parse_label(const std::string& field);

/// Throws Error(data): a row has a wrong number of fields.
[[noreturn]] void fail_fields(const std::string& path, std::int64_t line, std::size_t got,
                              std::size_t expected);

/// Both parts as a data set. Labels count from `first`; `classes` = 0 takes as many as the training part
/// uses. Throws Error(data) for empty parts and for labels that are not among the classes.
TextDataset make_text_dataset(const DatasetOptions& options, const std::string& train_path,
                              std::vector<LabelledText> train, const std::string& test_path,
                              std::vector<LabelledText> test, int first, int classes);

/// The paths of the two parts' files, found by the names they may have.
struct TextPaths {
  std::string directory, train, test;
};
TextPaths find_text_files(const DatasetOptions& options, const std::string& train_name,
                          const std::vector<std::string>& test_names);

}  // namespace cos2p::data
