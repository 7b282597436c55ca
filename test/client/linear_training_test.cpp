// Local rounds of the linear model: the steps of torch::optim on the same batches, in the memory that is
// planned, without allocating.
#include "linear_training.hpp"

#include <torch/torch.h>

#include <atomic>
#include <boost/test/unit_test.hpp>
#include <cstdlib>
#include <new>

#include "cos2p/method/objective.hpp"
#include "cos2p/model/batch_tensors.hpp"
#include "cos2p/model/initial_values.hpp"
#include "cos2p/plan/submodel_plan.hpp"
#include "local_steps.hpp"
#include "sample_stream.hpp"

namespace {
std::atomic<long> allocations{0};
}  // namespace

void* operator new(std::size_t bytes) {
  ++allocations;
  if (void* memory = std::malloc(bytes > 0 ? bytes : 1)) return memory;
  throw std::bad_alloc();
}
void operator delete(void* memory) noexcept {
  std::free(memory);
}
void operator delete(void* memory, std::size_t) noexcept {
  std::free(memory);
}

using namespace cos2p;

namespace {

constexpr int kImages = 64, kClasses = 4;

ImageSet images() {
  ImageSet set;
  set.classes = kClasses;
  set.height = 9;
  set.width = 7;
  set.channels = 3;
  Rng rng(3);
  for (int i = 0; i < kImages; ++i) {
    set.labels.push_back(static_cast<std::int32_t>(rng.below(kClasses)));
    for (std::int64_t p = 0; p < set.image_bytes(); ++p)
      set.pixels.push_back(static_cast<std::uint8_t>(rng.below(256)));
  }
  return set;
}

/// A client of half of the images.
struct Fixture {
  explicit Fixture(AugmentOptions augment = {})
      : samples(images(), measure_normalization(images()), augment), table(options()) {
    partition.resize(1);
    for (std::int64_t i = 0; i < kImages / 2 - 1; ++i) partition[0].push_back(2 * i);
    setup.table = &table;
    setup.samples = &samples;
    setup.partition = &partition;
    setup.local.batch_size = 5;
    setup.seed = 11;
    notice.rounds = 10;
  }
  static ModelOptions options() {
    ModelOptions model = model_preset("linear");
    model.image_height = 9;
    model.image_width = 7;
    model.channels = 3;
    model.classes = kClasses;
    model.validate();
    return model;
  }
  std::vector<float> initial() const { return initial_values(*table.begin(), 1); }
  RoundReport run(LinearTraining& training, int index, int steps) const {
    RoundReport report;
    report.steps = steps;
    const std::vector<float> values = initial();
    std::copy(values.begin(), values.end(), training.values().begin());
    BOOST_TEST(training.run(
        0, index, notice, [] { return true; }, report));
    return report;
  }
  ImageSamples samples;
  SegmentTable table;
  Partition partition;
  LocalTrainer::Setup setup;
  Notice notice;
};

/// The same local round with autograd and torch::optim.
std::vector<float> reference(const Fixture& f, int index, int steps) {
  const LocalTrainingOptions& local = f.setup.local;
  std::vector<float> values = f.initial();
  const std::int64_t inputs = f.table.options().image_values();
  torch::Tensor flat = torch::from_blob(values.data(), {f.table.parameters()}).clone();
  torch::Tensor weight = flat.narrow(0, 0, kClasses * inputs).view({kClasses, inputs}).clone();
  torch::Tensor bias = flat.narrow(0, kClasses * inputs, kClasses).clone();
  const std::vector<torch::Tensor> parameters{weight.set_requires_grad(true), bias.set_requires_grad(true)};
  std::unique_ptr<torch::optim::Optimizer> optimizer;
  if (local.optimizer == OptimizerKind::adamw) {
    optimizer = std::make_unique<torch::optim::AdamW>(
        parameters, torch::optim::AdamWOptions(local.learning_rate).weight_decay(local.weight_decay));
  } else {
    optimizer = std::make_unique<torch::optim::SGD>(parameters, torch::optim::SGDOptions(local.learning_rate)
                                                                    .momentum(local.momentum)
                                                                    .weight_decay(local.weight_decay));
  }
  Rng rng(f.setup.seed, {kDataOrder, 0, static_cast<std::uint64_t>(index)});
  SampleStream stream(f.partition[0], rng);
  const ClassView view =
      class_view(local.objective, class_counts(f.samples.set(), f.partition[0]), torch::kCPU);
  std::vector<std::int64_t> indices;
  for (int step = 0; step < steps; ++step) {
    stream.take(local.batch_size, indices);
    const BatchTensors batch = batch_tensors(f.samples, indices, &rng, torch::kCPU);
    optimizer->zero_grad();
    objective({at::linear(batch.input.flatten(1), weight, bias)}, batch.labels, view, local.objective, 0)
        .loss.backward();
    if (local.clip_norm > 0) torch::nn::utils::clip_grad_norm_(parameters, local.clip_norm);
    optimizer->step();
  }
  const torch::Tensor all = torch::cat({weight.detach().flatten(), bias.detach()}).contiguous();
  return {all.data_ptr<float>(), all.data_ptr<float>() + all.numel()};
}

}  // namespace

