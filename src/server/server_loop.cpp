#include "cos2p/server/server_loop.hpp"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <map>
#include <mutex>
#include <thread>

#include "cos2p/support/clock.hpp"
#include "cos2p/support/error.hpp"
#include "membership.hpp"

namespace cos2p {
namespace {

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
      std::vector<EvaluationRow> rows;
      if (job_->evaluate) {
        rows = evaluate_checkpoint(evaluator_, job_->snapshot);
        auto& history = job_->snapshot.history.evaluations;
        history.insert(history.end(), rows.begin(), rows.end());
      }
      if (job_->write) try_write_checkpoint(directory_, job_->snapshot);
      done_(std::move(rows));
      lock.lock();
      job_ = nullptr;
    }
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
              double start_s)
      : core_(core),
        log_(log),
        options_(options),
        start_s_(start_s),
        round_(core.round()),
        finished_(core.finished()),
        logged_clients_(core.history().clients.size()),
        background_(evaluator, options.output,
                    [this](std::vector<EvaluationRow> rows) { background_done(std::move(rows)); }) {
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
      core_.handle(std::move(*shared), now());
    });
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
          core_.fold_largest();
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
    const auto& clients = core_.history().clients;
    for (; logged_clients_ < clients.size(); ++logged_clients_) log_.client(clients[logged_clients_]);
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
    constexpr int kLines = 20;  // a broken client must not fill the log
    if (++drop_lines_ > kLines) return;
    spdlog::warn("update of client {} (local round {}) dropped: {} ({}){}", header.client,
                 header.client_round, to_string(verdict), reason,
                 drop_lines_ == kLines ? "; further ones are only counted" : "");
  }

  void coverage_changed(const std::vector<std::string>& untrained, bool lost) {
    uncovered_ = lost;
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
  std::size_t logged_clients_;
  int last_evaluated_ = 0, last_written_ = 0;
  int drop_lines_ = 0;
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

/// Gives memory to arriving messages and passes them to the merge thread.
class Sink : public MessageSink {
 public:
  Sink(ServerCore& core, StagingPool& pool, MergeThread& merger)
      : core_(core), pool_(pool), merger_(merger) {}
  void discard_everything() { discard_ = true; }

  Verdict begin(WorkerRank worker, const MessageHeader& header, Buffer& body) override {
    std::string reason;
    if (discard_) return Verdict::reject;
    if (core_.check_shape(header, reason) != UpdateVerdict::accepted) {
      spdlog::warn("worker {} sent a message that is not taken ({})", worker.value(), reason);
      return Verdict::reject;
    }
    std::optional<Buffer> buffer = pool_.acquire(static_cast<std::size_t>(header.body_bytes));
    if (!buffer) {
      merger_.memory_pressure();
      return Verdict::later;
    }
    body = std::move(*buffer);
    in_range_[worker.value()] = true;
    return Verdict::accept;
  }
  void inspect(WorkerRank worker, const MessageHeader& header, std::int64_t offset,
               Span<const std::byte> part) override {
    if (header.kind != MessageKind::segment_update) return;
    const std::int64_t bitmap =
        std::min<std::int64_t>(std::max<std::int64_t>(values_offset(header.bitmap_bytes) - offset, 0),
                               static_cast<std::int64_t>(part.size()));
    const auto* values = reinterpret_cast<const float*>(part.data() + bitmap);
    bool& in_range = in_range_[worker.value()];
    in_range = in_range &&
               values_in_range({values, (part.size() - static_cast<std::size_t>(bitmap)) / sizeof(float)});
  }
  void deliver(Message message) override {
    message.values_in_range = in_range_[message.worker.value()];
    merger_.deliver(std::move(message));
  }

 private:
  ServerCore& core_;
  StagingPool& pool_;
  MergeThread& merger_;
  std::map<int, bool> in_range_;  ///< by worker: all values of its open message so far
  bool discard_ = false;
};

/// One log line for each change.
void tell(const Membership::Change& change, WorkerRank worker, int alive) {
  switch (change.state) {
    case MemberState::joining:
    case MemberState::active:
      if (change.reason != "heard")
        spdlog::warn("worker {} is back ({}) and taken in again", worker.value(), change.reason);
      break;
    case MemberState::suspect:
      spdlog::warn("worker {} is suspect ({}): nobody waits for it until it is heard again", worker.value(),
                   change.reason);
      break;
    case MemberState::gone:
      spdlog::warn("worker {} is gone ({}); the run goes on with {}", worker.value(), change.reason, alive);
      break;
    case MemberState::left:
      spdlog::info("worker {} left", worker.value());
      break;
  }
}

}  // namespace

std::vector<EvaluationRow> evaluate_checkpoint(Evaluator& evaluator, const Checkpoint& checkpoint) {
  std::vector<EvaluationRow> rows;
  for (const ExitResult& exit : evaluator.evaluate(checkpoint.values)) {
    rows.push_back({checkpoint.state.round, exit.block, checkpoint.state.time_s, exit.loss, exit.accuracy});
  }
  return rows;
}

