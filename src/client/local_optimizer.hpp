#pragma once

#include <torch/torch.h>

#include <memory>
#include <vector>

#include "cos2p/config/run_options.hpp"
#include "cos2p/support/span.hpp"

namespace cos2p {

/// The optimizer's step on plain arrays: clips all gradients together, then takes a step of SGD with momentum
/// or of AdamW (Loshchilov and Hutter 2019), the rules of torch::optim, in one loop an array.
class FlatOptimizer {
 public:
  struct Array {
    float* values = nullptr;
    const float* gradient = nullptr;  ///< null: the array is not stepped
    std::int64_t count = 0;
  };
  /// `numel`: values of all arrays together.
  FlatOptimizer(const LocalTrainingOptions& options, double learning_rate, std::int64_t numel);

  /// The same arrays in the same order each time.
  void step(Span<const Array> arrays);
  std::int64_t bytes() const;  ///< of the state

 private:
  const LocalTrainingOptions& options_;
  double learning_rate_;
  torch::Tensor first_, second_;  ///< moments (or momentum) of all arrays, one behind the other
  long steps_ = 0;
};

/// The same for a submodel's parameters. On a CPU by a FlatOptimizer, without a dispatch per tensor and
/// operation, which for small submodels took a tenth of the step; on other devices torch::optim does it.
class LocalOptimizer {
 public:
  LocalOptimizer(const LocalTrainingOptions& options, double learning_rate,
                 std::vector<torch::Tensor> parameters);
  ~LocalOptimizer();
  LocalOptimizer(const LocalOptimizer&) = delete;
  LocalOptimizer& operator=(const LocalOptimizer&) = delete;

  /// Steps every parameter that has a gradient, and drops the gradients.
  void step();

 private:
  void step_on_cpu();

  const LocalTrainingOptions& options_;
  std::vector<torch::Tensor> parameters_;
  std::unique_ptr<FlatOptimizer> on_cpu_;
  std::unique_ptr<torch::optim::Optimizer> elsewhere_;
};

}  // namespace cos2p
