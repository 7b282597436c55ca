#include "mask_training.hpp"

#include <torch/torch.h>

#include <algorithm>
#include <cmath>
#include <memory>

namespace cos2p {
namespace {

using torch::Tensor;

// Adam moves a score by about this much a step whatever the size of its gradient, so that ten steps pass over
// the whole range of the prior.
constexpr double kScoreRate = 0.1;

// Hard-concrete gates: temperature and the interval that is clamped to [0, 1], as published; and the strength
// of the pull towards the budget.
constexpr double kTemperature = 2.0 / 3, kLow = -0.1, kHigh = 1.1;
constexpr double kBudgetPull = 10;

/// The scores of the heads, or of the neurons, of one block.
struct Gate {
  std::int64_t kept;
  double scale;   // of a kept unit's gate, so that the sum has the size of all candidates'
  Tensor scores;  // (candidates)
};

/// 1 for the `kept` largest, 0 for the others; ties by index.
Tensor top_mask(const Tensor& scores, std::int64_t kept) {
  const torch::NoGradGuard no_grad;
  const Tensor host = scores.to(torch::kCPU, torch::kFloat64).contiguous();
  const UnitSet top = top_units({host.data_ptr<double>(), static_cast<std::size_t>(host.numel())}, kept);
  Tensor mask = torch::zeros({host.numel()});
  for (const std::int32_t unit : top.kept()) mask[unit] = 1.0F;
  return mask.to(scores.device());
}

Tensor logistic_noise(std::int64_t count, Rng& rng) {
  Tensor noise = torch::empty({count});
  float* value = noise.data_ptr<float>();
  for (std::int64_t i = 0; i < count; ++i) {
    const double u = std::clamp(rng.uniform(), 1e-6, 1 - 1e-6);
    value[i] = static_cast<float>(std::log(u) - std::log1p(-u));
  }
  return noise;
}

/// A trainable score per candidate, and how it becomes a gate.
class Gates {
 public:
  Gates(const Vit& vit, const MaskTraining& training, const UnitScores& prior, Rng& noise)
      : training_(training), noise_(noise) {
    const bool scaled = vit.shape().scale_kept_units && training.rule != WidthRule::taylor;
    for (std::size_t block = 0; block < prior.heads.size(); ++block) {
      add(prior.heads[block], training.kept[block].heads, scaled, vit.device());
      add(prior.neurons[block], training.kept[block].neurons, scaled, vit.device());
    }
  }

  std::vector<Tensor> scores() const {
    std::vector<Tensor> all;
    for (const Gate& gate : gates_) all.push_back(gate.scores);
    return all;
  }

  VitGates values() const {
    VitGates values;
    for (std::size_t i = 0; i < gates_.size(); ++i)
      (i % 2 == 0 ? values.heads : values.neurons).push_back(value(gates_[i]) * gates_[i].scale);
    return values;
  }

  /// Strength times the squared distance between the expected share of open gates and the budget's, summed
  /// over the parts.
  Tensor penalty() const {
    Tensor sum = torch::zeros({}, gates_.front().scores.device());
    if (training_.rule != WidthRule::hard_concrete) return sum;
    for (const Gate& gate : gates_) {
      const double share = static_cast<double>(gate.kept) / static_cast<double>(gate.scores.numel());
      const Tensor open = torch::sigmoid(gate.scores - kTemperature * std::log(-kLow / kHigh)).mean();
      sum = sum + kBudgetPull * (open - share).square();
    }
    return sum;
  }

 private:
  void add(const std::vector<double>& prior, int kept, bool scaled, torch::Device device) {
    const auto count = static_cast<std::int64_t>(prior.size());
    const double share = static_cast<double>(kept) / static_cast<double>(count);
    Tensor scores = torch::tensor(prior, torch::kFloat64).to(torch::kFloat32);
    if (training_.rule == WidthRule::taylor) scores = torch::ones({count});
    if (training_.rule == WidthRule::hard_concrete) {
      // Around the value whose gate is open with the budget's probability.
      const double open = std::clamp(share, 0.05, 0.95);
      scores = scores - scores.mean() + std::log(open / (1 - open)) + kTemperature * std::log(-kLow / kHigh);
    }
    gates_.push_back({kept, scaled ? 1 / share : 1.0, scores.to(device).requires_grad_()});
  }

  Tensor value(const Gate& gate) const {
    if (training_.rule == WidthRule::taylor) return gate.scores;
    if (training_.rule == WidthRule::straight_through)
      return gate.scores + (top_mask(gate.scores, gate.kept) - gate.scores).detach();
    const Tensor noise = logistic_noise(gate.scores.numel(), noise_).to(gate.scores.device());
    const Tensor s = torch::sigmoid((noise + gate.scores) / kTemperature);
    return (s * (kHigh - kLow) + kLow).clamp(0.0, 1.0);
  }

  const MaskTraining& training_;
  Rng& noise_;
  std::vector<Gate> gates_;  // heads and neurons in turn, block by block
};

std::vector<double> to_vector(const Tensor& scores) {
  const Tensor host = scores.detach().to(torch::kCPU, torch::kFloat64).contiguous();
  return {host.data_ptr<double>(), host.data_ptr<double>() + host.numel()};
}

}  // namespace

UnitScores train_scores(const Vit& candidates, const MaskTraining& training, const UnitScores& prior,
                        const std::function<Tensor(const VitGates&)>& next_loss, Rng& noise) {
  const Gates gates(candidates, training, prior, noise);
  const std::vector<Tensor> scores = gates.scores();
  torch::optim::Adam optimizer(scores, torch::optim::AdamOptions(kScoreRate));
  std::vector<Tensor> importance;
  for (const Tensor& s : scores) importance.push_back(torch::zeros_like(s, torch::requires_grad(false)));
  for (int step = 0; step < training.steps; ++step) {
    optimizer.zero_grad();
    (next_loss(gates.values()) + gates.penalty()).backward();
    if (training.rule == WidthRule::taylor) {
      const torch::NoGradGuard no_grad;
      for (std::size_t i = 0; i < scores.size(); ++i) importance[i] += scores[i].grad().abs();
    } else {
      optimizer.step();
    }
  }
  UnitScores result;
  for (std::size_t i = 0; i < scores.size(); ++i) {
    (i % 2 == 0 ? result.heads : result.neurons)
        .push_back(to_vector(training.rule == WidthRule::taylor ? importance[i] : scores[i]));
  }
  return result;
}

}  // namespace cos2p