BOOST_AUTO_TEST_CASE(steps_equal_those_of_torch) {
  constexpr int kSteps = 20;  // three passes, of which the last batch is shorter
  for (const OptimizerKind kind : {OptimizerKind::sgd, OptimizerKind::adamw}) {
    for (const bool special : {false, true}) {
      AugmentOptions augment;
      augment.crop_padding = special ? 1 : 0;
      augment.flip = special;
      Fixture f(augment);
      f.setup.local.optimizer = kind;
      f.setup.local.learning_rate = 0.01;
      f.setup.local.momentum = special ? 0.9 : 0;
      f.setup.local.clip_norm = special ? 1 : 0;
      f.setup.local.weight_decay = special ? 0.1 : 0;
      f.setup.local.objective.logit_adjustment = special ? 1 : 0;
      LinearTraining training(f.setup);
      const RoundReport report = f.run(training, 2, kSteps);
      BOOST_TEST(report.samples == 2 * (kImages / 2 - 1) + 6 * 5);
      BOOST_TEST((report.accuracy > 0 && report.accuracy <= 1 && report.loss > 0));
      const std::vector<float> expected = reference(f, 2, kSteps);
      double error = 0, size = 0;
      for (std::size_t i = 0; i < expected.size(); ++i) {
        const auto difference = static_cast<double>(training.values()[i] - expected[i]);
        error += difference * difference;
        size += static_cast<double>(expected[i]) * static_cast<double>(expected[i]);
      }
      BOOST_TEST(std::sqrt(error / size) < 1e-4);
    }
  }
}

BOOST_AUTO_TEST_CASE(a_local_round_needs_the_memory_that_is_planned) {
  for (const OptimizerKind kind : {OptimizerKind::sgd, OptimizerKind::adamw}) {
    for (const double momentum : {0.0, 0.9}) {
      Fixture f;
      f.setup.local.optimizer = kind;
      f.setup.local.momentum = momentum;
      LinearTraining training(f.setup);
      const TrainingShape shape{f.setup.local.batch_size, kind, momentum > 0};
      const PlanCost cost = estimate_cost(f.table, full_assignment(f.table.options()), shape);
      BOOST_TEST(f.run(training, 0, 3).peak_memory == cost.memory.total());
    }
  }
}

BOOST_AUTO_TEST_CASE(a_step_allocates_nothing) {
  Fixture f;
  LinearTraining training(f.setup);
  const auto allocated = [&](int steps) {
    const long before = allocations;
    f.run(training, 0, steps);
    return allocations - before;
  };
  allocated(10);  // what is made once
  BOOST_TEST(allocated(1000) == allocated(10));
}

BOOST_AUTO_TEST_CASE(a_round_ends_where_it_is_told) {
  Fixture f;
  LinearTraining training(f.setup);
  RoundReport report;
  report.steps = 5;
  int left = 3;
  BOOST_TEST(!training.run(
      0, 0, f.notice, [&] { return --left > 0; }, report));
  BOOST_TEST(report.samples == 10);
}
