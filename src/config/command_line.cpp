#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <iostream>
#include <memory>
#include <regex>

#include "contradictions.hpp"
#include "cos2p/config/run_options.hpp"
#include "cos2p/support/error.hpp"
#include "enumerations.hpp"
#include "help.hpp"
#include "option_table.hpp"
#include "toml.hpp"

namespace cos2p {
namespace config {
namespace {

/// Lets CLI11 read our TOML (its own reader cuts strings at '#' and knows no escapes), and notes the line of
/// every name.
class ConfigFile : public CLI::Config {
 public:
  ConfigFile(const CLI::App& app, Subcommand subcommand) : app_(app), subcommand_(subcommand) {}

  std::vector<CLI::ConfigItem> from_config(std::istream& input) const override {
    const std::string file = app_.get_config_ptr()->results().back();
    std::vector<CLI::ConfigItem> read;
    for (TomlEntry& entry : read_toml(input, file)) {
      const OptionSpec* spec = find_option(entry.name);
      if (spec == nullptr) {
        fail(ExitCode::usage, "{}, line {}: '{}' is not an option{}, see cos2p {} --help", file, entry.line,
             entry.name, did_you_mean(entry.name, option_names(subcommand_)), to_string(subcommand_));
      }
      if ((spec->subcommands & bit(subcommand_)) == 0) continue;
      if (entry.array && !spec->list) {
        fail(ExitCode::usage,
             "{}, line {}: '{}' cannot be an array (the option takes one value), write {} = value", file,
             entry.line, entry.name, entry.name);
      }
      if (spec->flag && entry.values.back() != "true" && entry.values.back() != "false") {
        fail(ExitCode::usage, "{}, line {}: '{}' cannot be '{}' (expected true or false), correct it", file,
             entry.line, entry.name, entry.values.back());
      }
      if (const auto first = lines.find(spec->name); first != lines.end()) {
        fail(ExitCode::usage, "{}, line {}: '{}' is already set as '{}' (line {}), keep one of the two", file,
             entry.line, entry.name, entry.name == spec->name ? spec->alias : spec->name, first->second);
      }
      lines[spec->name] = entry.line;
      CLI::ConfigItem item;
      item.name = spec->name;
      item.inputs = std::move(entry.values);
      read.push_back(std::move(item));
    }
    return read;
  }

  std::string to_config(const CLI::App*, bool, bool, std::string) const override { return ""; }

  mutable std::map<std::string, int> lines;  // CLI11 calls from_config as const

 private:
  const CLI::App& app_;
  Subcommand subcommand_;
};

/// One subcommand's command line: a CLI::App that fills `values`, by canonical name.
class Parser {
 public:
  explicit Parser(Subcommand subcommand)
      : subcommand_(subcommand), app_("", "cos2p " + to_string(subcommand)) {
    app_.set_help_flag("-h,--help", "");
    app_.allow_extras();
    for (const OptionSpec& spec : option_table()) {
      if ((spec.subcommands & bit(subcommand)) != 0) add(spec);
    }
    app_.set_config("--config", "", "");
    file_ = std::make_shared<ConfigFile>(app_, subcommand);
    app_.config_formatter(file_);
  }

  /// `finished` where help was asked for.
  WrittenOptions parse(int argc, const char* const* argv, bool& finished) {
    check_flags(argc, argv);
    try {
      app_.parse(argc, argv);
    } catch (const CLI::CallForHelp&) {
      finished = true;
      return {};
    } catch (const CLI::FileError&) {
      const std::string file = app_.get_config_ptr()->results().back();
      fail(ExitCode::usage, "--config: cannot read '{}' ({}), check the path", file,
           std::filesystem::exists(file) ? "it is not a file" : "no such file");
    } catch (const CLI::ParseError& error) {
      fail(ExitCode::usage, "the command line cannot be read ({}), see cos2p {} --help", error.what(),
           to_string(subcommand_));
    }
    refuse_extras();
    return written(argc, argv);
  }

