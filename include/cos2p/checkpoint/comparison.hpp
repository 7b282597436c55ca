#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace cos2p {

/// A point of a run's course: an evaluation of the full model.
struct CurvePoint {
  std::int32_t round = 0;
  double time_s = 0;             ///< simulated
  double transferred_bytes = 0;  ///< pulled and pushed by all clients so far
  double accuracy = 0, loss = 0;
};

/// What one run of a comparison gave: one method with one seed.
struct ComparedRun {
  std::string method;  ///< as written: the method and its overrides
  std::uint64_t seed = 0;
  double accuracy = 0, loss = 0;      ///< of the full model, at its last exit
  std::vector<int> exit_blocks;       ///< from 0
  std::vector<double> exit_accuracy;  ///< of the full model
  /// By client: accuracy of the full model at the exit where its submodel ends, on test samples weighted as
  /// its classes, which is what it may expect on data like its own; and mean and least of them.
  std::vector<double> client_accuracy;
  double client_accuracy_mean = 0, client_accuracy_min = 0;
  double time_s = 0;             ///< simulated seconds of the whole run
  double transferred_bytes = 0;  ///< of the whole run, all clients
  /// Simulated seconds and bytes at the first evaluation that reached the target; < 0: none did.
  double time_to_target_s = -1, bytes_to_target = -1;
  double utilisation = 0;     ///< compute / (compute + waiting), all clients
  double n_star = 0;          ///< mean over rounds of the fewest updates of a merged segment
  double staleness_mean = 0;  ///< tau: mean over all merged updates
  /// Largest measured memory of a training step, bytes, by budget as written; without budgets nobody of which
  /// took part.
  std::map<std::string, std::int64_t> peak_memory;
  std::vector<CurvePoint> curve;
  std::map<std::string, std::string> options;  ///< all that were in effect; not part of its JSON
};

/// Sets time_to_target_s and bytes_to_target; a target of 0 sets none.
void measure_target(ComparedRun& run, double target_accuracy);

/// Writes compare.h5 (schema in checkpoints/README.md), aside and renamed. Throws Error(environment).
void write_comparison(const std::string& path, const std::map<std::string, std::string>& options,
                      double target_accuracy, const std::vector<ComparedRun>& runs);

/// One row per run. Values that do not exist are empty.
std::string comparison_csv(const std::vector<ComparedRun>& runs);
/// A Markdown table, one row per method: mean ± standard deviation over its seeds.
std::string comparison_markdown(const std::vector<ComparedRun>& runs, double target_accuracy);

/// One run as JSON, and back. Throws Error(checkpoint) naming `path` for what is not such a text.
std::string to_json(const ComparedRun& run);
ComparedRun compared_run_from_json(const std::string& text, const std::string& path);

}  // namespace cos2p
