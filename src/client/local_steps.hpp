#pragma once

#include <map>

#include "cos2p/client/local_trainer.hpp"
#include "cos2p/model/vit.hpp"

namespace cos2p {

/// How many of the samples there are of each class.
std::vector<std::int64_t> class_counts(const LabelledSet& set, const std::vector<std::int64_t>& samples);

/// Samples at a time of a client's batch; 0 = all of it.
/// Samples at a time; 0 = the whole batch.
int micro_batch_of(const LocalTrainer::Setup& setup, const ClientTask& task);

/// What one local round's optimizer steps work with.
struct LocalSteps {
  const LocalTrainer::Setup& setup;
  const Vit& model;
  torch::Device device;
  const ClientTask& task;
  int index = 0;  ///< of the local round: names its random stream
  const Notice& notice;

  /// Takes `report.steps` optimizer steps and fills in samples, loss and accuracy. False where `keep_going`
  /// ended it. A new optimizer each time; no gradients are left behind.
  bool run(const LocalTrainer::KeepGoing& keep_going, RoundReport& report) const;
};

}  // namespace cos2p
