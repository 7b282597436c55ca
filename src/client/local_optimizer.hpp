#pragma once

#include <torch/torch.h>

#include <memory>
#include <vector>

#include "cos2p/config/run_options.hpp"

namespace cos2p {

/// Clips the gradients of a submodel's parameters together and takes a step of SGD with momentum or of AdamW
/// (Loshchilov and Hutter 2019): the rules of torch::optim. On a CPU all parameters are stepped in one loop
/// each, without a dispatch per tensor and operation, which for small submodels took a tenth of the step; on
/// other devices torch::optim does it.
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
  double learning_rate_;
  std::vector<torch::Tensor> parameters_;
  torch::Tensor first_, second_;  ///< moments (or momentum) of all parameters, one behind the other
  long steps_ = 0;
  std::unique_ptr<torch::optim::Optimizer> elsewhere_;
};

}  // namespace cos2p
