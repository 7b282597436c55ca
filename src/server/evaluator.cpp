#include "cos2p/server/evaluator.hpp"

#include <torch/torch.h>

#include <algorithm>
#include <numeric>

#include "cos2p/model/batch_tensors.hpp"
#include "cos2p/model/device.hpp"
#include "cos2p/model/vit.hpp"
#include "cos2p/support/narrow.hpp"

namespace cos2p {

namespace {

/// The full model, of either kind, as the evaluation needs it.
class FullModel {
 public:
  FullModel(const SegmentTable& table, torch::Device device) : table_(table) {
    const ModelOptions& options = table.options();
    if (options.linear()) {
      linear_ = torch::zeros({table.parameters()}, torch::TensorOptions().device(device));
    } else {
      vit_ = std::make_unique<Vit>(table, VitShape::full(options), device);
    }
  }
  torch::Tensor flat(SegmentId id) const { return vit_ ? vit_->flat(id) : linear_; }
  std::vector<int> exit_blocks() const { return vit_ ? vit_->exit_blocks() : std::vector<int>{0}; }
  /// As Vit::forward().
  std::vector<torch::Tensor> logits(const torch::Tensor& input) const {
    if (vit_) return vit_->forward(input, false);
    const std::int64_t values = table_.options().image_values(), classes = table_.options().classes;
    const torch::Tensor weight = linear_.narrow(0, 0, classes * values).view({classes, values});
    return {at::linear(input.flatten(1), weight, linear_.narrow(0, classes * values, classes))};
  }

 private:
  const SegmentTable& table_;
  std::unique_ptr<Vit> vit_;
  torch::Tensor linear_;  // weight (K, P), bias (K); undefined beside a Vit
};

}  // namespace

struct Evaluator::State {
  const SegmentTable& table;
  const Samples& samples;
  torch::Device device;
  std::int64_t batch_size;
  std::unique_ptr<FullModel>
      model;  ///< made at the first evaluation: a server that never evaluates needs no second copy
};

Evaluator::Evaluator(const SegmentTable& table, const Samples& samples, const std::string& device,
                     int batch_size)
    : state_(new State{table, samples, choose_device(device, 0), batch_size, nullptr}) {}

Evaluator::~Evaluator() = default;

std::string Evaluator::device_name() const {
  return state_->device.str();
}

std::vector<ExitResult> Evaluator::evaluate(const std::vector<std::vector<float>>& values) {
  const torch::NoGradGuard no_grad;
  State& s = *state_;
  if (!s.model) s.model = std::make_unique<FullModel>(s.table, s.device);
  for (const Segment& each : s.table) {
    const auto& segment = values.at(static_cast<std::size_t>(each.id.value()));
    s.model->flat(each.id).copy_(
        torch::from_blob(const_cast<float*>(segment.data()), {narrow<std::int64_t>(segment.size())}));
  }
  const std::vector<int> exits = s.model->exit_blocks();
  std::vector<double> loss(exits.size(), 0);
  std::vector<std::int64_t> correct(exits.size(), 0);
  const std::int64_t classes = s.table.options().classes;
  torch::Tensor seen = torch::zeros({classes}, torch::kFloat64);  // (K)
  torch::Tensor hits =
      torch::zeros({narrow<std::int64_t>(exits.size()), classes}, torch::kFloat64);  // (exit, K)
  std::vector<std::int64_t> indices;
  for (std::int64_t begin = 0; begin < s.samples.size(); begin += s.batch_size) {
    const std::int64_t count = std::min(s.batch_size, s.samples.size() - begin);
    indices.resize(static_cast<std::size_t>(count));
    std::iota(indices.begin(), indices.end(), begin);
    const BatchTensors batch = batch_tensors(s.samples, indices, nullptr, s.device);
    const std::vector<torch::Tensor> logits = s.model->logits(batch.input);
    for (std::size_t i = 0; i < exits.size(); ++i) {
      loss[i] += torch::nn::functional::cross_entropy(
                     logits[i], batch.labels,
                     torch::nn::functional::CrossEntropyFuncOptions().reduction(torch::kSum))
                     .item<double>();
      const torch::Tensor right = logits[i].argmax(1).eq(batch.labels);  // (B)
      correct[i] += right.sum().item<std::int64_t>();
      hits[narrow<std::int64_t>(i)] +=
          torch::bincount(batch.labels, right.to(torch::kFloat64), classes).cpu();
    }
    seen += torch::bincount(batch.labels, {}, classes).cpu();
  }
  std::vector<ExitResult> results;
  const auto total = static_cast<double>(std::max<std::int64_t>(s.samples.size(), 1));
  const torch::Tensor by_class = torch::where(seen > 0, hits / seen, torch::full_like(hits, -1)).contiguous();
  for (std::size_t i = 0; i < exits.size(); ++i) {
    const double* first = by_class.data_ptr<double>() + narrow<std::int64_t>(i) * classes;
    results.push_back({exits[i], loss[i] / total, static_cast<double>(correct[i]) / total,
                       std::vector<double>(first, first + classes)});
  }
  return results;
}

}  // namespace cos2p
