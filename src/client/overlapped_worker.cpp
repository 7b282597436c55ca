#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <exception>
#include <map>
#include <mutex>
#include <optional>
#include <thread>

#include "cos2p/support/narrow.hpp"
#include "model_mirror.hpp"
#include "worker_life.hpp"

namespace cos2p {
namespace {

/// The thread that trains. It never touches the channel: only the thread that started MPI may.
class Computer {
 public:
  struct Job {
    ClientTask task;
    int index = 0;
    Notice notice;
  };
  struct Outcome {
    std::optional<LocalRound> round;  ///< with values of its own
    std::exception_ptr error;
    double finished_s = 0;
  };

  Computer(LocalTrainer& trainer, ModelReader& model, const WorkerLoopOptions& options)
      : trainer_(trainer), model_(model), options_(options), thread_([this] { run(); }) {}
  ~Computer() {
    stopping_ = true;
    { const std::lock_guard<std::mutex> lock(mutex_); }
    wake_.notify_all();
    thread_.join();
  }
  Computer(const Computer&) = delete;
  Computer& operator=(const Computer&) = delete;

  void start(const Job& job) {
    begun_s_ = monotonic_seconds();
    busy_ = true;
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      job_ = job;
    }
    wake_.notify_all();
  }
  /// Whether a job was started whose outcome was not taken.
  bool busy() const { return busy_; }
  double begun_s() const { return begun_s_; }
  std::optional<Outcome> take() {
    const std::lock_guard<std::mutex> lock(mutex_);
    std::optional<Outcome> outcome;
    outcome.swap(outcome_);
    if (outcome) busy_ = false;
    return outcome;
  }

 private:
  void run() {
    std::unique_lock<std::mutex> lock(mutex_);
    while (true) {
      wake_.wait(lock, [this] { return stopping_ || job_; });
      if (stopping_) return;
      const Job job = *job_;
      job_.reset();
      lock.unlock();
      Outcome outcome = compute(job);
      lock.lock();
      outcome_ = std::move(outcome);
    }
  }

  Outcome compute(const Job& job) {
    Outcome outcome;
    const ClientId client(job.task.client);
    double first_step_s = -1;
    int steps = 0;
    // An emulated device takes so long until it begins its next step.
    const auto emulate = [&] {
      model_.heartbeat();
      if (!options_.emulated_compute_s) return !stopping_;
      if (first_step_s < 0) first_step_s = monotonic_seconds();
      return sleep_until(first_step_s +
                         options_.emulated_compute_s(client, job.task.assignment, job.index, steps++));
    };
    try {
      outcome.round = trainer_.run(model_, job.task, job.index, job.notice, emulate);
      if (outcome.round && !emulate()) outcome.round.reset();
      if (outcome.round) {
        const ScopedTimer timer(outcome.round->report.compute_s);
        outcome.round->own_values();  // the next round changes the borrowed ones
      }
      if (outcome.round && options_.emulated_compute_s) {
        double& compute_s = outcome.round->report.compute_s;
        compute_s = std::max(compute_s,
                             options_.emulated_compute_s(client, job.task.assignment, job.index, steps - 1));
      }
    } catch (...) {
      outcome.error = std::current_exception();
    }
    outcome.finished_s = monotonic_seconds();
    return outcome;
  }

  bool sleep_until(double time_s) {
    for (double left = time_s - monotonic_seconds(); left > 0 && !stopping_;
         left = time_s - monotonic_seconds()) {
      model_.heartbeat();
      std::this_thread::sleep_for(std::chrono::duration<double>(std::min(left, 0.05)));
    }
    return !stopping_;
  }

  LocalTrainer& trainer_;
  ModelReader& model_;
  const WorkerLoopOptions& options_;
  std::atomic<bool> stopping_{false};
  bool busy_ = false;  // these two are the other thread's alone
  double begun_s_ = 0;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::optional<Job> job_;
  std::optional<Outcome> outcome_;
  std::thread thread_;  // last: it starts when everything above stands
};

/// The thread that transfers: while a round is computed it pushes the one before, and pulls for the next one
/// so late that this is just done in time, because what is pulled early is old when it is used.
class OverlappedWorker : private WorkerLife {
 public:
  OverlappedWorker(WorkerChannel& channel, LocalTrainer& trainer, const WorkerLoopOptions& options)
      : WorkerLife(channel, options),
        table_(trainer.table()),
        mirror_(table_),
        computer_(trainer, mirror_, options) {}

  WorkerEnd run() {
    await_start();
    idle_since_s_ = monotonic_seconds();
    energy_from_j_ = energy_.joules();
    while (!ended() && look(computes_or_waits())) {
      read_tasks_if_changed();
      std::optional<Computer::Outcome> outcome = computer_.take();
      if (outcome && outcome->error) std::rethrow_exception(outcome->error);
      if (outcome) idle_since_s_ = outcome->finished_s;
      std::optional<LocalRound> round;
      if (outcome && outcome->round) round = taken(std::move(*outcome->round));
      if (!computer_.busy() && !begin_next()) wait_for_task();
      if (round && !ended()) push(*round);
      if (computer_.busy() && !round) pull_when_due();
    }
    return finish();
  }

 private:
  /// Of the round that is being computed.
  struct Begun {
    int client = -1;
    int started_in = 0;
    double pull_s = 0, waiting_s = 0;
    std::int64_t bytes_pulled = 0;
  };

