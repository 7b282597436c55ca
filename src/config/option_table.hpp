#pragma once

#include <functional>
#include <string>
#include <vector>

#include "cos2p/config/run_options.hpp"
#include "values.hpp"

namespace cos2p::config {

/// Sets of subcommands. kTrain: all that train; kRanks: train alone.
enum : unsigned {
  kRanks = 1,
  kPlan = 2,
  kInspect = 4,
  kEvaluate = 8,
  kSimulate = 16,
  kCompare = 32,
  kDoctor = 64,
  kJoin = 128,
  kReplay = 256,
  kTrain = kRanks | kSimulate | kCompare
};
inline unsigned bit(Subcommand subcommand) {
  return 1U << static_cast<unsigned>(subcommand);
}

/// Why an option may have no meaning beside another.
struct Objection {
  std::string cause;                                      ///< the option to blame
  std::function<std::string(const RunOptions&)> why_not;  ///< "" where there is a meaning
};

/// One option: the single place that says how it is called, read, written, explained and when it has a
/// meaning. Command line, configuration file, environment, help and the record of a run are all made from
/// this.
struct OptionSpec {
  std::string name;     ///< "dirichlet-alpha"; COS2P_DIRICHLET_ALPHA in the environment
  std::string alias;    ///< a second name; empty = none
  std::string group;    ///< heading in help
  std::string metavar;  ///< "N", "DIR" or the choices; empty for flags
  std::string help;     ///< with unit
  std::string default_text;
  unsigned subcommands = 0;
  bool list = false, flag = false, positional = false;
  bool hidden = false;  ///< not in help: for tests and measurements

  /// Reads the texts into the options; throws BadValue. Specs are applied in table order.
  std::function<void(RunOptions&, const Values&)> set;
  /// The present value as TOML; empty for what is recorded in another way.
  std::function<std::string(const RunOptions&)> get;

  std::vector<Objection> objections;
  bool has_meaning(const RunOptions& options) const;
  /// Values of this option are dropped where that one comes from a stronger source (--model beside dim = 64
  /// in a file).
  std::string yields_to;
  /// Two ways to say the same: of both, the one from the stronger source counts; from the same source they
  /// are refused.
  std::string exclusive_with;

  std::string environment_name() const;
};

const std::vector<OptionSpec>& option_table();
/// By name or alias; nullptr where there is none.
const OptionSpec* find_option(const std::string& name);
/// Names and aliases that a subcommand offers.
Values option_names(Subcommand subcommand);

}  // namespace cos2p::config
