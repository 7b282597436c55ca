#include "local_optimizer.hpp"

#include <algorithm>
#include <cmath>

#include "optimizer_loops.hpp"

namespace cos2p {
namespace {

std::unique_ptr<torch::optim::Optimizer> torch_optimizer(const LocalTrainingOptions& options, double rate,
                                                         const std::vector<torch::Tensor>& parameters) {
  if (options.optimizer == OptimizerKind::adamw) {
    return std::make_unique<torch::optim::AdamW>(
        parameters, torch::optim::AdamWOptions(rate).weight_decay(options.weight_decay));
  }
  return std::make_unique<torch::optim::SGD>(
      parameters,
      torch::optim::SGDOptions(rate).momentum(options.momentum).weight_decay(options.weight_decay));
}

}  // namespace

FlatOptimizer::FlatOptimizer(const LocalTrainingOptions& options, double learning_rate, std::int64_t numel)
    : options_(options), learning_rate_(learning_rate) {
  const bool adamw = options.optimizer == OptimizerKind::adamw;
  if (adamw || options.momentum > 0) first_ = torch::zeros({numel});
  if (adamw) second_ = torch::zeros({numel});
}

std::int64_t FlatOptimizer::bytes() const {
  std::int64_t bytes = 0;
  for (const torch::Tensor* moments : {&first_, &second_}) {
    if (moments->defined()) bytes += static_cast<std::int64_t>(moments->nbytes());
  }
  return bytes;
}

void FlatOptimizer::step(Span<const Array> arrays) {
  double squares = 0;
  for (const Array& array : arrays) {
    if (options_.clip_norm > 0 && array.gradient != nullptr)
      squares += optimizer_loops::sum_of_squares(array.gradient, array.count);
  }
  optimizer_loops::Rule rule;
  rule.rate = static_cast<float>(learning_rate_);
  rule.decay = static_cast<float>(options_.weight_decay);
  // As clip_grad_norm_: a norm within the limit changes nothing.
  if (options_.clip_norm > 0)
    rule.scale = static_cast<float>(std::min(1.0, options_.clip_norm / (std::sqrt(squares) + 1e-6)));
  ++steps_;
  const bool adamw = options_.optimizer == OptimizerKind::adamw;
  if (adamw) {
    const torch::optim::AdamWOptions moments;
    const auto [beta1, beta2] = moments.betas();
    rule.beta1 = static_cast<float>(beta1);
    rule.beta2 = static_cast<float>(beta2);
    rule.epsilon = static_cast<float>(moments.eps());
    rule.correction1 = static_cast<float>(1 - std::pow(beta1, steps_));
    rule.correction2 = static_cast<float>(std::sqrt(1 - std::pow(beta2, steps_)));
  } else {
    // The first gradient is the momentum itself, which a buffer of zeros gives too.
    rule.momentum = static_cast<float>(options_.momentum);
  }
  float* first = first_.defined() ? first_.data_ptr<float>() : nullptr;
  float* second = second_.defined() ? second_.data_ptr<float>() : nullptr;
  std::int64_t offset = 0;
  for (const Array& array : arrays) {
    if (array.gradient != nullptr && adamw) {
      optimizer_loops::adamw(array.values, array.gradient, first + offset, second + offset, array.count,
                             rule);
    } else if (array.gradient != nullptr) {
      optimizer_loops::sgd(array.values, array.gradient, first == nullptr ? nullptr : first + offset,
                           array.count, rule);
    }
    offset += array.count;
  }
}

LocalOptimizer::LocalOptimizer(const LocalTrainingOptions& options, double learning_rate,
                               std::vector<torch::Tensor> parameters)
    : options_(options), parameters_(std::move(parameters)) {
  const bool on_cpu = std::all_of(parameters_.begin(), parameters_.end(),
                                  [](const torch::Tensor& p) { return p.is_cpu() && p.is_contiguous(); });
  if (!on_cpu) {
    elsewhere_ = torch_optimizer(options, learning_rate, parameters_);
    return;
  }
  std::int64_t numel = 0;
  for (const torch::Tensor& parameter : parameters_) numel += parameter.numel();
  on_cpu_ = std::make_unique<FlatOptimizer>(options, learning_rate, numel);
}

LocalOptimizer::~LocalOptimizer() = default;

void LocalOptimizer::step() {
  const torch::NoGradGuard no_grad;
  if (elsewhere_ == nullptr) {
    step_on_cpu();
  } else {
    if (options_.clip_norm > 0) torch::nn::utils::clip_grad_norm_(parameters_, options_.clip_norm);
    elsewhere_->step();
  }
  for (torch::Tensor& parameter : parameters_) parameter.mutable_grad() = torch::Tensor();
}

void LocalOptimizer::step_on_cpu() {
  std::vector<torch::Tensor> gradients;  // keeps contiguous copies alive
  std::vector<FlatOptimizer::Array> arrays;
  for (const torch::Tensor& parameter : parameters_) {
    gradients.push_back(parameter.grad().defined() ? parameter.grad().contiguous() : torch::Tensor());
    const torch::Tensor& gradient = gradients.back();
    arrays.push_back({parameter.data_ptr<float>(), gradient.defined() ? gradient.data_ptr<float>() : nullptr,
                      parameter.numel()});
  }
  on_cpu_->step(arrays);
}

}  // namespace cos2p
