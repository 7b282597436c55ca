#pragma once

#include <optional>
#include <vector>

#include "cos2p/client/worker_loop.hpp"
#include "cos2p/support/clock.hpp"
#include "cos2p/support/energy.hpp"

namespace cos2p {

/// What every worker does whatever its loop is: it shows that it lives, hears what the server says, and keeps
/// the list of its clients.
class WorkerLife {
 public:
  WorkerLife(WorkerChannel& channel, const WorkerLoopOptions& options)
      : channel_(channel), options_(options) {}

 protected:
  static constexpr double kPollSeconds =
      0.002;  // how often a waiting worker asks the server: far below a tenth of a core
  static constexpr double kNoticeSeconds = 0.05;  // how often a training worker does

  struct Task {
    ClientTask task;
    int next = 0;         ///< index of its next local round
    int started_in = -1;  ///< server round in which its last local round began
  };

  static void nap();
  bool ended() const { return ended_; }
  bool end(WorkerEnd how);
  /// Tells the server that this worker lives (unless `alive` says that its computing stands still), and reads
  /// what it says. False where that ends the worker.
  bool look(bool alive = true);
  bool look_at_times() { return monotonic_seconds() - looked_ < kNoticeSeconds || look(); }
  bool await_start();
  /// Takes over the clients that the server gives this worker now; those that it had go on where they are,
  /// perhaps with another assignment.
  void read_tasks_if_changed();
  /// Index of the next client that may start a local round, in turn; tasks_.size() where all must wait for
  /// the server's round.
  std::size_t next_task(std::size_t turn) const;
  /// Waits; longer where there is no client at all.
  void wait_for_task() const;
  WorkerEnd finish();

  WorkerChannel& channel_;
  const WorkerLoopOptions& options_;
  EnergyMeter energy_;
  Notice notice_;
  std::vector<Task> tasks_;

 private:
  double looked_ = 0;
  bool ended_ = false;
  WorkerEnd end_ = WorkerEnd::run_ended;
  int tasks_read_ = 0;  ///< Notice::tasks when they were read; 0 = never
};

/// A worker whose transfers run beside its computing (WorkerLoopOptions::overlap).
WorkerEnd run_overlapped_worker(WorkerChannel& channel, LocalTrainer& trainer,
                                const WorkerLoopOptions& options);

}  // namespace cos2p
