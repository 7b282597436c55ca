#include "cos2p/client/worker_loop.hpp"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <chrono>
#include <thread>

#include "cos2p/support/clock.hpp"
#include "cos2p/support/energy.hpp"

namespace cos2p {
namespace {

constexpr double kPollSeconds =
    0.002;  // how often a waiting worker asks the server: far below a tenth of a core
constexpr double kNoticeSeconds = 0.05;  // how often a training worker does

/// Of a worker that executes no client now.
void stand_by() {
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
}

void nap() {
  std::this_thread::sleep_for(std::chrono::duration<double>(kPollSeconds));
}

class Worker {
 public:
  Worker(WorkerChannel& channel, LocalTrainer& trainer, const WorkerLoopOptions& options)
      : channel_(channel), trainer_(trainer), options_(options) {}

  WorkerEnd run() {
    while (look() && notice_.phase == Notice::Phase::starting) nap();
    std::size_t turn = 0;
    double waiting_s = 0;
    while (!ended() && look()) {
      if (notice_.tasks != tasks_read_) read_tasks();
      const std::size_t task = next_task(turn);
      if (task == tasks_.size()) {
        const ScopedTimer timer(waiting_s);
        tasks_.empty() ? stand_by() : nap();
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

  /// Takes over the clients that the server gives this worker now; those that it had go on where they are,
  /// perhaps with another assignment.
  void read_tasks() {
    std::vector<Task> tasks;
    for (const ClientTask& told : channel_.read_tasks()) {
      const auto had = std::find_if(tasks_.begin(), tasks_.end(),
                                    [&](const Task& task) { return task.task.client == told.client; });
      tasks.push_back(had == tasks_.end() ? Task{told, told.next_round, -1} : *had);
      tasks.back().task.assignment = told.assignment;
    }
    tasks_ = std::move(tasks);
    tasks_read_ = notice_.tasks;
  }

  /// Index of the next client that may start a local round, in turn; tasks_.size() where all must wait for
  /// the server's round.
  std::size_t next_task(std::size_t turn) const {
    for (std::size_t i = 0; i < tasks_.size(); ++i) {
      const std::size_t task = (turn + i) % tasks_.size();
      if (notice_.lockstep == 0 || tasks_[task].started_in != notice_.round) return task;
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

  void execute(std::size_t index, double waiting_s) {
    Task& task = tasks_[index];
    task.started_in = notice_.round;
    Emulation emulation{ClientId(task.task.client), task.next};
    const auto keep_going = [&] { return emulate_steps(emulation) && look_at_times(); };
    const double energy_j = energy_.joules();
    std::optional<LocalRound> round = trainer_.run(channel_, task.task, task.next, notice_, keep_going);
    if (!round || !emulate_rest(emulation, round->report)) return;
    round->started_in = task.started_in;
    round->report.waiting_s += waiting_s;
    round->report.energy_j = energy_.joules() - energy_j;
    if (!push_round(channel_, *round)) {
      look();
      if (!ended_) end(WorkerEnd::server_gone);
      return;
    }
    ++task.next;
  }

  WorkerChannel& channel_;
  LocalTrainer& trainer_;
  const WorkerLoopOptions& options_;
  EnergyMeter energy_;
  Notice notice_;
  double looked_ = 0;
  bool ended_ = false;
  WorkerEnd end_ = WorkerEnd::run_ended;
  struct Task {
    ClientTask task;
    int next = 0;         ///< index of its next local round
    int started_in = -1;  ///< server round in which its last local round began
  };
  std::vector<Task> tasks_;
  int tasks_read_ = 0;  ///< Notice::tasks when they were read; 0 = never
};

}  // namespace

WorkerEnd run_worker(WorkerChannel& channel, LocalTrainer& trainer, const WorkerLoopOptions& options) {
  return Worker(channel, trainer, options).run();
}

}  // namespace cos2p
