#include "local_steps.hpp"

#include <torch/torch.h>

#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include "cos2p/method/objective.hpp"
#include "cos2p/model/batch_tensors.hpp"
#include "cos2p/support/narrow.hpp"
#include "local_optimizer.hpp"
#include "sample_stream.hpp"

namespace cos2p {
namespace {

constexpr std::uint64_t kWidthDraw = 6;  // purpose of a random stream

/// Exits of frozen blocks do not learn.
std::vector<torch::Tensor> trained_exits(std::vector<torch::Tensor> logits) {
  const auto frozen = [](const torch::Tensor& exit) { return !exit.requires_grad(); };
  logits.erase(std::remove_if(logits.begin(), logits.end(), frozen), logits.end());
  return logits;
}

/// The widths that the client's steps are drawn from; the last is that of the whole model.
std::vector<VitWidth> widths_of(const Vit& model, int widths) {
  const VitShape& shape = model.shape();
  const Assignment whole{shape.kept_blocks, shape.frozen_blocks, narrow<int>(shape.heads.back().size()),
                         narrow<int>(shape.neurons.back().size())};
  std::vector<VitWidth> result;
  for (const Assignment& a : dropout_ladder(model.table().options(), whole, widths))
    result.push_back({a.heads, a.neurons});
  return result;
}

}  // namespace

int micro_batch_of(const LocalTrainer::Setup& setup, const ClientTask& task) {
  return setup.micro_batch ? setup.micro_batch(ClientId(task.client), task.assignment) : 0;
}

std::vector<std::int64_t> class_counts(const LabelledSet& set, const std::vector<std::int64_t>& samples) {
  std::vector<std::int64_t> counts(static_cast<std::size_t>(set.classes), 0);
  for (std::int64_t sample : samples)
    ++counts[static_cast<std::size_t>(set.labels[static_cast<std::size_t>(sample)])];
  return counts;
}

bool LocalSteps::run(const LocalTrainer::KeepGoing& keep_going, RoundReport& report) const {
  const LocalTrainingOptions& local = setup.local;
  const std::int32_t client = task.client;
  const auto& samples = setup.partition->at(static_cast<std::size_t>(client));
  Rng rng(setup.seed, {kDataOrder, static_cast<std::uint64_t>(client), static_cast<std::uint64_t>(index)});
  SampleStream stream(samples, rng);
  LocalOptimizer optimizer(local, learning_rate(local, notice.round, notice.rounds), model.parameters());
  const ClassView view = class_view(local.objective, class_counts(setup.samples->set(), samples), device);
  const double distilled =
      distillation_weight(local.objective, static_cast<double>(notice.round) / std::max(1, notice.rounds));
  const double hint = distilled * local.objective.feature_hint;
  const std::vector<VitWidth> widths = widths_of(model, local.ordered_dropout);
  const int micro_batch = micro_batch_of(setup, task);
  Rng width_draw(setup.seed,
                 {kWidthDraw, static_cast<std::uint64_t>(client), static_cast<std::uint64_t>(index)});
  torch::Tensor loss_sum = torch::zeros({}, device), correct = torch::zeros({}, device);
  std::vector<std::int64_t> indices;
  for (int step = 0; step < report.steps; ++step) {
    if (!keep_going()) return false;
    stream.take(local.batch_size, indices);
    const std::size_t drawn = width_draw.below(widths.size());
    const bool imitated = local.ordered_dropout_distillation && drawn + 1 < widths.size();
    const VitWidth* narrowed = drawn + 1 < widths.size() ? &widths[drawn] : nullptr;
    const std::size_t piece = micro_batch > 0 ? static_cast<std::size_t>(micro_batch) : indices.size();
    for (std::size_t begin = 0; begin < indices.size(); begin += piece) {
      const std::size_t size = std::min(piece, indices.size() - begin);
      const auto count = static_cast<double>(size);
      // Losses are means over samples: weighted by size, the gradients add up to the whole batch's.
      const auto backward = [&](const torch::Tensor& loss) {
        (size == indices.size() ? loss : loss * (count / static_cast<double>(indices.size()))).backward();
      };
      const BatchTensors batch = batch_tensors(*setup.samples, {indices.data() + begin, size}, &rng, device);
      std::vector<torch::Tensor> features;  // (B, D) each
      const std::vector<torch::Tensor> logits =
          trained_exits(model.forward(batch.input, true, nullptr, imitated ? nullptr : narrowed,
                                      hint > 0 ? &features : nullptr));  // (B, K) each
      Objective result = objective(logits, batch.labels, view, local.objective, distilled);
      if (hint > 0)
        result.loss = result.loss + hint * feature_hint(trained_exits(std::move(features)), local.objective);
      backward(result.loss);
      if (imitated) {
        const std::vector<torch::Tensor> part =
            trained_exits(model.forward(batch.input, true, nullptr, narrowed));
        backward(imitation_loss(part, logits, local.objective));  // on top of the gradients of the whole
      }
      const torch::NoGradGuard no_grad;
      loss_sum += result.deepest * count;
      correct += logits.back().argmax(1).eq(batch.labels).sum();
    }
    optimizer.step();
    report.samples += narrow<std::int64_t>(indices.size());
  }
  report.loss = loss_sum.item<double>() / static_cast<double>(report.samples);
  report.accuracy = correct.item<double>() / static_cast<double>(report.samples);
  return true;
}

}  // namespace cos2p
