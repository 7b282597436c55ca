// The steps taken in one loop equal those of torch::optim.
#include "local_optimizer.hpp"

#include <boost/test/unit_test.hpp>

using namespace cos2p;

namespace {

std::vector<torch::Tensor> parameters() {
  torch::manual_seed(7);
  std::vector<torch::Tensor> result;
  for (const std::int64_t size : {1, 3, 16, 257, 5000})
    result.push_back(torch::randn({size}).set_requires_grad(true));
  return result;
}

torch::Tensor loss(const std::vector<torch::Tensor>& p, int step) {
  torch::Tensor sum = torch::zeros({});
  for (std::size_t i = 0; i < p.size(); ++i) {
    if (i == 1) continue;  // has no gradient, and stays
    sum = sum + (p[i] * (0.3 * step + 1)).sin().sum() + p[i].pow(2).sum() * 0.5;
  }
  return sum;
}

void compare(const LocalTrainingOptions& options) {
  constexpr double kRate = 0.02;
  std::vector<torch::Tensor> ours = parameters(), theirs = parameters();
  LocalOptimizer optimizer(options, kRate, ours);
  std::unique_ptr<torch::optim::Optimizer> reference;
  if (options.optimizer == OptimizerKind::adamw) {
    reference = std::make_unique<torch::optim::AdamW>(
        theirs, torch::optim::AdamWOptions(kRate).weight_decay(options.weight_decay));
  } else {
    reference = std::make_unique<torch::optim::SGD>(
        theirs,
        torch::optim::SGDOptions(kRate).momentum(options.momentum).weight_decay(options.weight_decay));
  }
  for (int step = 0; step < 25; ++step) {
    loss(ours, step).backward();
    optimizer.step();
    for (const torch::Tensor& p : ours) BOOST_TEST(!p.grad().defined());
    reference->zero_grad();
    loss(theirs, step).backward();
    if (options.clip_norm > 0) torch::nn::utils::clip_grad_norm_(theirs, options.clip_norm);
    reference->step();
  }
  for (std::size_t i = 0; i < ours.size(); ++i)
    BOOST_TEST(torch::allclose(ours[i], theirs[i], 1e-3, 1e-4), "parameter " << i);
  BOOST_TEST(ours[1].equal(parameters()[1]));
}

}  // namespace

BOOST_AUTO_TEST_CASE(sgd_equals_torch) {
  for (const double momentum : {0.0, 0.9}) {
    for (const double decay : {0.0, 0.1}) {
      for (const double clip : {0.0, 1.0, 1e6}) {
        LocalTrainingOptions options;
        options.momentum = momentum;
        options.weight_decay = decay;
        options.clip_norm = clip;
        compare(options);
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(adamw_equals_torch) {
  for (const double decay : {0.0, 0.1}) {
    for (const double clip : {0.0, 1.0}) {
      LocalTrainingOptions options;
      options.optimizer = OptimizerKind::adamw;
      options.weight_decay = decay;
      options.clip_norm = clip;
      compare(options);
    }
  }
}
