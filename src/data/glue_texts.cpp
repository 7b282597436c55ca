// Labelled sentences in tab-separated values as GLUE has them. There is no quoting: a quote is a character.
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <utility>

#include "cos2p/support/error.hpp"
#include "readers.hpp"
#include "text_file.hpp"

namespace cos2p::data {
namespace {

std::vector<std::string> split(const std::string& line) {
  std::vector<std::string> fields;
  std::size_t begin = 0;
  while (true) {
    const std::size_t tab = std::min(line.find('\t', begin), line.size());
    fields.push_back(line.substr(begin, tab - begin));
    if (tab == line.size()) return fields;
    begin = tab + 1;
  }
}

/// Where sentence and label stand.
struct Columns {
  std::size_t sentence = 0, label = 0, count = 0;
  bool header = false;
};

// The other half of a pair, as the tasks of GLUE name it.
constexpr std::array<const char*, 7> second_texts = {"question",  "question1", "question2", "sentence1",
                                                     "sentence2", "premise",   "hypothesis"};

Columns find_columns(const std::string& path, const std::vector<std::string>& first) {
  for (const char* name : second_texts) {
    if (std::find(first.begin(), first.end(), name) == first.end()) continue;
    fail(ExitCode::data,
         "{} holds pairs of texts (a column '{}'; sentence pairs are not read), give the labelled files of a "
         "single-sentence task",
         path, name);
  }
  const auto sentence = std::find(first.begin(), first.end(), "sentence");
  const auto label = std::find(first.begin(), first.end(), "label");
  if (sentence != first.end() && label != first.end()) {
    return {static_cast<std::size_t>(sentence - first.begin()),
            static_cast<std::size_t>(label - first.begin()), first.size(), true};
  }
  // CoLA has no header: source, label, the author's mark, sentence.
  if (first.size() == 4 && parse_label(first[1]) >= 0) return {3, 1, 4, false};
  fail(ExitCode::data,
       "{} has no columns 'sentence' and 'label' (its first line has {} fields: {}), give the labelled files "
       "of a single-sentence task; sentence pairs are not read",
       path, first.size(), shown(fmt::format("{}", fmt::join(first, ", "))));
}

std::vector<LabelledText> read_rows(const std::string& path) {
  std::vector<std::string> lines = lines_of(read_text_file(path));
  while (!lines.empty() && lines.back().empty()) lines.pop_back();
  std::vector<LabelledText> rows;
  if (lines.empty()) return rows;
  const Columns columns = find_columns(path, split(lines.front()));
  for (std::size_t i = columns.header ? 1 : 0; i < lines.size(); ++i) {
    const auto line = static_cast<std::int64_t>(i) + 1;
    std::vector<std::string> fields = split(lines[i]);
    if (fields.size() != columns.count) fail_fields(path, line, fields.size(), columns.count);
    const std::int64_t label = parse_label(fields[columns.label]);
    if (label < 0) {
      fail(ExitCode::data, "{}, line {}: '{}' is no label (it is a whole number from 0), {}", path, line,
           shown(fields[columns.label]), text_cure);
    }
    rows.push_back({line, std::move(fields[columns.sentence]), label});
  }
  return rows;
}

}  // namespace

TextDataset read_glue_texts(const DatasetOptions& options) {
  // GLUE's test parts have no labels: its development parts are what results are measured on.
  const TextPaths paths = find_text_files(options, "train.tsv", {"dev.tsv"});
  return make_text_dataset(options, paths.train, read_rows(paths.train), paths.test, read_rows(paths.test), 0,
                           0);
}

}  // namespace cos2p::data
