#pragma once

#include <memory>
#include <vector>

#include "cos2p/client/local_trainer.hpp"
#include "experiment.hpp"

namespace cos2p {

/// Computes local rounds on several threads, each round by one thread alone (the program must have
/// chosen one compute thread), so that its bits do not depend on their number. A client always belongs to the
/// same thread, whose LocalTrainer knows what the client keeps between its rounds. Called from one thread,
/// the one that changes the store.
class RoundExecutors {
 public:
  /// `store` and `experiment` must outlive it.
  RoundExecutors(const Experiment& experiment, ModelStore& store, int threads);
  ~RoundExecutors();

  /// Begins a local round. It reads the store later: call wait_until_pulled() before you change the store.
  void start(const ClientTask& task, int index, const Notice& notice);
  /// Waits until every round that was begun has read the model.
  void wait_until_pulled();
  /// Waits for the client's round. Nothing where the run was asked to stop before it was finished. Throws
  /// what stopped the computation.
  std::optional<LocalRound> take(ClientId client);

  /// Optimizer steps of the client's local rounds.
  int steps(ClientId client) const;
  /// Adds the units that no delivered update carries; not while a round is being computed.
  void save_units(Checkpoint& checkpoint) const;
  void restore_units(const Checkpoint& checkpoint);
  /// Those of a round that was computed and not delivered, which the checkpoint's clients do not know yet.
  void restore_units(const LocalRound& round);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace cos2p
