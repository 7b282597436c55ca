#pragma once

#include <map>
#include <string>
#include <vector>

#include "cos2p/config/run_options.hpp"

namespace cos2p {

/// A row of a comparison: a method with values of options of its own.
struct ComparisonRow {
  std::string label;  ///< as written in --methods
  std::string method;
  std::map<std::string, std::string> overrides;  ///< option -> value, as on the command line
};

/// The rows that --methods and --for describe. Throws Error(usage) for an unknown method, a row that appears
/// twice, an option that does not exist, or one that all rows must share (data, partition, model, budgets,
/// clock).
std::vector<ComparisonRow> comparison_rows(const ComparisonOptions& options);

}  // namespace cos2p
