#pragma once

#include "cos2p/checkpoint/comparison.hpp"
#include "cos2p/config/comparison_rows.hpp"
#include "cos2p/config/run_options.hpp"

namespace cos2p {

/// One run of a comparison: a row with a seed, and the command that does it.
struct PlannedRun {
  ComparisonRow row;
  std::uint64_t seed = 0;
  CommandLine command;    ///< of simulate
  std::string directory;  ///< of its own
  std::string result() const { return directory + "/result.json"; }
};

/// Options of simulate for one run: what the user gave for all, the row's own, and what a comparison decides.
/// Throws Error(usage) naming the row for values that cannot be.
CommandLine run_command(const CommandLine& compare, const ComparisonRow& row, std::uint64_t seed,
                        const std::string& directory);

/// Trains, or goes on where a killed run stopped, measures, and writes result(). Returns the exit code.
int execute(const PlannedRun& run);

}  // namespace cos2p
