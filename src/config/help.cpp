#include "help.hpp"

#include <algorithm>
#include <vector>

#include "cos2p/support/error.hpp"
#include "enumerations.hpp"
#include "option_table.hpp"

namespace cos2p::config {
namespace {

constexpr std::size_t kWidth = 110, kIndent = 34;

const char* purpose(Subcommand subcommand) {
  switch (subcommand) {
    case Subcommand::train:
      return "train one model on a fleet of unequal clients (under mpirun, or --transport in-process)";
    case Subcommand::simulate:
      return "train in one process on a simulated clock: hundreds of clients, reproducible to the bit";
    case Subcommand::compare:
      return "simulate several methods with several seeds on the same data, clients and clock, and tabulate "
             "them";
    case Subcommand::plan:
      return "show which submodel each client of a fleet would get, and what it costs";
    case Subcommand::inspect:
      return "show what a checkpoint holds";
    case Subcommand::evaluate:
      return "measure loss and accuracy of a checkpoint on a test set, at every exit";
    case Subcommand::doctor:
      return "look at this machine, or at every rank's under mpirun: what would keep a run from working, or "
             "slow, "
             "and the cure";
    case Subcommand::join:
      return "take part in a run that goes on, as one more worker, without MPI";
    case Subcommand::replay:
      return "compute a run's merges again from its event log, and compare every bit";
  }
  return "";
}

/// `left` in its column, `right` beside it, broken between words.
std::string entry(const std::string& left, const std::string& right) {
  std::string text = "  " + left;
  if (text.size() + 2 > kIndent)
    text += "\n" + std::string(kIndent, ' ');
  else
    text.resize(kIndent, ' ');
  std::size_t column = kIndent;
  for (std::size_t begin = 0; begin < right.size();) {
    const std::size_t end = std::min(right.find(' ', begin), right.size());
    if (column + (end - begin) > kWidth) {
      text.pop_back();  // the space after the word before
      text += "\n" + std::string(kIndent, ' ');
      column = kIndent;
    }
    text += right.substr(begin, end - begin) + " ";
    column += end - begin + 1;
    begin = end + 1;
  }
  while (text.back() == ' ') text.pop_back();
  return text + "\n";
}

std::string left_side(const OptionSpec& spec) {
  if (spec.positional) return spec.metavar;
  std::string text = "--" + spec.name;
  if (spec.flag && spec.default_text == "true") return "--no-" + spec.name;
  if (!spec.alias.empty()) text += ", --" + spec.alias;
  return spec.flag ? text : text + " " + spec.metavar;
}

std::string right_side(const OptionSpec& spec) {
  if (spec.positional) return spec.help;
  if (spec.flag && spec.default_text == "true") return "switch off: " + spec.help + " [on]";
  return fmt::format("{} [{}]", spec.help, spec.flag ? "off" : spec.default_text);
}

}  // namespace

std::string program_help() {
  std::string text =
      "cos2p: many weak and unequal machines train one large Transformer together.\n\n"
      "usage: cos2p SUBCOMMAND [options]\n       mpirun -n 4 cos2p train [options]     one server and three "
      "workers\n\nSubcommands\n";
  for (const Subcommand subcommand : all_values<Subcommand>())
    text += entry(to_string(subcommand), purpose(subcommand));
  text += "\nOptions\n" + entry("--help, -h", "this text; after a subcommand, that one's options") +
          entry("--version", "the program's version");
  text += "\nExit codes\n";
  static const std::vector<std::pair<ExitCode, const char*>> kCodes{
      {ExitCode::ok, "fine; also after Ctrl-C or SIGTERM, with a checkpoint written"},
      {ExitCode::internal, "a fault of the program"},
      {ExitCode::usage, "an option, a budget or a combination that cannot work"},
      {ExitCode::data, "a data set that is missing, cut or wrong"},
      {ExitCode::checkpoint, "a checkpoint that cannot be read or does not fit"},
      {ExitCode::no_workers, "no workers are left, or the server cannot be reached"},
      {ExitCode::environment, "the machine, MPI, the network or the output directory"}};
  for (const auto& [code, meaning] : kCodes) text += entry(std::to_string(static_cast<int>(code)), meaning);
  return text;
}

std::string subcommand_help(Subcommand subcommand) {
  const std::string name = to_string(subcommand);
  const bool takes_file = subcommand == Subcommand::inspect || subcommand == Subcommand::evaluate;
  std::string text = fmt::format("cos2p {0}: {1}.\n\nusage: cos2p {0} {2}[options]\n", name,
                                 purpose(subcommand), takes_file ? "FILE " : "");
  std::vector<std::string> groups;
  for (const OptionSpec& spec : option_table()) {
    const bool offered = (spec.subcommands & bit(subcommand)) != 0;
    if (offered && !spec.hidden && std::find(groups.begin(), groups.end(), spec.group) == groups.end())
      groups.push_back(spec.group);
  }
  for (const std::string& group : groups) {
    text += "\n" + group + "\n";
    for (const OptionSpec& spec : option_table()) {
      if (spec.group == group && !spec.hidden && (spec.subcommands & bit(subcommand)) != 0)
        text += entry(left_side(spec), right_side(spec));
    }
  }
  text += "\nWhere options come from\n" +
          entry("--config FILE",
                "a TOML file of name = value lines, with the names above without --; names that only other "
                "subcommands "
                "know are skipped") +
          entry("COS2P_NAME", "an environment variable, for example COS2P_DATA_DIR for --data-dir") +
          "  The command line wins over the file, the file over the environment, the environment over the "
          "[default].\n";
  return text;
}

}  // namespace cos2p::config
