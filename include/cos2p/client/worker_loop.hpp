#pragma once

#include <functional>
#include <string>

#include "cos2p/client/local_trainer.hpp"

namespace cos2p {

struct WorkerLoopOptions {
  double server_timeout_s = 60;  ///< the server counts as gone when its heartbeat stands still for so long
  /// Push the round before, and pull for the next one, while a round is computed; not in lockstep.
  bool overlap = false;
  std::function<bool()> stop_requested;  ///< SIGTERM to this worker: leave in order
  /// Seconds that the optimizer steps and the transfers of a client's local round with an assignment take at
  /// least: a slower device is emulated by sleeping. Empty: none is. The threads of --overlap call both.
  std::function<double(ClientId, const Assignment&, int index, int steps)> emulated_compute_s;
  std::function<double(ClientId, const Assignment&, int index)> emulated_transfer_s;
};

/// How a worker's run ended.
enum class WorkerEnd {
  run_ended,  ///< the server said that the run is over
  left,       ///< this worker was asked to leave
  excluded,   ///< the server put it out
  server_gone,
};

/// A worker's whole life: waits for its tasks, executes its clients in turn (in lockstep: each once per
/// server round), pushes, until the server stops. Never waits for another worker.
WorkerEnd run_worker(WorkerChannel& channel, LocalTrainer& trainer, const WorkerLoopOptions& options);

}  // namespace cos2p