std::string try_write_checkpoint(const std::string& directory, const Checkpoint& checkpoint) {
  try {
    return write_checkpoint(directory, checkpoint);
  } catch (const Error& e) {
    spdlog::error(
        "checkpoint of round {} was not written: {}; the run goes on and the last good checkpoint stays",
        checkpoint.state.round, e.what());
    return {};
  }
}

ServerResult run_server(ServerCore& core, StagingPool& pool,
                        std::vector<std::unique_ptr<ServerChannel>>& channels, Evaluator& evaluator,
                        RoundLog& log, const ServerLoopOptions& options, const ServerLoopHooks& hooks) {
  ServerResult result;
  const std::vector<ClientTask> tasks = core.tasks();
  for (auto& channel : channels) {
    std::vector<ClientTask> own;
    std::copy_if(tasks.begin(), tasks.end(), std::back_inserter(own), [&](const ClientTask& task) {
      return task.assignment.takes_part() &&
             hooks.worker_of(ClientId(task.client)) == channel->worker().value();
    });
    channel->set_tasks(own);
  }
  core.set_workers(static_cast<int>(channels.size()));
  const double start_s = monotonic_seconds();
  // The core's clock counts on from where a resumed run stopped.
  Notice notice = core.notice(Notice::Phase::running);
  MergeThread merger(core, evaluator, log, options, start_s - options.time_offset_s);
  Sink sink(core, pool, merger);
  Membership members(channels, options, hooks);
  const auto publish = [&](Notice::Phase phase) {
    notice.phase = phase;
    notice.round = merger.round();
    for (std::size_t i = 0; i < channels.size(); ++i) {
      if (members.is_alive(i)) channels[i]->set_notice(notice);
    }
  };
  publish(Notice::Phase::running);

  double looked_s = 0, stopping_since_s = -1;
  int idle_turns = 0;
  while (true) {
    if (hooks.progress) hooks.progress();
    int taken = 0;
    for (std::size_t i = 0; i < channels.size(); ++i) {
      channels[i]->heartbeat();
      if (members.is_alive(i)) taken += channels[i]->poll(sink, 16);
    }
    if (stopping_since_s < 0 && notice.round != merger.round()) publish(Notice::Phase::running);
    const double now = monotonic_seconds();
    if (now - looked_s > 0.02) {
      looked_s = now;
      std::int64_t drops = 0;
      for (const auto& channel : channels) drops += channel->dropped().total();
      const std::vector<Membership::Change> changes = members.look();
      for (const Membership::Change& change : changes) {
        const WorkerRank worker = channels[change.channel]->worker();
        tell(change, worker, members.alive());
        if (stopping_since_s >= 0) continue;
        std::vector<ClientId> clients;
        for (const ClientTask& task : tasks) {
          if (task.assignment.takes_part() && hooks.worker_of(ClientId(task.client)) == worker.value())
            clients.emplace_back(task.client);
        }
        merger.run_on_core([&core, &merger, change, worker, clients] {
          core.add_member(worker, to_string(change.state), merger.now());
          for (const ClientId client : clients) {
            core.set_active(client, change.is_here(), merger.now());
            core.set_suspect(client, change.state == MemberState::suspect, merger.now());
          }
        });
      }
      merger.run_on_core([&core, drops, alive = members.alive()] {
        core.set_workers(alive);
        core.set_channel_drops(drops);
      });
      if (!changes.empty() && members.alive() == 0 && stopping_since_s < 0)
        result.end = ServerEnd::no_workers;
      if (options.stop_uncovered && merger.uncovered() && !merger.finished() && stopping_since_s < 0 &&
          result.end == ServerEnd::finished)
        result.end = ServerEnd::uncovered;
    }
    const bool lost = result.end == ServerEnd::no_workers || result.end == ServerEnd::uncovered;
    const bool over = merger.finished() || merger.error() != nullptr || lost || hooks.stop_requested();
    if (over && stopping_since_s < 0) {
      if (!merger.finished() && !lost && merger.error() == nullptr) result.end = ServerEnd::stopped;
      stopping_since_s = now;
      if (result.end == ServerEnd::finished) sink.discard_everything();
      publish(Notice::Phase::stopping);
    }
    if (stopping_since_s >= 0 && (members.alive() == 0 || now - stopping_since_s > options.farewell_s)) break;
    // Busy channels are polled without pause; an idle server sleeps, a little longer each time.
    idle_turns = taken > 0 ? 0 : std::min(idle_turns + 1, 40);
    if (idle_turns > 4) std::this_thread::sleep_for(std::chrono::microseconds(25 * idle_turns));
  }
  merger.stop();
  if (merger.error() != nullptr) std::rethrow_exception(merger.error());
  result.all_workers_left = !members.lost_any() && members.alive() == 0;
  core.set_workers(members.alive());
  if (!options.final_checkpoint) return result;
  Checkpoint last = core.snapshot(merger.now());
  result.evaluation = evaluate_checkpoint(evaluator, last);
  core.add_evaluation(result.evaluation);
  log.evaluation(result.evaluation);
  last.history = core.history();
  result.checkpoint = try_write_checkpoint(options.output, last);
  return result;
}

}  // namespace cos2p