 private:
  void add(const OptionSpec& spec) {
    const std::string name = spec.name;
    CLI::Option* option = nullptr;
    if (spec.flag) {
      option = app_.add_flag_function(
          "--" + name + ",!--no-" + name,
          [this, name](std::int64_t count) { values_[name] = {count > 0 ? "true" : "false"}; }, "");
    } else {
      const CLI::callback_t keep = [this, name](const CLI::results_t& results) {
        values_[name] = results;
        return true;
      };
      const std::string names =
          spec.positional ? name : "--" + name + (spec.alias.empty() ? "" : ",--" + spec.alias);
      option = app_.add_option(names, keep, "");
      if (spec.list) option->expected(1, CLI::detail::expected_max_vector_size)->allow_extra_args(false);
      // A script may append its caller's options to its own: the last one counts.
      option->multi_option_policy(spec.list ? CLI::MultiOptionPolicy::TakeAll
                                            : CLI::MultiOptionPolicy::TakeLast);
    }
    option->type_name("value");
    if (!spec.positional) option->envname(spec.environment_name());
  }

  /// Versions of CLI11 differ in what they make of --json=maybe (an exception, or true): here it is an error.
  void check_flags(int argc, const char* const* argv) const {
    for (const OptionSpec& spec : option_table()) {
      if (!spec.flag || (spec.subcommands & bit(subcommand_)) == 0) continue;
      if (const char* value = std::getenv(spec.environment_name().c_str());
          value != nullptr && *value != '\0') {
        check_flag(value, fmt::format("--{} ({}={})", spec.name, spec.environment_name(), value));
      }
      for (int i = 1; i < argc; ++i) {
        const std::string text = argv[i];
        const std::size_t equals = std::min(text.find('='), text.size());
        const std::string name = text.substr(0, equals);
        if (equals < text.size() && (name == "--" + spec.name || name == "--no-" + spec.name))
          check_flag(text.substr(equals + 1), text);
      }
    }
  }

  void check_flag(const std::string& value, const std::string& text) const {
    static const Values kKnown{"true", "false", "on", "off", "yes", "no", "1", "0"};
    if (std::find(kKnown.begin(), kKnown.end(), value) != kKnown.end()) return;
    fail(ExitCode::usage, "{} is not understood (a flag is true or false), see cos2p {} --help", text,
         to_string(subcommand_));
  }

  void refuse_extras() {
    for (const std::string& extra : app_.remaining()) {
      const std::string name = to_string(subcommand_);
      if (extra.rfind("--", 0) != 0) {
        fail(ExitCode::usage,
             "'{}' is not understood ({} takes options that begin with --), see cos2p {} --help", extra, name,
             name);
      }
      const std::string option = extra.substr(2, extra.find('=') - 2);
      const OptionSpec* known = find_option(option);
      fail(ExitCode::usage, "--{} is not an option of {} ({}){}, see cos2p {} --help", option, name,
           known != nullptr ? "other subcommands have it" : "nor of another subcommand",
           known != nullptr ? "" : did_you_mean(option, option_names(subcommand_), "--"), name);
    }
  }

  WrittenOptions written(int argc, const char* const* argv) const {
    WrittenOptions all;
    for (const auto& [name, values] : values_) {
      const OptionSpec& spec = *find_option(name);
      Written& one = all[name];
      one.values = values;
      if (spec.positional || on_command_line(spec, argc, argv)) {
        one.source = Source::command_line;
      } else if (const auto line = file_->lines.find(name); line != file_->lines.end()) {
        one.source = Source::file;
        one.where = fmt::format("line {} of {}", line->second, app_.get_config_ptr()->results().back());
      } else {
        one.source = Source::environment;
        one.where = spec.environment_name();
      }
    }
    return all;
  }

  static bool on_command_line(const OptionSpec& spec, int argc, const char* const* argv) {
    for (int i = 1; i < argc; ++i) {
      const std::string text(argv[i], std::strcspn(argv[i], "="));
      if (text == "--" + spec.name || text == "--no-" + spec.name || text == "--" + spec.alias) return true;
    }
    return false;
  }

