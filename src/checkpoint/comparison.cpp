#include "cos2p/checkpoint/comparison.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>

#include "cos2p/support/error.hpp"
#include "cos2p/support/whole_number.hpp"
#include "h5.hpp"

namespace cos2p {
namespace {

const std::vector<h5::Column>& curve_columns() {
  static const std::vector<h5::Column> columns{
      {"round", offsetof(CurvePoint, round), h5::Kind::int32},
      {"time_s", offsetof(CurvePoint, time_s), h5::Kind::float64},
      {"transferred_bytes", offsetof(CurvePoint, transferred_bytes), h5::Kind::float64},
      {"accuracy", offsetof(CurvePoint, accuracy), h5::Kind::float64},
      {"loss", offsetof(CurvePoint, loss), h5::Kind::float64}};
  return columns;
}

/// The numbers of a run that stand alone: their names in files, one for all formats.
struct Measure {
  const char* name;
  double ComparedRun::*member;
};
const std::vector<Measure>& measures() {
  static const std::vector<Measure> all{{"accuracy", &ComparedRun::accuracy},
                                        {"loss", &ComparedRun::loss},
                                        {"client_accuracy_mean", &ComparedRun::client_accuracy_mean},
                                        {"client_accuracy_min", &ComparedRun::client_accuracy_min},
                                        {"time_to_target_s", &ComparedRun::time_to_target_s},
                                        {"bytes_to_target", &ComparedRun::bytes_to_target},
                                        {"time_s", &ComparedRun::time_s},
                                        {"transferred_bytes", &ComparedRun::transferred_bytes},
                                        {"utilisation", &ComparedRun::utilisation},
                                        {"n_star", &ComparedRun::n_star},
                                        {"staleness_mean", &ComparedRun::staleness_mean}};
  return all;
}

bool exists(const Measure& measure, const ComparedRun& run) {
  return run.*measure.member >= 0;  // only what concerns the target can be missing, and is negative then
}

void write_options(h5::Group group, const std::map<std::string, std::string>& options) {
  for (const auto& [name, value] : options) group.set_text(name, value);
}

void write_run(h5::Group group, const ComparedRun& run) {
  group.set_text("method", run.method);
  group.set("seed", run.seed);
  for (const Measure& measure : measures()) {
    if (exists(measure, run)) group.set(measure.name, run.*measure.member);
  }
  group.write_array("exit_blocks", std::vector<std::int32_t>(run.exit_blocks.begin(), run.exit_blocks.end()));
  group.write_array("exit_accuracy", run.exit_accuracy);
  group.write_array("client_accuracy", run.client_accuracy);
  h5::Group memory = group.create_group("peak_memory_bytes");
  for (const auto& [budget, bytes] : run.peak_memory) memory.set(budget, bytes);
  group.write_table("curve", curve_columns(), run.curve);
  write_options(group.create_group("options"), run.options);
}

void write_content(h5::Group root, const std::map<std::string, std::string>& options, double target_accuracy,
                   const std::vector<ComparedRun>& runs) {
  root.set_text("about", "a comparison of methods: /options what all runs share, /runs what each gave");
  root.set_text("format", "cos2p comparison");
  root.set<std::int32_t>("schema_version", 1);
  root.set("target_accuracy", target_accuracy);
  write_options(root.create_group("options"), options);
  h5::Group all = root.create_group("runs");
  for (std::size_t i = 0; i < runs.size(); ++i)
    write_run(all.create_group(fmt::format("{:04d}", i)), runs[i]);
}

std::set<std::string> budgets_of(const std::vector<ComparedRun>& runs) {
  std::set<std::string> budgets;
  for (const ComparedRun& run : runs) {
    for (const auto& [budget, bytes] : run.peak_memory) budgets.insert(budget);
  }
  return budgets;
}

std::set<int> exits_of(const std::vector<ComparedRun>& runs) {
  std::set<int> exits;
  for (const ComparedRun& run : runs) exits.insert(run.exit_blocks.begin(), run.exit_blocks.end());
  return exits;
}

std::size_t most_clients(const std::vector<ComparedRun>& runs) {
  std::size_t most = 0;
  for (const ComparedRun& run : runs) most = std::max(most, run.client_accuracy.size());
  return most;
}

/// Nothing where the run's model has no such exit.
std::optional<double> accuracy_at(const ComparedRun& run, int exit) {
  const auto found = std::find(run.exit_blocks.begin(), run.exit_blocks.end(), exit);
  if (found == run.exit_blocks.end()) return std::nullopt;
  return run.exit_accuracy[static_cast<std::size_t>(found - run.exit_blocks.begin())];
}

std::string quoted(const std::string& text) {
  if (text.find_first_of(",\"\n") == std::string::npos) return text;
  std::string result = "\"";
  for (const char c : text) result += c == '"' ? std::string("\"\"") : std::string(1, c);
  return result + "\"";
}

constexpr int kSignificant = -1;  // digits: four significant ones, whatever the size

/// Mean ± sample standard deviation; "–" where no run has the value, and how many have it where not all do.
std::string spread(const std::vector<double>& values, std::size_t runs, int digits) {
  if (values.empty()) return "–";
  double mean = 0, squares = 0;
  for (const double value : values) mean += value / static_cast<double>(values.size());
  for (const double value : values) squares += (value - mean) * (value - mean);
  if (digits == kSignificant)
    digits = std::clamp(3 - static_cast<int>(std::floor(std::log10(std::max(mean, 1e-9)))), 0, 6);
  std::string text = fmt::format("{:.{}f}", mean, digits);
  if (values.size() > 1)
    text += fmt::format(" ± {:.{}f}", std::sqrt(squares / static_cast<double>(values.size() - 1)), digits);
  return values.size() == runs ? text : text + fmt::format(" ({} of {})", values.size(), runs);
}

}  // namespace

void measure_target(ComparedRun& run, double target_accuracy) {
  run.time_to_target_s = run.bytes_to_target = -1;
  if (target_accuracy <= 0) return;
  const auto reached = std::find_if(run.curve.begin(), run.curve.end(), [&](const CurvePoint& point) {
    return point.accuracy >= target_accuracy;
  });
  if (reached == run.curve.end()) return;
  run.time_to_target_s = reached->time_s;
  run.bytes_to_target = reached->transferred_bytes;
}

void write_comparison(const std::string& path, const std::map<std::string, std::string>& options,
                      double target_accuracy, const std::vector<ComparedRun>& runs) {
  const std::string part = path + ".part";
  h5::File file = h5::File::create(part);
  write_content(file.root(), options, target_accuracy, runs);  // its groups are closed before the file is
  file.sync_and_close();
  std::error_code error;
  std::filesystem::rename(part, path, error);
  if (error) {
    fail(ExitCode::environment, "{} cannot be written ({}), choose another directory with --output", path,
         error.message());
  }
}

std::string comparison_csv(const std::vector<ComparedRun>& runs) {
  const std::set<int> exits = exits_of(runs);
  const std::size_t clients = most_clients(runs);
  const std::set<std::string> budgets = budgets_of(runs);
  std::string text = "method,seed";
  for (const Measure& measure : measures()) text += fmt::format(",{}", measure.name);
  for (const int block : exits) text += fmt::format(",accuracy_exit_{}", block);
  for (const std::string& budget : budgets) text += "," + quoted("peak_memory_bytes_" + budget);
  for (std::size_t c = 0; c < clients; ++c) text += fmt::format(",client_accuracy_{}", c);
  text += "\n";
  for (const ComparedRun& run : runs) {
    text += fmt::format("{},{}", quoted(run.method), run.seed);
    for (const Measure& measure : measures())
      text += exists(measure, run) ? fmt::format(",{:.9g}", run.*measure.member) : ",";
    for (const int block : exits) {
      const std::optional<double> accuracy = accuracy_at(run, block);
      text += accuracy ? fmt::format(",{:.6f}", *accuracy) : ",";
    }
    for (const std::string& budget : budgets) {
      const auto found = run.peak_memory.find(budget);
      text += found == run.peak_memory.end() ? "," : fmt::format(",{}", found->second);
    }
    for (std::size_t c = 0; c < clients; ++c)
      text += c < run.client_accuracy.size() ? fmt::format(",{:.6f}", run.client_accuracy[c]) : ",";
    text += "\n";
  }
  return text;
}

std::string comparison_markdown(const std::vector<ComparedRun>& runs, double target_accuracy) {
  std::vector<std::string> methods;
  for (const ComparedRun& run : runs) {
    if (std::find(methods.begin(), methods.end(), run.method) == methods.end()) methods.push_back(run.method);
  }
  constexpr double kMega = 1e6, kMebi = 1024.0 * 1024.0;
  const std::string target = fmt::format("{:g} %", 100 * target_accuracy);
  struct Column {
    std::string title;
    const double ComparedRun::*member;
    double unit;
    int digits;
  };
  std::vector<Column> columns{{"accuracy %", &ComparedRun::accuracy, 0.01, 2},
                              {"clients' accuracy %, mean", &ComparedRun::client_accuracy_mean, 0.01, 2},
                              {"least", &ComparedRun::client_accuracy_min, 0.01, 2}};
  if (target_accuracy > 0) {
    columns.push_back({"s to " + target, &ComparedRun::time_to_target_s, 1, kSignificant});
    columns.push_back({"MB to " + target, &ComparedRun::bytes_to_target, kMega, kSignificant});
  }
  columns.push_back({"s in all", &ComparedRun::time_s, 1, kSignificant});
  columns.push_back({"MB in all", &ComparedRun::transferred_bytes, kMega, kSignificant});
  columns.push_back({"utilisation %", &ComparedRun::utilisation, 0.01, 1});
  columns.push_back({"N*", &ComparedRun::n_star, 1, 1});
  columns.push_back({"τ", &ComparedRun::staleness_mean, 1, 2});
  const std::set<std::string> budgets = budgets_of(runs);
  const std::set<int> exits = exits_of(runs);
  std::string text = "| method | seeds |", rule = "|---|--:|";
  for (const Column& column : columns) {
    text += fmt::format(" {} |", column.title);
    rule += "--:|";
  }
  for (const std::string& budget : budgets) {
    text += fmt::format(" MiB of {} |", budget);
    rule += "--:|";
  }
  for (const int exit : exits) {
    text += fmt::format(" exit {} % |", exit);
    rule += "--:|";
  }
  text += "\n" + rule + "\n";
  for (const std::string& method : methods) {
    std::vector<const ComparedRun*> own;
    for (const ComparedRun& run : runs) {
      if (run.method == method) own.push_back(&run);
    }
    text += fmt::format("| {} | {} |", method, own.size());
    for (const Column& column : columns) {
      std::vector<double> values;
      for (const ComparedRun* run : own) {
        if (run->*column.member >= 0) values.push_back(run->*column.member / column.unit);
      }
      text += fmt::format(" {} |", spread(values, own.size(), column.digits));
    }
    for (const std::string& budget : budgets) {
      std::vector<double> values;
      for (const ComparedRun* run : own) {
        const auto found = run->peak_memory.find(budget);
        if (found != run->peak_memory.end()) values.push_back(static_cast<double>(found->second) / kMebi);
      }
      text += fmt::format(" {} |", spread(values, own.size(), 1));
    }
    for (const int exit : exits) {
      std::vector<double> values;
      for (const ComparedRun* run : own) {
        if (const std::optional<double> accuracy = accuracy_at(*run, exit)) values.push_back(*accuracy * 100);
      }
      text += fmt::format(" {} |", spread(values, own.size(), 2));
    }
    text += "\n";
  }
  return text;
}

std::string to_json(const ComparedRun& run) {
  nlohmann::ordered_json json;
  json["method"] = run.method;
  json["seed"] = run.seed;
  for (const Measure& measure : measures()) json[measure.name] = run.*measure.member;
  json["exit_blocks"] = run.exit_blocks;
  json["exit_accuracy"] = run.exit_accuracy;
  json["client_accuracy"] = run.client_accuracy;
  json["peak_memory_bytes"] = run.peak_memory;
  json["curve"] = nlohmann::ordered_json::array();
  for (const CurvePoint& p : run.curve)
    json["curve"].push_back({p.round, p.time_s, p.transferred_bytes, p.accuracy, p.loss});
  return json.dump(1) + "\n";
}

ComparedRun compared_run_from_json(const std::string& text, const std::string& path) {
  try {
    const nlohmann::json json = nlohmann::json::parse(text);
    ComparedRun run;
    run.method = json.at("method").get<std::string>();
    run.seed = whole_number<std::uint64_t>(json.at("seed"));
    for (const Measure& measure : measures()) run.*measure.member = json.at(measure.name).get<double>();
    for (const nlohmann::json& block : json.at("exit_blocks"))
      run.exit_blocks.push_back(whole_number<int>(block));
    run.exit_accuracy = json.at("exit_accuracy").get<std::vector<double>>();
    run.client_accuracy = json.value("client_accuracy", std::vector<double>{});
    for (const auto& [budget, bytes] : json.at("peak_memory_bytes").items())
      run.peak_memory[budget] = whole_number<std::int64_t>(bytes);
    for (const nlohmann::json& p : json.at("curve")) {
      run.curve.push_back({whole_number<std::int32_t>(p.at(0)), p.at(1).get<double>(), p.at(2).get<double>(),
                           p.at(3).get<double>(), p.at(4).get<double>()});
    }
    return run;
  } catch (const std::exception& e) {
    fail(ExitCode::checkpoint,
         "{} is not the result of a run ({}), remove it: the run is then measured again", path, e.what());
  }
}

}  // namespace cos2p
