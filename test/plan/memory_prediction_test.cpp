// The predicted peak memory of a training step against the bytes of tensors that really existed.
#include <torch/torch.h>

#include <boost/test/unit_test.hpp>
#include <string>

#include "cos2p/method/objective.hpp"
#include "cos2p/model/tensor_memory.hpp"
#include "cos2p/model/vit.hpp"
#include "cos2p/plan/submodel_plan.hpp"

using namespace cos2p;

namespace {

struct Case {
  std::string name;
  std::string preset;
  int image, channels, patch;  // of texts: longest, vocabulary, 0
  Assignment assignment;       // 0 heads or neurons: all
  TrainingShape training;
};

UnitSet first(std::int64_t total, int count) {
  std::vector<std::int32_t> kept;
  for (std::int32_t u = 0; u < count; ++u) kept.push_back(u);
  return UnitSet(total, kept);
}

std::unique_ptr<torch::optim::Optimizer> optimizer_for(const Vit& vit, const TrainingShape& training) {
  if (training.optimizer == OptimizerKind::adamw) {
    return std::make_unique<torch::optim::AdamW>(vit.parameters(), torch::optim::AdamWOptions(1e-3));
  }
  return std::make_unique<torch::optim::SGD>(
      vit.parameters(), torch::optim::SGDOptions(0.01).momentum(training.momentum ? 0.9 : 0.0));
}

std::int64_t measured_peak(const SegmentTable& table, const Assignment& a, const TrainingShape& training) {
  const std::int64_t before = tensor_memory::current();
  const ModelOptions& m = table.options();
  VitShape shape;
  shape.kept_blocks = a.kept_blocks;
  shape.frozen_blocks = a.frozen_blocks;
  for (int block = 0; block < a.kept_blocks; ++block) {  // frozen blocks are whole
    const bool frozen = block < a.frozen_blocks;
    shape.heads.push_back(first(m.heads, frozen ? m.heads : a.heads));
    shape.neurons.push_back(first(m.feed_forward, frozen ? m.feed_forward : a.neurons));
  }
  Vit vit(table, shape, torch::kCPU);
  for (SegmentId id : vit.segments()) vit.flat(id).normal_(0.0, 0.02);
  if (training.masked) vit.mask_below(0.02F);
  std::vector<torch::Tensor> received;
  for (SegmentId id : vit.trained_segments()) {
    if (training.deltas) received.push_back(vit.flat(id).clone());
  }
  const auto optimizer = optimizer_for(vit, training);
  const int piece = training.accumulates() ? training.micro_batch : training.batch_size;
  const torch::Tensor input = m.reads_texts()
                                  ? torch::randint(0, m.vocabulary, {piece, m.max_length}, torch::kInt32)
                                  : torch::randn({piece, m.channels, m.image_height, m.image_width});
  const torch::Tensor labels = torch::randint(0, m.classes, {piece});
  for (int step = 0; step < 2; ++step) {  // the optimizer makes its state in the first
    tensor_memory::reset_peak();
    for (torch::Tensor& p : vit.parameters()) p.mutable_grad() = torch::Tensor();
    for (int done = 0; done < training.batch_size; done += piece) {
      torch::Tensor loss;
      std::vector<torch::Tensor> features;
      for (const torch::Tensor& logits :
           vit.forward(input, true, nullptr, nullptr, training.hint ? &features : nullptr)) {
        if (!logits.requires_grad()) continue;
        const torch::Tensor part = torch::nn::functional::cross_entropy(logits, labels);
        loss = loss.defined() ? loss + part : part;
      }
      if (training.hint) loss = loss + feature_hint(features, {});
      features.clear();
      loss.backward();
    }
    optimizer->step();
  }
  return tensor_memory::peak() - before;
}

}  // namespace

