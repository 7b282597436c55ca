// Labelled texts in CSV as AG News has them: class (from 1), then one or more fields of text, RFC 4180.
#include <algorithm>
#include <cctype>
#include <utility>

#include "cos2p/support/error.hpp"
#include "cos2p/support/narrow.hpp"
#include "readers.hpp"
#include "text_file.hpp"

namespace cos2p::data {
namespace {

/// Takes records from the text of a CSV file, one after another.
class CsvReader {
 public:
  CsvReader(const std::string& path, const std::string& text) : path_(path), text_(text) {}

  /// False at the end. Empty lines at the end are no records.
  bool next(std::vector<std::string>& fields) {
    if (text_.find_first_not_of("\r\n", at_) == std::string::npos) return false;
    record_line_ = line_;
    fields.clear();
    do {
      fields.push_back(text_[at_] == '"' ? quoted() : plain());
    } while (more());
    return true;
  }
  /// The line on which the last record began, counted from 1.
  std::int64_t line() const { return record_line_; }

 private:
  char here() const { return at_ < text_.size() ? text_[at_] : '\n'; }
  bool at_line_end() const {
    return here() == '\n' || (here() == '\r' && (at_ + 1 >= text_.size() || text_[at_ + 1] == '\n'));
  }

  std::string plain() {
    const std::size_t begin = at_;
    while (here() != ',' && !at_line_end()) ++at_;
    return text_.substr(begin, at_ - begin);
  }

  std::string quoted() {
    const std::int64_t opened = line_;
    std::string field;
    ++at_;
    while (true) {
      const std::size_t quote = text_.find('"', at_);
      if (quote == std::string::npos) {
        fail(ExitCode::data, "{}, line {}: a quoted field is never closed (the file ends before), {}", path_,
             opened, text_cure);
      }
      line_ += std::count(text_.begin() + static_cast<std::ptrdiff_t>(at_),
                          text_.begin() + static_cast<std::ptrdiff_t>(quote), '\n');
      field.append(text_, at_, quote - at_);
      at_ = quote + 1;
      if (at_ >= text_.size() || text_[at_] != '"') break;
      field += '"';  // a doubled quote is one
      ++at_;
    }
    if (here() != ',' && !at_line_end()) {
      fail(
          ExitCode::data,
          "{}, line {}: '{}' after the closing quote of a field (a comma or the end of the line must follow; "
          "a quote in a field is doubled), {}",
          path_, line_, shown(text_.substr(at_, 1)), text_cure);
    }
    return field;
  }

  /// Moves past a separator; false where the record ends.
  bool more() {
    if (here() == ',') {
      ++at_;
      return true;
    }
    if (at_ < text_.size() && text_[at_] == '\r') ++at_;
    ++at_;
    ++line_;
    return false;
  }

  const std::string& path_;
  const std::string& text_;
  std::size_t at_ = 0;
  std::int64_t line_ = 1, record_line_ = 1;
};

/// "Class Index", as some copies of AG News begin.
bool names_a_class(std::string field) {
  std::transform(field.begin(), field.end(), field.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return field == "class" || field == "class index" || field == "label";
}

/// Some sets (Yelp, Yahoo! Answers) write a line break within a field as a backslash and an n. In others
/// backslashes are what authors wrote (C:\new), or line breaks by themselves (AG News: "dwindling\band"):
/// more of them then stand before other letters.
bool escapes_line_breaks(const std::vector<LabelledText>& rows) {
  std::int64_t line_breaks = 0, others = 0;
  for (const LabelledText& row : rows) {
    for (std::size_t at = row.text.find('\\'); at < row.text.size(); at = row.text.find('\\', at + 1)) {
      const char next = row.text.c_str()[at + 1];  // 0 at the end
      if (next == 'n') ++line_breaks;
      if (next != 'n' && ((next >= 'a' && next <= 'z') || (next >= 'A' && next <= 'Z'))) ++others;
    }
  }
  return line_breaks >= others;
}

void restore_line_breaks(std::vector<LabelledText>& rows) {
  for (LabelledText& row : rows) {
    for (std::size_t at = row.text.find("\\n"); at != std::string::npos; at = row.text.find("\\n", at))
      row.text.replace(at, 2, "\n");
  }
}

std::vector<LabelledText> read_rows(const std::string& path) {
  const std::string text = read_text_file(path);
  CsvReader reader(path, text);
  std::vector<LabelledText> rows;
  std::vector<std::string> fields;
  std::size_t expected = 0;
  while (reader.next(fields)) {
    const bool first = expected == 0;
    if (first) {
      if (fields.size() < 2) fail_fields(path, reader.line(), fields.size(), 3);
      expected = fields.size();
    }
    if (fields.size() != expected) fail_fields(path, reader.line(), fields.size(), expected);
    if (first && names_a_class(fields[0])) continue;
    LabelledText row;
    row.line = reader.line();
    row.label = parse_label(fields[0]);
    if (row.label < 1) {
      fail(ExitCode::data, "{}, line {}: '{}' is no class (the first field is a whole number from 1), {}",
           path, row.line, shown(fields[0]), text_cure);
    }
    row.text = std::move(fields[1]);
    for (std::size_t i = 2; i < fields.size(); ++i) row.text += ' ' + fields[i];
    rows.push_back(std::move(row));
  }
  return rows;
}

/// How many classes the list beside the files names; 0 where there is none.
int listed_classes(const std::string& directory) {
  const std::string path = find_file(directory, {"classes.txt"});
  if (path.empty()) return 0;
  std::vector<std::string> names = lines_of(read_text_file(path));
  while (!names.empty() && names.back().empty()) names.pop_back();
  if (names.size() < 2) {
    fail(ExitCode::data, "{} names {} classes (at least 2 are needed, one a line), {}", path, names.size(),
         text_cure);
  }
  return narrow<int>(names.size(), "number of classes");
}

}  // namespace

TextDataset read_csv_texts(const DatasetOptions& options) {
  const TextPaths paths = find_text_files(options, "train.csv", {"test.csv"});
  std::vector<LabelledText> train = read_rows(paths.train), test = read_rows(paths.test);
  // Both parts are written alike; the larger one tells.
  if (escapes_line_breaks(train)) {
    restore_line_breaks(train);
    restore_line_breaks(test);
  }
  return make_text_dataset(options, paths.train, std::move(train), paths.test, std::move(test), 1,
                           listed_classes(paths.directory));
}

}  // namespace cos2p::data
