#include "cos2p/client/worker_loop.hpp"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <chrono>
#include <thread>

#include "cos2p/support/clock.hpp"

namespace cos2p {
namespace {

constexpr double kPollSeconds =
    0.002;  // how often a waiting worker asks the server: far below a tenth of a core
constexpr double kNoticeSeconds = 0.05;  // how often a training worker does

void nap() {
  std::this_thread::sleep_for(std::chrono::duration<double>(kPollSeconds));
}

class Worker {
 public:
  Worker(WorkerChannel& channel, LocalTrainer& trainer, const WorkerLoopOptions& options)
      : channel_(channel), trainer_(trainer), options_(options) {}

  WorkerEnd run() {
    while (look() && notice_.phase == Notice::Phase::starting) nap();
    if (!ended()) {
      tasks_ = channel_.read_tasks();
      started_in_.assign(tasks_.size(), -1);
      for (ClientTask& task : tasks_) next_.push_back(task.next_round);
    }
    std::size_t turn = 0;
    double waiting_s = 0;
    while (!ended() && look()) {
      const std::size_t task = next_task(turn);
      if (task == tasks_.size()) {
        const ScopedTimer timer(waiting_s);
        nap();
        continue;
      }
      turn = task + 1;
      execute(task, waiting_s);
      waiting_s = 0;
    }
    if (end_ != WorkerEnd::server_gone) channel_.close();
    return end_;
  }

 private:
  bool ended() const { return ended_; }

  /// Tells the server that this worker lives, and reads what it says. False where that ends the worker.
  bool look() {
    channel_.heartbeat();
    notice_ = channel_.read_notice();
    looked_ = monotonic_seconds();
    if (notice_.phase == Notice::Phase::stopping) return end(WorkerEnd::run_ended);
    if (notice_.phase == Notice::Phase::excluded) return end(WorkerEnd::excluded);
    if (channel_.server_silence_s() > options_.server_timeout_s) return end(WorkerEnd::server_gone);
    if (options_.stop_requested && options_.stop_requested()) return end(WorkerEnd::left);
    return true;
  }

  bool end(WorkerEnd how) {
    ended_ = true;
    end_ = how;
    return false;
  }

  /// Index of the next client that may start a local round, in turn; tasks_.size() where all must wait for
  /// the server's round.
  std::size_t next_task(std::size_t turn) const {
    for (std::size_t i = 0; i < tasks_.size(); ++i) {
      const std::size_t task = (turn + i) % tasks_.size();
      if (notice_.lockstep == 0 || started_in_[task] != notice_.round) return task;
    }
    return tasks_.size();
  }

  void execute(std::size_t task, double waiting_s) {
    started_in_[task] = notice_.round;
    const auto keep_going = [this] { return monotonic_seconds() - looked_ < kNoticeSeconds || look(); };
    std::optional<LocalRound> round = trainer_.run(channel_, tasks_[task], next_[task], notice_, keep_going);
    if (!round) return;
    round->report.waiting_s += waiting_s;
    if (!push_round(channel_, *round)) {
      look();
      if (!ended_) end(WorkerEnd::server_gone);
      return;
    }
    ++next_[task];
  }

  WorkerChannel& channel_;
  LocalTrainer& trainer_;
  const WorkerLoopOptions& options_;
  Notice notice_;
  double looked_ = 0;
  bool ended_ = false;
  WorkerEnd end_ = WorkerEnd::run_ended;
  std::vector<ClientTask> tasks_;
  std::vector<int> next_;        ///< per task: index of its next local round
  std::vector<int> started_in_;  ///< per task: server round in which its last local round began
};

}  // namespace

WorkerEnd run_worker(WorkerChannel& channel, LocalTrainer& trainer, const WorkerLoopOptions& options) {
  return Worker(channel, trainer, options).run();
}

}  // namespace cos2p