BOOST_AUTO_TEST_CASE(prediction_is_within_a_fifth_of_the_measurement) {
  tensor_memory::install();
  const TrainingShape sgd{32, OptimizerKind::sgd, true};
  const Case cases[] = {
      {"micro, full, batch 64", "micro", 28, 1, 7, {6, 0, 0, 0}, {64, OptimizerKind::sgd, true}},
      {"micro, two blocks, one head, batch 1000",
       "micro",
       28,
       1,
       7,
       {2, 0, 1, 16},
       {1000, OptimizerKind::sgd, false}},
      {"tiny, half width", "tiny", 32, 3, 4, {6, 0, 1, 384}, sgd},
      {"tiny, full, AdamW, batch 2: weights dominate",
       "tiny",
       32,
       3,
       4,
       {6, 0, 0, 0},
       {2, OptimizerKind::adamw, true}},
      {"small, half of the blocks frozen", "small", 32, 3, 8, {12, 6, 0, 0}, {64, OptimizerKind::sgd, true}},
      {"small, five of six blocks frozen, batch 48: frozen parts dominate",
       "small",
       32,
       3,
       4,
       {6, 5, 0, 0},
       {48, OptimizerKind::sgd, true}},
      {"small, eight of twelve blocks frozen and whole, the others narrow",
       "small",
       32,
       3,
       8,
       {12, 8, 2, 200},
       {64, OptimizerKind::sgd, true}},
      {"tiny, full, batch 64 in pieces of 8",
       "tiny",
       32,
       3,
       4,
       {6, 0, 0, 0},
       {64, OptimizerKind::adamw, true, false, false, 8}},
      {"micro, half width, batch 32 in pieces of 1: weights dominate",
       "micro",
       28,
       1,
       7,
       {6, 0, 2, 64},
       {32, OptimizerKind::adamw, true, false, false, 1}},
      {"base, a quarter of depth and width", "base", 32, 3, 4, {3, 0, 3, 768}, sgd},
      {"texts, micro, full, batch 64", "micro", 64, 8192, 0, {6, 0, 0, 0}, {64, OptimizerKind::sgd, true}},
      {"texts, micro, AdamW, batch 4: the vocabulary dominates",
       "micro",
       32,
       30522,
       0,
       {3, 0, 2, 64},
       {4, OptimizerKind::adamw, true}},
      {"texts, tiny, half of the blocks frozen", "tiny", 128, 8192, 0, {6, 3, 0, 0}, sgd},
      {"texts, bert-base, half of depth and width",
       "bert-base",
       128,
       30522,
       0,
       {6, 0, 6, 1536},
       {8, OptimizerKind::sgd, true}},
      {"tiny, full, batch 2, deltas: weights dominate",
       "tiny",
       32,
       3,
       4,
       {6, 0, 0, 0},
       {2, OptimizerKind::sgd, true, true, false}},
      {"tiny, full, batch 2, deltas of masked weights",
       "tiny",
       32,
       3,
       4,
       {6, 0, 0, 0},
       {2, OptimizerKind::sgd, true, true, true}},
      {"micro of one head and one neuron, batch 512, with a hint: exits dominate",
       "micro",
       8,
       1,
       8,
       {6, 0, 1, 1},
       {512, OptimizerKind::sgd, true, false, false, 0, true}},
      {"base, patches of 16, one block", "base", 224, 3, 16, {1, 0, 6, 1536}, {4, OptimizerKind::sgd, true}},
  };
  for (const Case& c : cases) {
    ModelOptions options = model_preset(c.preset);
    if (c.patch == 0) {
      options.max_length = c.image;
      options.vocabulary = c.channels;
    } else {
      options.image_height = options.image_width = c.image;
      options.channels = c.channels;
      options.patch = c.patch;
    }
    options.validate();
    const SegmentTable table(options);
    Assignment a = c.assignment;
    if (a.heads == 0) a.heads = options.heads;
    if (a.neurons == 0) a.neurons = options.feed_forward;
    const MemoryEstimate predicted = estimate_cost(table, a, c.training).memory;
    const auto measured = static_cast<double>(measured_peak(table, a, c.training));
    const double ratio = static_cast<double>(predicted.total()) / measured;
    BOOST_TEST_MESSAGE(
        c.name << ": predicted " << predicted.total() / 1048576.0 << " MiB (weights "
               << predicted.weights / 1048576.0 << ", gradients " << predicted.gradients / 1048576.0
               << ", optimizer " << predicted.optimizer / 1048576.0 << ", activations "
               << predicted.activations / 1048576.0 << ", workspace " << predicted.workspace / 1048576.0
               << "), measured " << measured / 1048576.0 << ", ratio " << ratio);
    BOOST_TEST(ratio > 0.8, c.name << ": " << ratio);
    BOOST_TEST(ratio < 1.2, c.name << ": " << ratio);
  }
}
