#include "cos2p/config/comparison_rows.hpp"

#include <algorithm>

#include "cos2p/method/method.hpp"
#include "cos2p/support/error.hpp"
#include "option_table.hpp"

namespace cos2p {
namespace {

/// What every row has in common, so that they can be compared: groups of options, and single ones.
bool is_shared(const config::OptionSpec& spec) {
  static const std::vector<std::string> kGroups{
      "Data", "Texts", "Partition of the data among the clients", "Model", "Simulated clock", "Run"};
  static const std::vector<std::string> kNames{"budgets", "fleet", "clients", "method"};
  return std::find(kGroups.begin(), kGroups.end(), spec.group) != kGroups.end() ||
         std::find(kNames.begin(), kNames.end(), spec.name) != kNames.end();
}

void add_override(ComparisonRow& row, const std::string& text, const std::string& where) {
  const std::size_t equals = text.find('=');
  const std::string name = config::trimmed(text.substr(0, equals));
  if (equals == std::string::npos || name.empty()) {
    fail(ExitCode::usage,
         "{}: '{}' is not understood (expected name=value), write for example {}:min-updates=4", where, text,
         row.method);
  }
  const config::OptionSpec* spec = config::find_option(name);
  if (spec == nullptr || (spec->subcommands & config::kSimulate) == 0) {
    fail(ExitCode::usage, "{}: '{}' is not an option of simulate{}, see cos2p simulate --help", where, name,
         config::did_you_mean(name, config::option_names(Subcommand::simulate)));
  }
  if (is_shared(*spec)) {
    fail(
        ExitCode::usage,
        "{}: '{}' cannot differ between the rows of a comparison (they share data, partition, model, budgets "
        "and clock), give --{} for all of them",
        where, name, spec->name);
  }
  row.overrides[spec->name] = text.substr(equals + 1);
}

/// "co-s2p:min-updates=4:balance=wide"
ComparisonRow parse_row(const std::string& label) {
  ComparisonRow row;
  row.label = label;
  const std::size_t colon = std::min(label.find(':'), label.size());
  row.method = find_method(label.substr(0, colon)).name;
  for (std::size_t begin = colon; begin < label.size();) {
    const std::size_t end = std::min(label.find(':', begin + 1), label.size());
    add_override(row, label.substr(begin + 1, end - begin - 1), "--methods " + label);
    begin = end;
  }
  return row;
}

/// "METHOD:name=value,name=value"; a piece without '=' goes on with the value before it (a list).
void apply_for(const std::string& text, std::vector<ComparisonRow>& rows) {
  const std::string where = "--for " + text;
  const std::size_t colon = text.find(':');
  ComparisonRow read;
  read.method = text.substr(0, colon);
  if (colon == std::string::npos) {
    fail(ExitCode::usage,
         "{}: names no option (expected METHOD:name=value,...), write for example --for {}:min-updates=4",
         where, rows.front().method);
  }
  std::vector<std::string> pairs;
  for (std::size_t begin = colon; begin < text.size();) {
    const std::size_t end = std::min(text.find(',', begin + 1), text.size());
    const std::string piece = text.substr(begin + 1, end - begin - 1);
    if (piece.find('=') == std::string::npos && !pairs.empty()) {
      pairs.back() += "," + piece;
    } else {
      pairs.push_back(piece);
    }
    begin = end;
  }
  for (const std::string& pair : pairs) add_override(read, pair, where);
  bool known = false;
  for (ComparisonRow& row : rows) {
    if (row.method != read.method) continue;
    known = true;
    row.overrides.insert(read.overrides.begin(), read.overrides.end());  // a row's own values stay
  }
  if (!known) {
    fail(ExitCode::usage, "{}: '{}' is not one of the methods compared (--methods), correct its name", where,
         read.method);
  }
}

}  // namespace

std::vector<ComparisonRow> comparison_rows(const ComparisonOptions& options) {
  if (options.methods.empty()) {
    fail(ExitCode::usage, "--methods is missing (it says what is compared), give for example --methods {},{}",
         methods().front().name, methods().back().name);
  }
  std::vector<ComparisonRow> rows;
  for (const std::string& label : options.methods) rows.push_back(parse_row(label));
  for (const std::string& text : options.overrides) apply_for(text, rows);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    for (std::size_t j = 0; j < i; ++j) {
      if (rows[i].method != rows[j].method || rows[i].overrides != rows[j].overrides) continue;
      fail(ExitCode::usage, "--methods: '{}' and '{}' are the same row twice, leave one of them out",
           rows[j].label, rows[i].label);
    }
  }
  return rows;
}

}  // namespace cos2p
