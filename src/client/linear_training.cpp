#include "linear_training.hpp"

#include <algorithm>

#include "cos2p/method/objective.hpp"
#include "cos2p/model/linear_model.hpp"
#include "cos2p/support/narrow.hpp"
#include "local_optimizer.hpp"
#include "local_steps.hpp"
#include "sample_stream.hpp"

namespace cos2p {

LinearTraining::LinearTraining(const LocalTrainer::Setup& setup) : setup_(setup) {
  const ModelOptions& model = setup.table->options();
  COS2P_ASSERT(model.linear() && setup.samples->element() == Samples::Element::float32);
  const auto parameters = static_cast<std::size_t>(setup.table->parameters());
  const auto batch = static_cast<std::size_t>(setup.local.batch_size);
  values_.resize(parameters);
  gradient_.resize(parameters);
  input_.resize(batch * static_cast<std::size_t>(model.image_values()));
  logits_.resize(batch * static_cast<std::size_t>(model.classes));
  labels_.resize(batch);
  indices_.reserve(batch);
}

bool LinearTraining::run(int client, int index, const Notice& notice,
                         const LocalTrainer::KeepGoing& keep_going, RoundReport& report) {
  const LocalTrainingOptions& local = setup_.local;
  const ModelOptions& model = setup_.table->options();
  const auto& samples = setup_.partition->at(static_cast<std::size_t>(client));
  Rng rng(setup_.seed, {kDataOrder, static_cast<std::uint64_t>(client), static_cast<std::uint64_t>(index)});
  SampleStream stream(samples, rng);
  const auto parameters = narrow<std::int64_t>(values_.size());
  FlatOptimizer optimizer(local, learning_rate(local, notice.round, notice.rounds), parameters);
  // One exit: neither its weight among others nor distillation changes the loss.
  const ClassView view =
      class_view(local.objective, class_counts(setup_.samples->set(), samples), torch::kCPU);
  LinearBatch batch;
  batch.input = input_.data();
  batch.labels = labels_.data();
  batch.values = model.image_values();
  batch.classes = model.classes;
  if (view.adjustment.defined()) batch.adjustment = view.adjustment.data_ptr<float>();
  if (view.absent.defined()) batch.absent = view.absent.data_ptr<bool>();
  double loss_sum = 0;
  std::int64_t correct = 0;
  for (int step = 0; step < report.steps; ++step) {
    if (!keep_going()) return false;
    stream.take(local.batch_size, indices_);
    const std::size_t count = indices_.size();
    setup_.samples->fill(indices_, &rng,
                         {reinterpret_cast<std::byte*>(input_.data()),
                          count * static_cast<std::size_t>(batch.values) * sizeof(float)});
    setup_.samples->fill_labels(indices_, {labels_.data(), count});
    batch.count = narrow<std::int64_t>(count);
    const LinearLoss loss = linear_gradient(batch, values_.data(), logits_.data(), gradient_.data());
    const FlatOptimizer::Array all{values_.data(), gradient_.data(), parameters};
    optimizer.step({&all, 1});
    loss_sum += loss.cross_entropy * static_cast<double>(count);
    correct += loss.correct;
    report.samples += batch.count;
  }
  report.loss = loss_sum / static_cast<double>(report.samples);
  report.accuracy = static_cast<double>(correct) / static_cast<double>(report.samples);
  const std::size_t floats = values_.size() + gradient_.size() + input_.size() + logits_.size();
  report.peak_memory = narrow<std::int64_t>(floats * sizeof(float)) + optimizer.bytes();
  return true;
}

}  // namespace cos2p
