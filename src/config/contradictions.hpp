#pragma once

#include <map>
#include <string>

#include "cos2p/config/run_options.hpp"
#include "option_table.hpp"

namespace cos2p::config {

/// Where a value came from, weakest first.
enum class Source { standard, environment, file, command_line };

/// What was written for each option, by canonical name, and from where.
struct Written {
  Values values;
  Source source = Source::standard;
  std::string where;  ///< "line 3 of run.toml", "COS2P_ROUNDS"; empty for the command line
};
using WrittenOptions = std::map<std::string, Written>;

/// Drops values that a stronger source has overruled, applies the rest to fresh options, and refuses
/// combinations that cannot be meant. A value that another option makes meaningless is an error where it was
/// written at least as deliberately as that option (environment variables are a machine's defaults and never
/// contradict).
RunOptions resolve(Subcommand subcommand, WrittenOptions& written);

}  // namespace cos2p::config
