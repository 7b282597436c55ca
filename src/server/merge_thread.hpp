#pragma once

#include <spdlog/spdlog.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>

#include "cos2p/server/server_loop.hpp"
#include "cos2p/support/clock.hpp"

namespace cos2p {

/// Evaluates and writes checkpoints while training goes on. A job that comes while one is running is refused:
/// the next round will offer a newer one.
class Background {
 public:
  struct Job {
    Checkpoint snapshot;
    bool evaluate = false, write = false;
  };
  using Done = std::function<void(std::vector<EvaluationRow> rows)>;

  Background(Evaluator& evaluator, std::string directory, Done done)
      : evaluator_(evaluator),
        directory_(std::move(directory)),
        done_(std::move(done)),
        thread_([this] { run(); }) {}
  ~Background() {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      stop_ = true;
    }
    wake_.notify_all();
    thread_.join();
  }
  Background(const Background&) = delete;
  Background& operator=(const Background&) = delete;

  bool idle() const {
    const std::lock_guard<std::mutex> lock(mutex_);
    return job_ == nullptr;
  }
  void start(std::unique_ptr<Job> job) {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      job_ = std::move(job);
    }
    wake_.notify_all();
  }

 private:
  void run() {
    std::unique_lock<std::mutex> lock(mutex_);
    while (true) {
      wake_.wait(lock, [this] { return stop_ || job_ != nullptr; });
      if (job_ == nullptr) return;
      lock.unlock();
      done_(execute(*job_));
      lock.lock();
      job_ = nullptr;
    }
  }

  /// Out of memory, say: the run goes on without.
  std::vector<EvaluationRow> execute(Job& job) const {
    std::vector<EvaluationRow> rows;
    try {
      if (job.evaluate) {
        rows = evaluate_checkpoint(evaluator_, job.snapshot);
        auto& history = job.snapshot.history.evaluations;
        history.insert(history.end(), rows.begin(), rows.end());
      }
      if (job.write) try_write_checkpoint(directory_, job.snapshot);
    } catch (const std::exception& e) {
      spdlog::error("the {} of round {} failed ({}); the run goes on, and the next one is tried",
                    job.evaluate ? "evaluation" : "checkpoint", job.snapshot.state.round, e.what());
    }
    return rows;
  }

  Evaluator& evaluator_;
  const std::string directory_;
  const Done done_;
  mutable std::mutex mutex_;
  std::condition_variable wake_;
  std::unique_ptr<Job> job_;
  bool stop_ = false;
  std::thread thread_;  // last: it starts when everything above stands
};

/// Owns the core: takes messages from a queue, merges, closes rounds, offers snapshots to the background.
class MergeThread {
 public:
  MergeThread(ServerCore& core, Evaluator& evaluator, RoundLog& log, const ServerLoopOptions& options,
              double start_s, std::function<void(const ClientRow&)> reported)
      : core_(core),
        log_(log),
        options_(options),
        start_s_(start_s),
        round_(core.round()),
        finished_(core.finished()),
        background_(evaluator, options.output,
                    [this](std::vector<EvaluationRow> rows) { background_done(std::move(rows)); }) {
    core_.on_reported = [this, reported = std::move(reported)](const ClientRow& row) {
      log_.client(row);
      reported(row);
    };
    core_.on_round_closed = [this](const RoundRow& row) { round_closed(row); };
    core_.on_dropped = [this](const MessageHeader& header, UpdateVerdict verdict, const std::string& reason) {
      dropped(header, verdict, reason);
    };
    core_.on_coverage_changed = [this](const std::vector<std::string>& untrained, bool lost) {
      coverage_changed(untrained, lost);
    };
    thread_ = std::thread([this] { run(); });
  }
  ~MergeThread() {
    stop();
    core_.on_coverage_changed = nullptr;  // the core outlives this thread
  }
  MergeThread(const MergeThread&) = delete;
  MergeThread& operator=(const MergeThread&) = delete;

  double now() const { return monotonic_seconds() - start_s_; }
  int round() const { return round_; }
  bool finished() const { return finished_; }
  bool uncovered() const { return uncovered_; }
  /// What made the thread give up, if anything did.
  std::exception_ptr error() const {
    const std::lock_guard<std::mutex> lock(mutex_);
    return error_;
  }

