#include "cos2p/server/evaluator.hpp"

#include <torch/torch.h>

#include <algorithm>
#include <numeric>

#include "cos2p/model/device.hpp"
#include "cos2p/model/vit.hpp"
#include "cos2p/support/narrow.hpp"

namespace cos2p {

struct Evaluator::State {
  const SegmentTable& table;
  const ImageSet& images;
  BatchMaker batches;
  torch::Device device;
  std::int64_t batch_size;
  std::unique_ptr<Vit>
      model;  ///< made at the first evaluation: a server that never evaluates needs no second copy
};

Evaluator::Evaluator(const SegmentTable& table, const ImageSet& images, const Normalization& normalization,
                     const std::string& device, int batch_size)
    : state_(new State{table, images, BatchMaker(images, normalization, {}), choose_device(device, 0),
                       batch_size, nullptr}) {}

Evaluator::~Evaluator() = default;

std::string Evaluator::device_name() const {
  return state_->device.str();
}

std::vector<ExitResult> Evaluator::evaluate(const std::vector<std::vector<float>>& values) {
  const torch::NoGradGuard no_grad;
  State& s = *state_;
  if (!s.model) s.model = std::make_unique<Vit>(s.table, VitShape::full(s.table.options()), s.device);
  for (SegmentId id : s.model->segments()) {
    const auto& segment = values.at(static_cast<std::size_t>(id.value()));
    s.model->flat(id).copy_(
        torch::from_blob(const_cast<float*>(segment.data()), {narrow<std::int64_t>(segment.size())}));
  }
  const std::vector<int>& exits = s.model->exit_blocks();
  std::vector<double> loss(exits.size(), 0);
  std::vector<std::int64_t> correct(exits.size(), 0);
  std::vector<std::int64_t> indices;
  for (std::int64_t begin = 0; begin < s.images.size(); begin += s.batch_size) {
    const std::int64_t count = std::min(s.batch_size, s.images.size() - begin);
    indices.resize(static_cast<std::size_t>(count));
    std::iota(indices.begin(), indices.end(), begin);
    torch::Tensor input =
        torch::empty({count, s.images.channels, s.images.height, s.images.width});  // (B, C, H, W)
    torch::Tensor labels = torch::empty({count}, torch::kInt64);                    // (B)
    s.batches.fill(indices, nullptr, {input.data_ptr<float>(), static_cast<std::size_t>(input.numel())},
                   {labels.data_ptr<std::int64_t>(), static_cast<std::size_t>(count)});
    labels = labels.to(s.device);
    const std::vector<torch::Tensor> logits = s.model->forward(input.to(s.device), false);
    for (std::size_t i = 0; i < exits.size(); ++i) {
      loss[i] +=
          torch::nn::functional::cross_entropy(
              logits[i], labels, torch::nn::functional::CrossEntropyFuncOptions().reduction(torch::kSum))
              .item<double>();
      correct[i] += logits[i].argmax(1).eq(labels).sum().item<std::int64_t>();
    }
  }
  std::vector<ExitResult> results;
  const auto total = static_cast<double>(std::max<std::int64_t>(s.images.size(), 1));
  for (std::size_t i = 0; i < exits.size(); ++i)
    results.push_back({exits[i], loss[i] / total, static_cast<double>(correct[i]) / total});
  return results;
}

}  // namespace cos2p
