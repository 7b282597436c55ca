#pragma once

#include <memory>
#include <string>
#include <vector>

#include "cos2p/data/samples.hpp"
#include "cos2p/model/segment_table.hpp"

namespace cos2p {

struct ExitResult {
  int block = 0;                       ///< the exit head's block
  double loss = 0;                     ///< mean cross-entropy
  double accuracy = 0;                 ///< share in [0, 1]
  std::vector<double> class_accuracy;  ///< by class; -1 where it has no sample
};

/// Evaluates the full model on samples at each of its exits. One thread at a time.
class Evaluator {
 public:
  /// `table` and `samples` must outlive it. `device` as on the command line ("auto", "cpu", "cuda:0").
  Evaluator(const SegmentTable& table, const Samples& samples, const std::string& device, int batch_size);
  ~Evaluator();
  Evaluator(const Evaluator&) = delete;
  Evaluator& operator=(const Evaluator&) = delete;
  /// `values[segment]` = the full segment's values. Results are sorted by block.
  std::vector<ExitResult> evaluate(const std::vector<std::vector<float>>& values);
  std::string device_name() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace cos2p