  void deliver(Message message) {
    enqueue([this, shared = std::make_shared<Message>(std::move(message))] {
      worker_ = shared->worker.value();
      core_.handle(std::move(*shared), now());
    });
  }
  /// Updates of a worker that were whole and could not be merged: no numbers, wrong units, seen before.
  std::int64_t bad_updates(WorkerRank worker) const {
    const std::lock_guard<std::mutex> lock(bad_mutex_);
    const auto found = bad_updates_.find(worker.value());
    return found == bad_updates_.end() ? 0 : found->second;
  }
  void run_on_core(std::function<void()> task) { enqueue(std::move(task)); }
  void memory_pressure() {
    pressure_ = true;
    wake_.notify_all();
  }
  /// Lets the thread finish what is queued and ends it.
  void stop() {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      stop_ = true;
    }
    wake_.notify_all();
    if (thread_.joinable()) thread_.join();
    while (!background_.idle()) std::this_thread::sleep_for(std::chrono::milliseconds(2));
    take_background_results();
  }

 private:
  void enqueue(std::function<void()> task) {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      queue_.push_back(std::move(task));
    }
    wake_.notify_all();
  }

  void run() {
    try {
      while (true) {
        std::function<void()> task;
        {
          std::unique_lock<std::mutex> lock(mutex_);
          wake_.wait_for(lock, std::chrono::milliseconds(50),
                         [this] { return stop_ || pressure_ || !queue_.empty(); });
          if (stop_ && queue_.empty()) return;
          if (!queue_.empty()) {
            task = std::move(queue_.front());
            queue_.pop_front();
          }
        }
        if (finished_) continue;  // the run is over: what still comes is not merged
        if (task) {
          task();
        } else if (pressure_.exchange(false)) {
          core_.fold_largest(now());
        }
        core_.tick(now());
        take_background_results();
      }
    } catch (...) {
      const std::lock_guard<std::mutex> lock(mutex_);
      error_ = std::current_exception();
    }
  }

  void round_closed(const RoundRow& row) {
    log_.round(row);
    round_ = row.round;
    finished_ = core_.finished();
    const auto due = [&](int every, int last) { return every > 0 && row.round / every > last / every; };
    const bool evaluate = due(options_.evaluate_every, last_evaluated_),
               write = due(options_.checkpoint_every, last_written_);
    if (finished_ || !(evaluate || write) || !background_.idle()) return;
    auto job = std::make_unique<Background::Job>();
    job->evaluate = evaluate;
    job->write = write;
    job->snapshot = core_.snapshot(now());
    if (evaluate) last_evaluated_ = row.round;
    if (write) last_written_ = row.round;
    background_.start(std::move(job));
  }

  void dropped(const MessageHeader& header, UpdateVerdict verdict, const std::string& reason) {
    if (verdict != UpdateVerdict::stale) {  // to be slow is no fault
      const std::lock_guard<std::mutex> lock(bad_mutex_);
      ++bad_updates_[worker_];
    }
    constexpr int kLines = 20;  // a broken client must not fill the log
    if (++drop_lines_ > kLines) return;
    spdlog::warn("update of client {} (local round {}) dropped: {} ({}){}", header.client,
                 header.client_round, to_string(verdict), reason,
                 drop_lines_ == kLines ? "; further ones are only counted" : "");
  }

  void coverage_changed(const std::vector<std::string>& untrained, bool lost) {
    uncovered_ = lost;
    if (untrained == untrained_) return;
    untrained_ = untrained;
    if (untrained.empty()) {
      spdlog::info("every segment has a trainer again");
      return;
    }
    spdlog::warn("{} segment{} without a trainer ({}{}): what they hold stays as it is until one is back",
                 untrained.size(), untrained.size() > 1 ? "s are" : " is", untrained.front(),
                 untrained.size() > 1 ? " .. " + untrained.back() : "");
  }

  void background_done(std::vector<EvaluationRow> rows) {
    const std::lock_guard<std::mutex> lock(results_mutex_);
    results_.push_back(std::move(rows));
  }
  void take_background_results() {
    const std::lock_guard<std::mutex> lock(results_mutex_);
    for (const auto& rows : results_) {
      core_.add_evaluation(rows);
      log_.evaluation(rows);
    }
    results_.clear();
  }

  ServerCore& core_;
  RoundLog& log_;
  const ServerLoopOptions& options_;
  const double start_s_;
  std::atomic<int> round_;
  std::atomic<bool> finished_;
  std::atomic<bool> pressure_{false}, uncovered_{false};
  std::vector<std::string> untrained_;  // as the log has it
  int last_evaluated_ = 0, last_written_ = 0;
  int drop_lines_ = 0;
  int worker_ = 0;  ///< whose message is being handled
  mutable std::mutex bad_mutex_;
  std::map<int, std::int64_t> bad_updates_;  ///< by worker
  mutable std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::function<void()>> queue_;
  bool stop_ = false;
  std::exception_ptr error_;
  std::mutex results_mutex_;
  std::vector<std::vector<EvaluationRow>> results_;
  Background background_;
  std::thread thread_;
};

}  // namespace cos2p
