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

  bool look_at_times() { return monotonic_seconds() - looked_ < kNoticeSeconds || look(); }

  /// A local round on an emulated device.
  struct Emulation {
    ClientId client;
    int index = 0;        ///< of the local round
    double begun_s = -1;  ///< when its first step began
    int steps = 0;        ///< begun so far
  };

  bool sleep_until(double time_s) {
    for (double left = time_s - monotonic_seconds(); left > 0; left = time_s - monotonic_seconds()) {
      if (!look_at_times()) return false;
      std::this_thread::sleep_for(std::chrono::duration<double>(std::min(left, kNoticeSeconds)));
    }
    return true;
  }

  /// Before each step: until the device would have done the steps before it.
  bool emulate_steps(Emulation& emulation) {
    if (!options_.emulated_compute_s) return true;
    if (emulation.begun_s < 0) emulation.begun_s = monotonic_seconds();
    return sleep_until(emulation.begun_s +
                       options_.emulated_compute_s(emulation.client, emulation.index, emulation.steps++));
  }

  /// After the last step: until the device would have done it, and moved its bytes.
  bool emulate_rest(const Emulation& emulation, RoundReport& report) {
    if (!options_.emulated_compute_s) return true;
    const double compute_s = options_.emulated_compute_s(emulation.client, emulation.index, emulation.steps);
    const double transfer_s =
        std::max(report.transfer_s, options_.emulated_transfer_s(emulation.client, emulation.index));
    if (!sleep_until(emulation.begun_s + compute_s + transfer_s - report.transfer_s)) return false;
    report.compute_s = std::max(report.compute_s, compute_s);
    report.transfer_s = transfer_s;
    return true;
  }

  void execute(std::size_t task, double waiting_s) {
    started_in_[task] = notice_.round;
    Emulation emulation{ClientId(tasks_[task].client), next_[task]};
    const auto keep_going = [&] { return emulate_steps(emulation) && look_at_times(); };
    std::optional<LocalRound> round = trainer_.run(channel_, tasks_[task], next_[task], notice_, keep_going);
    if (!round || !emulate_rest(emulation, round->report)) return;
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