  Subcommand subcommand_;
  CLI::App app_;
  std::shared_ptr<ConfigFile> file_;
  std::map<std::string, Values> values_;
};

std::map<std::string, std::string> options_in_effect(Subcommand subcommand, const RunOptions& options) {
  std::map<std::string, std::string> in_effect;
  for (const OptionSpec& spec : option_table()) {
    const bool offered = (spec.subcommands & bit(subcommand)) != 0;
    if (!offered || !spec.get || spec.positional || !spec.has_meaning(options)) continue;
    in_effect[spec.name] = spec.get(options);
  }
  return in_effect;
}

/// False where help or the version was printed instead.
bool find_subcommand(const std::string& word, Subcommand& subcommand) {
  if (word == "--help" || word == "-h" || word == "help") {
    std::cout << program_help();
    return false;
  }
  if (word == "--version") {
    std::cout << "cos2p " COS2P_VERSION "\n";
    return false;
  }
  try {
    subcommand = parse_choice<Subcommand>(word);
  } catch (const BadValue& bad) {
    fail(ExitCode::usage, "'{}' is not a subcommand (expected {}), see cos2p --help", word, bad.expected);
  }
  return true;
}

}  // namespace
}  // namespace config

CommandLine parse_command_line(int argc, const char* const* argv, bool& finished) {
  finished = false;
  CommandLine result;
  if (argc < 2) {
    fail(ExitCode::usage, "a subcommand is missing (expected {}), see cos2p --help",
         config::list_choices(config::choices<Subcommand>()));
  }
  if (!config::find_subcommand(argv[1], result.subcommand)) {
    finished = true;
    return result;
  }
  config::Parser parser(result.subcommand);
  config::WrittenOptions written = parser.parse(argc - 1, argv + 1, finished);
  if (finished) {
    std::cout << config::subcommand_help(result.subcommand);
    return result;
  }
  result.options = config::resolve(result.subcommand, written);
  result.in_effect = config::options_in_effect(result.subcommand, result.options);
  for (const auto& [name, value] : written) {
    if (value.source == config::Source::standard) continue;
    const config::OptionSpec& spec = *config::find_option(name);
    if (spec.get) result.given[name] = spec.get(result.options);
  }
  return result;
}

CommandLine parse_options(Subcommand subcommand, const std::string& toml) {
  std::string path = (std::filesystem::temp_directory_path() / "cos2p-options-XXXXXX").string();
  const int file = mkstemp(path.data());
  if (file < 0 || write(file, toml.data(), toml.size()) != static_cast<ssize_t>(toml.size())) {
    std::filesystem::remove(path);
    fail(ExitCode::environment,
         "{} cannot be written (recorded options are read through it), make room or set TMPDIR", path);
  }
  close(file);
  const std::string name = to_string(subcommand);
  const std::array<const char*, 4> argv{"cos2p", name.c_str(), "--config", path.c_str()};
  bool finished = false;
  try {
    CommandLine command = parse_command_line(static_cast<int>(argv.size()), argv.data(), finished);
    std::filesystem::remove(path);
    return command;
  } catch (const Error& error) {
    std::filesystem::remove(path);
    // Its lines are nothing that anybody wrote or could look at.
    static const std::regex kWhere(
        R"( \(line \d+ of [^)]*cos2p-options-\w+\)|; line \d+ of [^)]*cos2p-options-\w+)");
    throw Error(error.code(), std::regex_replace(std::string(error.what()), kWhere, ""));
  } catch (...) {
    std::filesystem::remove(path);
    throw;
  }
}

std::string toml_text(const std::string& text) {
  return config::toml_string(text);
}

std::string to_toml(const std::map<std::string, std::string>& in_effect) {
  std::string text;
  for (const auto& [name, value] : in_effect) text += fmt::format("{} = {}\n", name, value);
  return text;
}

}  // namespace cos2p