  /// This thread would show that the worker lives while the other one hangs in a step.
  bool computes_or_waits() {
    const std::int64_t before = heartbeats_;
    heartbeats_ = mirror_.heartbeats();
    return !computer_.busy() || heartbeats_ != before;
  }

  LocalRound taken(LocalRound round) {
    RoundReport& report = round.report;
    round.started_in = begun_.started_in;
    report.compute_s += report.transfer_s;  // copies within this process
    report.transfer_s = begun_.pull_s;
    report.waiting_s += begun_.waiting_s;
    report.bytes_pulled = begun_.bytes_pulled;
    const double energy_j = energy_.joules();
    report.energy_j = energy_j - energy_from_j_;
    energy_from_j_ = energy_j;
    report.peak_memory += mirror_.bytes() + mirror_.largest_bytes();
    for (const LocalUpdate& update : round.updates)
      report.peak_memory += narrow<std::int64_t>(update.owned.size());
    last_compute_s_[round.client.value()] = idle_since_s_ - computer_.begun_s();
    for (Task& task : tasks_) {
      if (task.task.client == round.client.value()) ++task.next;
    }
    return round;
  }

  /// False where no client may start.
  bool begin_next() {
    const std::size_t index = next_task(turn_);
    if (index == tasks_.size()) return false;
    Task& task = tasks_[index];
    const std::uint16_t tasks = notice_.tasks;
    if (!is_pulled(task) && !pull(task)) return true;
    if (notice_.tasks != tasks) return true;  // what it is to train has changed meanwhile
    int blocks = 0;
    for (const Task& each : tasks_) blocks = std::max(blocks, each.task.assignment.kept_blocks);
    mirror_.keep_blocks(blocks);  // a plan before may have had more
    turn_ = index + 1;
    task.started_in = notice_.round;
    begun_ = {task.task.client, notice_.round, pull_s_, monotonic_seconds() - idle_since_s_,
              mirror_.bytes_pulled() - pulled_before_};
    pulled_before_ = mirror_.bytes_pulled();
    pull_s_ = 0;
    pulled_for_.reset();
    computer_.start({task.task, task.next, notice_});
    return true;
  }

  /// Also for what the client is to train now: its plan may have changed since.
  bool is_pulled(const Task& task) const {
    return pulled_for_ && pulled_for_->client == task.task.client &&
           pulled_for_->assignment == task.task.assignment;
  }

  bool pull(const Task& task) {
    std::vector<SegmentId> read;
    for (const Segment& segment : table_) {
      if (segment.block < task.task.assignment.kept_blocks) read.push_back(segment.id);
    }
    const double begun_s = monotonic_seconds();
    const std::int64_t pulled_before = mirror_.bytes_pulled();
    if (!mirror_.refresh(channel_, read, [this] { return look_at_times(); })) return false;
    const double seconds = monotonic_seconds() - begun_s;
    const std::int64_t bytes = mirror_.bytes_pulled() - pulled_before;
    // Of all that is held: how much of it will be newer when the next pull begins cannot be known.
    if (bytes > 0)
      usual_pull_s_ = seconds * static_cast<double>(mirror_.bytes()) / static_cast<double>(bytes);
    pull_s_ += seconds;
    pulled_for_ = task.task;
    return true;
  }

  void pull_when_due() {
    constexpr double kReserve = 1.5;
    const std::size_t next = next_task(turn_);
    if (next == tasks_.size() || is_pulled(tasks_[next])) return nap();
    const auto usual = last_compute_s_.find(begun_.client);
    if (usual == last_compute_s_.end()) return nap();  // in its first round: not known when it will end
    const double left_s = usual->second - (monotonic_seconds() - computer_.begun_s());
    if (left_s > kReserve * usual_pull_s_) return nap();
    pull(tasks_[next]);
  }

  void push(LocalRound& round) {
    if (options_.emulated_transfer_s) {  // what such a device would take to pull and push
      double& transfer_s = round.report.transfer_s;
      const double emulated_s = options_.emulated_transfer_s(round.client, round.assignment, round.index);
      const double until = monotonic_seconds() + emulated_s - transfer_s;
      while (monotonic_seconds() < until && look_at_times()) nap();
      transfer_s = std::max(transfer_s, emulated_s);
    }
    if (ended()) return;
    if (!push_round(channel_, round, PushTime::hidden)) {
      look();
      if (!ended()) end(WorkerEnd::server_gone);
    }
  }

  const SegmentTable& table_;
  ModelMirror mirror_;
  std::size_t turn_ = 0;
  std::optional<ClientTask> pulled_for_;  ///< for whose next round the mirror was brought up to date
  double pull_s_ = 0;                     ///< since the last round began
  std::int64_t pulled_before_ = 0;
  std::int64_t heartbeats_ = 0;  ///< of the thread that trains, as last seen
  double usual_pull_s_ = 0, idle_since_s_ = 0, energy_from_j_ = 0;
  std::map<int, double> last_compute_s_;  ///< by client
  Begun begun_;
  Computer computer_;  // last: its thread reads the mirror
};

}  // namespace

WorkerEnd run_overlapped_worker(WorkerChannel& channel, LocalTrainer& trainer,
                                const WorkerLoopOptions& options) {
  return OverlappedWorker(channel, trainer, options).run();
}

}  // namespace cos2p
