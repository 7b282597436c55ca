#include "cos2p/client/worker_loop.hpp"

#include <algorithm>
#include <chrono>
#include <thread>

#include "worker_life.hpp"

namespace cos2p {
namespace {

class Worker : private WorkerLife {
 public:
  Worker(WorkerChannel& channel, LocalTrainer& trainer, const WorkerLoopOptions& options)
      : WorkerLife(channel, options), trainer_(trainer) {}

  WorkerEnd run() {
    await_start();
    std::size_t turn = 0;
    double waiting_s = 0;
    while (!ended() && look()) {
      read_tasks_if_changed();
      const std::size_t task = next_task(turn);
      if (task == tasks_.size()) {
        const ScopedTimer timer(waiting_s);
        wait_for_task();
        continue;
      }
      turn = task + 1;
      execute(task, waiting_s);
      waiting_s = 0;
    }
    return finish();
  }

 private:
  /// A local round on an emulated device.
  struct Emulation {
    ClientId client;
    Assignment assignment;
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
    return sleep_until(emulation.begun_s + options_.emulated_compute_s(emulation.client, emulation.assignment,
                                                                       emulation.index, emulation.steps++));
  }

  /// After the last step: until the device would have done it, and moved its bytes.
  bool emulate_rest(const Emulation& emulation, RoundReport& report) {
    if (!options_.emulated_compute_s) return true;
    const double compute_s =
        options_.emulated_compute_s(emulation.client, emulation.assignment, emulation.index, emulation.steps);
    const double transfer_s =
        std::max(report.transfer_s,
                 options_.emulated_transfer_s(emulation.client, emulation.assignment, emulation.index));
    if (!sleep_until(emulation.begun_s + compute_s + transfer_s - report.transfer_s)) return false;
    report.compute_s = std::max(report.compute_s, compute_s);
    report.transfer_s = transfer_s;
    return true;
  }

  void execute(std::size_t index, double waiting_s) {
    Task& task = tasks_[index];
    task.started_in = notice_.round;
    Emulation emulation{ClientId(task.task.client), task.task.assignment, task.next};
    const auto keep_going = [&] { return emulate_steps(emulation) && look_at_times(); };
    const double energy_j = energy_.joules();
    std::optional<LocalRound> round = trainer_.run(channel_, task.task, task.next, notice_, keep_going);
    if (!round || !emulate_rest(emulation, round->report)) return;
    round->started_in = task.started_in;
    round->report.waiting_s += waiting_s;
    round->report.energy_j = energy_.joules() - energy_j;
    if (!push_round(channel_, *round)) {
      look();
      if (!ended()) end(WorkerEnd::server_gone);
      return;
    }
    ++task.next;
  }

  LocalTrainer& trainer_;
};

}  // namespace

WorkerEnd run_worker(WorkerChannel& channel, LocalTrainer& trainer, const WorkerLoopOptions& options) {
  if (options.overlap) return run_overlapped_worker(channel, trainer, options);
  return Worker(channel, trainer, options).run();
}

}  // namespace cos2p
