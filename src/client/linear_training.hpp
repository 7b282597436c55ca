#pragma once

#include <vector>

#include "cos2p/client/local_trainer.hpp"

namespace cos2p {

/// The local rounds of a linear model: the same steps as those of a Vit (LocalSteps), on plain arrays, with
/// the gradient written out. Nothing is allocated in a step.
class LinearTraining {
 public:
  /// `setup` must outlive it, and its table be that of a linear model.
  explicit LinearTraining(const LocalTrainer::Setup& setup);

  /// The values of the segment "linear": fill them before run(); afterwards they are what was trained.
  Span<float> values() { return values_; }
  /// Takes `report.steps` optimizer steps and fills in samples, loss, accuracy and peak memory. False where
  /// `keep_going` ended it.
  bool run(int client, int index, const Notice& notice, const LocalTrainer::KeepGoing& keep_going,
           RoundReport& report);

 private:
  const LocalTrainer::Setup& setup_;
  std::vector<float> values_, gradient_;
  std::vector<float> input_, logits_;  ///< (B, P) and (B, K)
  std::vector<std::int64_t> indices_, labels_;
};

}  // namespace cos2p
