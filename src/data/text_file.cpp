#include "text_file.hpp"

#include <fmt/ranges.h>
#include <unicode/utf8.h>

#include <algorithm>
#include <filesystem>
#include <system_error>
#include <utility>

#include "cos2p/support/error.hpp"
#include "cos2p/support/narrow.hpp"
#include "data_file.hpp"
#include "readers.hpp"

namespace fs = std::filesystem;

namespace cos2p::data {
namespace {

constexpr std::uint64_t largest_file = std::uint64_t{1} << 31;  // ICU counts bytes in 32 bits

void check_utf8(const std::string& path, const std::vector<std::uint8_t>& bytes) {
  std::int64_t line = 1;
  std::int32_t line_start = 0;
  const auto size = narrow<std::int32_t>(bytes.size(), "text file size");
  for (std::int32_t i = 0; i < size;) {
    const std::int32_t before = i;
    UChar32 c = 0;
    U8_NEXT(bytes.data(), i, size, c);
    if (c < 0) {
      fail(ExitCode::data,
           "{} is not UTF-8 (line {}, byte {} of the line, byte {} of the file: {:#04x} cannot stand there), "
           "convert it, for example with iconv --to-code=UTF-8",
           path, line, before - line_start + 1, before + 1, bytes[static_cast<std::size_t>(before)]);
    }
    if (c == '\n') {
      ++line;
      line_start = i;
    }
  }
}

TextSet make_part(const DatasetOptions& options, const std::string& path, std::vector<LabelledText> rows,
                  int first, int classes, const std::string& known_from) {
  TextSet set;
  set.name = to_string(options.kind);
  set.files = {path};
  set.classes = classes;
  for (LabelledText& row : rows) {
    if (row.label < first || row.label >= first + classes) {
      fail(ExitCode::data, "{}, line {}: class {} is unknown ({} has {} to {}), {}", path, row.line,
           row.label, known_from, first, first + classes - 1, text_cure);
    }
    set.labels.push_back(static_cast<std::int32_t>(row.label - first));
    set.texts.push_back(std::move(row.text));
  }
  return set;
}

void refuse_empty(const std::string& path, const std::vector<LabelledText>& rows) {
  if (rows.empty()) fail(ExitCode::data, "{} is empty (it holds no labelled texts), {}", path, text_cure);
}

}  // namespace

std::string read_text_file(const std::string& path) {
  DataFile file(path, "get it again, it is damaged");
  const std::vector<std::uint8_t> bytes = file.read_all(largest_file - 1);
  check_utf8(path, bytes);
  const bool mark = bytes.size() >= 3 && bytes[0] == 0xef && bytes[1] == 0xbb && bytes[2] == 0xbf;
  return std::string(bytes.begin() + (mark ? 3 : 0), bytes.end());
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t newline = std::min(text.find('\n', begin), text.size());
    std::size_t end = newline;
    while (end > begin && text[end - 1] == '\r') --end;
    lines.push_back(text.substr(begin, end - begin));
    begin = newline + 1;
  }
  return lines;
}

std::int64_t parse_label(const std::string& field) {
  const std::size_t begin = field.find_first_not_of(' ');
  const std::size_t end = field.find_last_not_of(' ');
  if (begin == std::string::npos || end - begin >= 9) return -1;
  std::int64_t value = 0;
  for (std::size_t i = begin; i <= end; ++i) {
    if (field[i] < '0' || field[i] > '9') return -1;
    value = 10 * value + (field[i] - '0');
  }
  return value;
}

void fail_fields(const std::string& path, std::int64_t line, std::size_t got, std::size_t expected) {
  fail(ExitCode::data, "{}, line {}: a row with {} fields ({} are expected), {}", path, line, got, expected,
       text_cure);
}

TextDataset make_text_dataset(const DatasetOptions& options, const std::string& train_path,
                              std::vector<LabelledText> train, const std::string& test_path,
                              std::vector<LabelledText> test, int first, int classes) {
  refuse_empty(train_path, train);
  refuse_empty(test_path, test);
  std::string known_from = "the list of classes";
  if (classes == 0) {
    known_from = "the training part";
    const auto largest = std::max_element(train.begin(), train.end(),
                                          [](const auto& a, const auto& b) { return a.label < b.label; });
    // A wild number would ask for a huge head.
    const std::int64_t most = std::max<std::int64_t>(1000, narrow<std::int64_t>(train.size()));
    if (largest->label - first >= most) {
      fail(ExitCode::data,
           "{}, line {}: class {} is unknown (classes are numbered from {}, and so few texts have at most "
           "{}), {}",
           train_path, largest->line, largest->label, first, most, text_cure);
    }
    classes = static_cast<int>(largest->label - first + 1);
    std::vector<std::int32_t> labels;
    labels.reserve(train.size());
    for (const LabelledText& text : train)
      labels.push_back(static_cast<std::int32_t>(std::max<std::int64_t>(text.label - first, 0)));
    check_counted_classes(labels, train_path, first);
  }
  const bool alike = std::all_of(train.begin(), train.end(),
                                 [&](const LabelledText& text) { return text.label == train.front().label; });
  check_classes(alike ? 1 : classes, train_path);
  return {make_part(options, train_path, std::move(train), first, classes, known_from),
          make_part(options, test_path, std::move(test), first, classes, known_from)};
}

TextPaths find_text_files(const DatasetOptions& options, const std::string& train_name,
                          const std::vector<std::string>& test_names) {
  TextPaths paths;
  paths.directory = find_set_directory(options, [&](const std::string& directory) {
    return !find_file(directory, {train_name}).empty() || !find_file(directory, test_names).empty();
  });
  const std::string tests = fmt::format("{}", fmt::join(test_names, " or "));
  if (paths.directory.empty()) fail_not_found(options, "", train_name + " and " + tests);
  paths.train = find_file(paths.directory, {train_name});
  paths.test = find_file(paths.directory, test_names);
  if (paths.train.empty()) fail_not_found(options, paths.directory, train_name);
  if (paths.test.empty()) fail_not_found(options, paths.directory, tests);
  return paths;
}

}  // namespace cos2p::data
