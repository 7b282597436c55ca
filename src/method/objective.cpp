#include "cos2p/method/objective.hpp"

#include <torch/torch.h>

#include "cos2p/model/step_shape.hpp"
#include "cos2p/support/error.hpp"

namespace cos2p {
namespace {

using torch::Tensor;

/// a_j, for j = 0 .. exits-1.
std::vector<double> exit_weights(ExitLossKind kind, std::size_t exits) {
  const auto count = static_cast<double>(exits);
  std::vector<double> weights(exits, kind == ExitLossKind::sum ? 1.0 : 1.0 / count);
  for (std::size_t j = 0; j < exits; ++j) {
    if (kind == ExitLossKind::rising) weights[j] = 2 * static_cast<double>(j + 1) / (count * (count + 1));
    if (kind == ExitLossKind::deepest) weights[j] = j + 1 == exits ? 1 : 0;
  }
  return weights;
}

/// b_j: the deepest exit alone has labels to learn from with `deepest`, but the others are students too.
std::vector<double> student_weights(ExitLossKind kind, std::size_t exits) {
  return exit_weights(kind == ExitLossKind::deepest ? ExitLossKind::all : kind, exits);
}

/// What a client's loss sees of the logits (B, K).
Tensor seen(const Tensor& logits, const ClassView& view) {
  if (view.absent.defined()) return logits.masked_fill(view.absent, 0);
  return view.adjustment.defined() ? logits + view.adjustment : logits;
}

/// sum_j b_j mean_i KL(p_i || p_j) at a temperature, times its square. All teachers of an exit enter as the
/// sum of their probabilities, so that the cost grows with the exits and not with their pairs.
Tensor distillation(const std::vector<Tensor>& logits, const std::vector<double>& b, DistillationKind kind,
                    double temperature) {
  const std::size_t exits = logits.size();
  std::vector<Tensor> log_p;                // (B, K)
  std::vector<Tensor> p, negative_entropy;  // of teachers: (B, K) and (), without a gradient
  for (const Tensor& z : logits) log_p.push_back(torch::log_softmax(z / temperature, 1));
  for (const Tensor& q : log_p) {
    p.push_back(q.detach().exp());
    negative_entropy.push_back((p.back() * q.detach()).sum(1).mean());
  }
  Tensor all = p.back(), all_entropy = negative_entropy.back();
  for (std::size_t j = 0; kind == DistillationKind::mutual && j + 1 < exits; ++j) {
    all = all + p[j];
    all_entropy = all_entropy + negative_entropy[j];
  }
  const std::size_t students = kind == DistillationKind::mutual ? exits : exits - 1;
  const double teachers = kind == DistillationKind::mutual ? static_cast<double>(exits - 1) : 1;
  Tensor sum = torch::zeros({}, logits.back().options());
  for (std::size_t j = 0; j < students; ++j) {
    const bool itself = kind == DistillationKind::mutual;  // is in `all`, and does not teach itself
    const Tensor target = itself ? all - p[j] : all;
    const Tensor entropy = itself ? all_entropy - negative_entropy[j] : all_entropy;
    const Tensor divergence = entropy - (target * log_p[j]).sum(1).mean();
    sum = sum + divergence * (b[j] / teachers * temperature * temperature);
  }
  return sum;
}

}  // namespace

ClassView class_view(const ObjectiveOptions& options, const std::vector<std::int64_t>& counts,
                     torch::Device device) {
  ClassView view;
  const Tensor own = torch::tensor(counts, torch::kInt64);
  if (options.masked_logits) {
    const Tensor absent = own == 0;
    if (absent.any().item<bool>()) view.absent = absent.to(device);
  } else if (options.logit_adjustment > 0) {
    const Tensor smoothed = own.to(torch::kFloat32) + 1;  // one more of each, so that none is zero
    view.adjustment = (options.logit_adjustment * torch::log(smoothed / smoothed.sum())).to(device);
  }
  return view;
}

Objective objective(const std::vector<Tensor>& logits, const Tensor& labels, const ClassView& view,
                    const ObjectiveOptions& options, double weight) {
  COS2P_ASSERT(!logits.empty());
  const std::vector<double> weights = exit_weights(options.exit_loss, logits.size());
  Objective result;
  result.loss = torch::zeros({}, logits.back().options());
  for (std::size_t j = 0; j < logits.size(); ++j) {
    if (weights[j] == 0) continue;
    const Tensor loss = torch::nn::functional::cross_entropy(seen(logits[j], view), labels);
    result.loss = result.loss + weights[j] * loss;
    result.deepest = loss.detach();  // of the last in the end: its weight is never 0
  }
  if (weight > 0 && options.distillation != DistillationKind::none && logits.size() > 1) {
    result.loss =
        result.loss + weight * distillation(logits, student_weights(options.exit_loss, logits.size()),
                                            options.distillation, options.distillation_temperature);
  }
  return result;
}

Tensor feature_hint(const std::vector<Tensor>& features, const ObjectiveOptions& options) {
  COS2P_ASSERT(!features.empty());
  const std::vector<double> weights = student_weights(options.exit_loss, features.size());
  const auto normalized = [](const Tensor& f) {
    return at::layer_norm(f, {f.size(1)}, {}, {}, kLayerNormEpsilon);
  };
  const Tensor target = normalized(features.back().detach());
  Tensor sum = torch::zeros({}, target.options());
  for (std::size_t j = 0; j + 1 < features.size(); ++j)
    sum = sum + weights[j] * at::mse_loss(normalized(features[j]), target);
  return sum;
}

Tensor imitation_loss(const std::vector<Tensor>& part, const std::vector<Tensor>& whole,
                      const ObjectiveOptions& options) {
  COS2P_ASSERT(part.size() == whole.size() && !part.empty());
  const std::vector<double> weights = exit_weights(options.exit_loss, part.size());
  Tensor sum = torch::zeros({}, part.back().options());
  for (std::size_t j = 0; j < part.size(); ++j) {
    const Tensor target = torch::softmax(whole[j].detach(), 1);
    sum = sum - weights[j] * (target * torch::log_softmax(part[j], 1)).sum(1).mean();
  }
  return sum;
}

}  // namespace cos2p
