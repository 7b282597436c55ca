#include "option_table.hpp"

#include <algorithm>
#include <cctype>

#include "cos2p/method/method.hpp"
#include "option_rows.hpp"

namespace cos2p::config {
namespace {

std::vector<OptionSpec> make_table() {
  Table table;
  add_data(table);
  add_partition(table);
  add_model(table);
  add_texts(table);
  add_method(table);
  add_fleet(table);
  add_policy(table);
  add_local_training(table);
  add_width(table);
  add_objective(table);
  add_simulation(table);
  add_comparison(table);
  add_run(table);
  object_beside_linear(table);
  // Help shows what holds where nothing is given: the values of the default method.
  RunOptions defaults;
  const Method& method = methods().front();
  for (const std::vector<Method::Setting>& settings : {method.defaults, method.buffered_defaults}) {
    for (const Method::Setting& setting : settings) {
      for (OptionSpec& spec : table.specs)
        if (setting.option == spec.name) spec.set(defaults, {setting.value});
    }
  }
  for (OptionSpec& spec : table.specs) {
    if (!spec.default_text.empty() || spec.positional) continue;
    const std::string value = spec.get(defaults);
    const bool quoted = value.size() >= 2 && value.front() == '"';
    spec.default_text = quoted ? value.substr(1, value.size() - 2) : value;
    if (spec.default_text.empty()) spec.default_text = "none";
  }
  return table.specs;
}

}  // namespace

bool OptionSpec::has_meaning(const RunOptions& options) const {
  return std::all_of(objections.begin(), objections.end(),
                     [&](const Objection& objection) { return objection.why_not(options).empty(); });
}

std::string OptionSpec::environment_name() const {
  std::string text = "COS2P_" + name;
  for (char& c : text) c = c == '-' ? '_' : static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return text;
}

const std::vector<OptionSpec>& option_table() {
  static const std::vector<OptionSpec> table = make_table();
  return table;
}

const OptionSpec* find_option(const std::string& name) {
  for (const OptionSpec& spec : option_table()) {
    if (spec.name == name || (!spec.alias.empty() && spec.alias == name)) return &spec;
  }
  return nullptr;
}

Values option_names(Subcommand subcommand) {
  Values names;
  for (const OptionSpec& spec : option_table()) {
    if ((spec.subcommands & bit(subcommand)) == 0) continue;
    names.push_back(spec.name);
    if (!spec.alias.empty()) names.push_back(spec.alias);
  }
  return names;
}

}  // namespace cos2p::config
