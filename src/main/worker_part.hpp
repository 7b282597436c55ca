#pragma once

#include <memory>

#include "cos2p/client/worker_loop.hpp"
#include "experiment.hpp"

namespace cos2p {

/// What a worker is, whichever channel it has: the trainer of its clients, and its loop.
class WorkerPart {
 public:
  /// Of an experiment that outlives it. `local_rank`: place among the `local_ranks` workers of this host,
  /// which chooses the GPU; they share its free memory.
  WorkerPart(const Experiment& experiment, int local_rank, int local_ranks);
  WorkerEnd run(WorkerChannel& channel);

 private:
  LocalTrainer trainer_;
  WorkerLoopOptions options_;
};

}  // namespace cos2p
