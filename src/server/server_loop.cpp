#include "cos2p/server/server_loop.hpp"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <mutex>
#include <set>
#include <thread>

#include "cos2p/support/clock.hpp"
#include "cos2p/support/error.hpp"
#include "membership.hpp"
#include "merge_thread.hpp"
#include "roster.hpp"

namespace cos2p {
namespace {

/// Gives memory to arriving messages and passes them to the merge thread.
class Sink : public MessageSink {
 public:
  Sink(ServerCore& core, StagingPool& pool, MergeThread& merger, const Roster& roster)
      : core_(core), pool_(pool), merger_(merger), roster_(roster) {}
  void discard_everything() { discard_ = true; }

  Verdict begin(WorkerRank worker, const MessageHeader& header, Buffer& body) override {
    std::string reason;
    if (discard_) return Verdict::reject;
    bool taken = core_.check_shape(header, reason) == UpdateVerdict::accepted;
    if (taken && !roster_.executes(worker, header.client)) {
      taken = false;
      reason = fmt::format("client {} is not one of its own", header.client);
    }
    if (!taken) {
      if (++refusals_[worker.value()] <= kLines)
        spdlog::warn("worker {} sent a message that is not taken ({}){}", worker.value(), reason,
                     refusals_[worker.value()] == kLines ? "; further ones are only counted" : "");
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
    bool& in_range = in_range_[worker.value()];
    in_range = in_range && part_in_range(header, offset, part);
  }
  void deliver(Message message) override {
    message.values_in_range = in_range_[message.worker.value()];
    merger_.deliver(std::move(message));
  }

 private:
  ServerCore& core_;
  StagingPool& pool_;
  MergeThread& merger_;
  const Roster& roster_;
  static constexpr int kLines = 5;  ///< of each worker: a broken one must not fill the log
  std::map<int, int> refusals_;     ///< by worker
  std::map<int, bool> in_range_;    ///< by worker: all values of its open message so far
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

namespace {

/// After a resume in the middle of a round in lockstep: who has reported in it.
std::set<std::int32_t> waiting_clients(const ServerCore& core) {
  std::set<std::int32_t> waiting;
  for (const ClientTask& task : core.tasks()) {
    if (!core.may_start(ClientId(task.client))) waiting.insert(task.client);
  }
  return waiting;
}

/// A run of the server, seen from the thread that polls the channels.
class ServerLoop {
 public:
  ServerLoop(ServerCore& core, StagingPool& pool, std::vector<std::unique_ptr<ServerChannel>>& channels,
             Evaluator& evaluator, RoundLog& log, const ServerLoopOptions& options,
             const ServerLoopHooks& hooks)
      : core_(core),
        channels_(channels),
        options_(options),
        hooks_(hooks),
        notice_(core.notice(Notice::Phase::running)),
        roster_(core.tasks(), hooks.worker_of),
        waiting_(waiting_clients(core)),
        // The core's clock counts on from where a resumed run stopped.
        merger_(core, evaluator, log, options, monotonic_seconds() - options.time_offset_s,
                [this](const ClientRow& row) { take_report(row); }),
        sink_(core, pool, merger_, roster_),
        members_(channels, options, hooks) {
    core_.on_plan_changed = [this] {
      if (hooks_.plan_begun) hooks_.plan_begun(core_.plan());
      const std::lock_guard<std::mutex> lock(from_core_mutex_);
      new_tasks_ = core_.tasks();
    };
  }
  ~ServerLoop() { core_.on_plan_changed = nullptr; }  // the core outlives this loop
  ServerLoop(const ServerLoop&) = delete;
  ServerLoop& operator=(const ServerLoop&) = delete;

  ServerEnd run() {
    merger_.run_on_core(
        [this, workers = static_cast<int>(channels_.size())] { core_.set_channels(workers, 0); });
    for (std::size_t i = 0; i < channels_.size(); ++i) hand_tasks(i);
    merger_.run_on_core([this, clients = roster_.free_clients()] { set_present(clients, false); });
    publish(Notice::Phase::running,
            notice_.round);  // a round that has closed since is told below, with its tasks
    lonely_since_s_ = monotonic_seconds();
    double looked_s = 0;
    int idle_turns = 0;
    while (true) {
      if (hooks_.progress) hooks_.progress();
      int taken = 0;
      for (std::size_t i = 0; i < channels_.size(); ++i) {
        channels_[i]->heartbeat();
        if (!members_.is_alive(i)) continue;
        taken += channels_[i]->poll(sink_, 16);
        if (channels_[i]->serve_pull(core_.store())) ++taken;
      }
      if (const int round = merger_.round(); !stopping() && notice_.round != round) {
        // Before the round in which they hold: workers read them when they hear of it.
        hand_out_new_tasks();
        start_waiting_clients();
        publish(Notice::Phase::running, round);
      }
      const double now = monotonic_seconds();
      if (now - looked_s > 0.02) {
        looked_s = now;
        look(now);
      }
      stop_if_due(now);
      if (stopping() && (members_.alive() == 0 || now - stopping_since_s_ > options_.farewell_s)) break;
      // Busy channels are polled without pause; an idle server sleeps, a little longer each time.
      idle_turns = taken > 0 ? 0 : std::min(idle_turns + 1, 40);
      if (idle_turns > 4) std::this_thread::sleep_for(std::chrono::microseconds(25 * idle_turns));
    }
    merger_.stop();
    for (std::size_t i = channels_.size(); i-- > 0;) remove_if_joined(i);
    if (merger_.error() != nullptr) std::rethrow_exception(merger_.error());
    core_.set_channels(members_.alive(), dropped_by_channels());
    return end_;
  }

  double now() const { return merger_.now(); }
  bool all_workers_left() const { return !members_.lost_any() && members_.alive() == 0; }

 private:
  struct Seated {
    Roster::Seat seat;
    bool starts = false;
    ClientTask task;
    int round = 0;  ///< the server's, when it agreed
  };

  bool stopping() const { return stopping_since_s_ >= 0; }

  void publish(Notice::Phase phase, int round) {
    notice_.phase = phase;
    notice_.round = round;
    for (std::size_t i = 0; i < channels_.size(); ++i) {
      if (members_.is_alive(i)) channels_[i]->set_notice(notice_);
    }
  }

  std::int64_t dropped_by_channels() const {
    std::int64_t drops = drops_of_gone_;
    for (const auto& channel : channels_) drops += channel->dropped().total();
    return drops;
  }

  /// Who has come, who lives, and who has nobody.
  void look(double now) {
    take_newcomers();
    // At the end of a run everything that still comes is rejected, which is nobody's fault.
    for (std::size_t i = 0; i < channels_.size() && !stopping(); ++i) {
      const WorkerRank worker = channels_[i]->worker();
      members_.set_bad_messages(i, channels_[i]->dropped().total() + merger_.bad_updates(worker) -
                                       repeats_allowed_[worker.value()]);
    }
    const std::vector<Membership::Change> changes = members_.look();
    for (const Membership::Change& change : changes) take_change(change);
    for (auto change = changes.rbegin(); change != changes.rend(); ++change) {
      if (!change->is_here()) remove_if_joined(change->channel);
    }
    if (!stopping()) seat();
    merger_.run_on_core([this, drops = dropped_by_channels(), alive = members_.alive()] {
      core_.set_channels(alive, drops);
    });
    if (members_.alive() > 0) lonely_since_s_ = now;
  }

  void take_newcomers() {
    if (!hooks_.newcomers) return;
    for (JoinServer::Newcomer& newcomer : hooks_.newcomers()) {
      const WorkerRank worker = newcomer.channel->worker();
      roster_.add_newcomer(worker, newcomer.request.clients);
      newcomer.channel->set_notice(notice_);
      channels_.push_back(std::move(newcomer.channel));
      members_.add();
      spdlog::info("worker {} on {} has joined", worker.value(), newcomer.request.host);
      merger_.run_on_core(
          [this, worker] { core_.add_member(worker, to_string(MemberState::joining), merger_.now()); });
    }
  }

  void take_change(const Membership::Change& change) {
    const WorkerRank worker = channels_[change.channel]->worker();
    tell(change, worker, members_.alive());
    const std::vector<ClientId> clients = roster_.clients_of(worker);
    if (!change.is_here()) roster_.release(worker);
    if (stopping()) return;
    merger_.run_on_core([this, change, worker, clients] {
      core_.add_member(worker, to_string(change.state), merger_.now());
      // Who is here has been present since the core agreed to the seat.
      if (!change.is_here()) set_present(clients, false);
      for (const ClientId client : clients)
        core_.set_suspect(client, change.state == MemberState::suspect, merger_.now());
    });
  }

  /// By the merge thread: these clients have a worker now, or none any more.
  void set_present(const std::vector<ClientId>& clients, bool present) {
    if (clients.empty()) return;
    std::vector<bool> all = core_.present();
    for (const ClientId client : clients) all[static_cast<std::size_t>(client.value())] = present;
    if (hooks_.replan && all != core_.present()) plan_anew(all);
    for (const ClientId client : clients) core_.set_active(client, present, merger_.now());
  }

  /// By the merge thread. The new plan is a message of its own: a replay of the event log takes it where the
  /// core took it, which is after this report.
  void take_report(const ClientRow& row) {
    if (hooks_.observe && hooks_.observe(row)) merger_.run_on_core([this] { plan_anew(core_.present()); });
  }

  void plan_anew(const std::vector<bool>& present) {
    const FleetPlan plan = hooks_.replan(present);
    if (plan.assignments == core_.latest_plan()) return;
    core_.set_plan(plan.assignments, merger_.now());
    spdlog::info("a new plan from the next round on ({} of {} clients are here, N* {}): {}",
                 std::count(present.begin(), present.end(), true), present.size(), plan.least_trainers(),
                 plan.notes.empty() ? "that of the start" : fmt::format("{}", fmt::join(plan.notes, "; ")));
  }

  void hand_out_new_tasks() {
    std::vector<Seated> seated;
    std::vector<ClientTask> tasks;
    {
      const std::lock_guard<std::mutex> lock(from_core_mutex_);
      seated.swap(seated_);
      tasks.swap(new_tasks_);
    }
    take_seats(seated);
    if (tasks.empty()) return;
    for (const ClientTask& task : tasks) roster_.set_task(task);
    for (std::size_t i = 0; i < channels_.size(); ++i) {
      if (members_.is_alive(i)) hand_tasks(i);
    }
  }

  void hand_tasks(std::size_t channel) {
    std::vector<ClientTask> tasks = roster_.tasks_of(channels_[channel]->worker());
    tasks.erase(std::remove_if(tasks.begin(), tasks.end(),
                               [this](const ClientTask& task) { return waiting_.count(task.client) != 0; }),
                tasks.end());
    channels_[channel]->set_tasks(tasks);
  }

  void start_waiting_clients() {
    if (waiting_.empty()) return;
    waiting_.clear();
    for (std::size_t i = 0; i < channels_.size(); ++i) {
      if (members_.is_alive(i)) hand_tasks(i);
    }
  }

  void remove_if_joined(std::size_t channel) {
    const WorkerRank worker = channels_[channel]->worker();
    if (!roster_.is_newcomer(worker)) return;
    drops_of_gone_ += channels_[channel]->dropped().total();
    channels_.erase(channels_.begin() + static_cast<std::ptrdiff_t>(channel));
    members_.remove(channel);
    roster_.remove_newcomer(worker);
    hooks_.dismiss(worker);
  }

  /// Gives clients that have nobody to newcomers that have room; the core says when, and with which round
  /// they go on.
  void seat() {
    for (const Roster::Seat& seat : roster_.fill_seats()) {
      merger_.run_on_core([this, seat] {
        const bool starts = core_.may_start(seat.client);
        ClientTask task;
        if (starts) {
          if (hooks_.seated) hooks_.seated(seat.client);
          set_present({seat.client}, true);
          core_.set_suspect(seat.client, false, merger_.now());
          task = core_.tasks()[static_cast<std::size_t>(seat.client.value())];
        }
        const std::lock_guard<std::mutex> lock(from_core_mutex_);
        seated_.push_back({seat, starts, task, core_.round()});
      });
    }
    std::vector<Seated> seated;
    {
      const std::lock_guard<std::mutex> lock(from_core_mutex_);
      seated.swap(seated_);
    }
    take_seats(seated);
  }

  /// What the core said of seats, since the last look.
  void take_seats(const std::vector<Seated>& seated) {
    for (const Seated& each : seated) {
      const auto channel = std::find_if(channels_.begin(), channels_.end(), [&](const auto& candidate) {
        return candidate->worker() == each.seat.worker;
      });
      if (!each.starts || channel == channels_.end()) {
        // The next look tries again, with whoever is there.
        roster_.release(each.seat.client);
        if (each.starts) {
          merger_.run_on_core([this, client = each.seat.client] { set_present({client}, false); });
        }
        continue;
      }
      roster_.set_task(each.task);
      // It begins with the round in which the worker before it ended, perhaps after it had sent a part of it.
      repeats_allowed_[each.seat.worker.value()] += core_.segments();
      hand_tasks(static_cast<std::size_t>(channel - channels_.begin()));
      Notice notice = notice_;
      notice.round = std::max(notice.round, each.round);  // others may not have heard of it yet
      (*channel)->set_notice(notice);
      spdlog::info("worker {} executes client {} from its local round {} on", each.seat.worker.value(),
                   each.seat.client.value(), each.task.next_round);
    }
  }

  void stop_if_due(double now) {
    if (stopping()) return;
    // Where workers may join, an empty run waits for them for a while.
    const double patience_s = hooks_.newcomers ? options_.worker_timeout_s : 0;
    if (members_.alive() == 0 && now - lonely_since_s_ > patience_s) end_ = ServerEnd::no_workers;
    if (end_ == ServerEnd::finished && options_.stop_uncovered && merger_.uncovered() && !merger_.finished())
      end_ = ServerEnd::uncovered;
    const bool lost = end_ != ServerEnd::finished;
    if (!merger_.finished() && merger_.error() == nullptr && !lost && !hooks_.stop_requested()) return;
    if (!merger_.finished() && !lost && merger_.error() == nullptr) end_ = ServerEnd::stopped;
    stopping_since_s_ = now;
    if (end_ == ServerEnd::finished) sink_.discard_everything();
    publish(Notice::Phase::stopping, merger_.round());
  }

  ServerCore& core_;
  std::vector<std::unique_ptr<ServerChannel>>& channels_;
  const ServerLoopOptions& options_;
  const ServerLoopHooks& hooks_;
  Notice notice_;
  Roster roster_;
  std::set<std::int32_t> waiting_;  ///< clients that get no task before the round closes
  std::mutex from_core_mutex_;      // of what the merge thread leaves for this one
  std::vector<Seated> seated_;
  std::vector<ClientTask> new_tasks_;  // of all clients; empty where the plan is the same
  MergeThread merger_;
  Sink sink_;
  Membership members_;
  ServerEnd end_ = ServerEnd::finished;
  std::map<int, std::int64_t> repeats_allowed_;  ///< by worker
  std::int64_t drops_of_gone_ = 0;
  double stopping_since_s_ = -1, lonely_since_s_ = 0;
};

}  // namespace

ServerResult run_server(ServerCore& core, StagingPool& pool,
                        std::vector<std::unique_ptr<ServerChannel>>& channels, Evaluator& evaluator,
                        RoundLog& log, const ServerLoopOptions& options, const ServerLoopHooks& hooks) {
  ServerResult result;
  ServerLoop loop(core, pool, channels, evaluator, log, options, hooks);
  result.end = loop.run();
  result.all_workers_left = loop.all_workers_left();
  if (!options.final_checkpoint) return result;
  Checkpoint last = core.snapshot(loop.now());
  result.evaluation = evaluate_checkpoint(evaluator, last);
  core.add_evaluation(result.evaluation);
  log.evaluation(result.evaluation);
  last.history = core.history();
  result.checkpoint = try_write_checkpoint(options.output, last);
  return result;
}

}  // namespace cos2p
