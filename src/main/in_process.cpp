#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "commands.hpp"
#include "cos2p/client/local_trainer.hpp"
#include "cos2p/server/server_loop.hpp"
#include "cos2p/support/logging.hpp"
#include "cos2p/support/narrow.hpp"
#include "cos2p/transport/in_process.hpp"
#include "experiment.hpp"
#include "resume.hpp"
#include "signals.hpp"

namespace cos2p {
namespace {

/// Where the single thread of an in-process run puts arriving messages: straight into the core.
class DirectSink : public MessageSink {
 public:
  DirectSink(ServerCore& core, StagingPool& pool, const double& now_s)
      : core_(core), pool_(pool), now_s_(now_s) {}
  Verdict begin(WorkerRank, const MessageHeader& header, Buffer& body) override {
    std::string reason;
    if (core_.check_shape(header, reason) != UpdateVerdict::accepted) return Verdict::reject;
    body = std::move(*pool_.acquire(static_cast<std::size_t>(header.body_bytes)));
    return Verdict::accept;
  }
  void deliver(Message message) override { core_.handle(std::move(message), now_s_); }

 private:
  ServerCore& core_;
  StagingPool& pool_;
  const double& now_s_;
};

/// The clients of an in-process run on a simulated clock. Deterministic: events are taken by (time, kind,
/// client). Each client has its own channel; a local round is computed when it starts and delivered when its
/// device would be ready.
class SimulatedFleet {
 public:
  SimulatedFleet(const Experiment& experiment, ModelStore& store, ServerCore& core, StagingPool& pool,
                 LocalTrainer& trainer)
      : experiment_(experiment),
        core_(core),
        trainer_(trainer),
        sink_(core, pool, now_s_),
        rounds_(static_cast<std::size_t>(experiment.clients)),
        next_start_s_(static_cast<std::size_t>(experiment.clients), 0.0),
        idle_since_s_(static_cast<std::size_t>(experiment.clients), -1.0),
        next_index_(static_cast<std::size_t>(experiment.clients), 0) {
    const std::vector<ClientTask> tasks = core.tasks();
    for (int c = 0; c < experiment.clients; ++c) {
      const auto index = static_cast<std::size_t>(c);
      next_index_[index] = tasks[index].next_round;
      channels_.push_back(
          make_in_process_channel(*experiment.table, store, WorkerRank(c + 1), experiment.options.ring, 1,
                                  [this, index] { channels_[index]->server->poll(sink_, 1); }));
      channels_.back()->server->set_tasks({tasks[index]});
      if (!tasks[index].assignment.takes_part())
        next_start_s_[index] = std::numeric_limits<double>::infinity();
    }
  }

  double now_s() const { return now_s_; }
  /// Takes the next event. False where nothing can happen any more.
  bool step() {
    double when = core_.next_deadline_s();
    int client = -1;
    enum { deadline, delivery, start } kind = deadline;
    for (int c = 0; c < experiment_.clients; ++c) {
      const auto i = static_cast<std::size_t>(c);
      if (rounds_[i] && rounds_[i]->second < when) {
        when = rounds_[i]->second;
        client = c;
        kind = delivery;
      }
    }
    for (int c = 0; c < experiment_.clients; ++c) {
      const auto i = static_cast<std::size_t>(c);
      if (!rounds_[i] && next_start_s_[i] >= 0 && next_start_s_[i] < when) {
        when = next_start_s_[i];
        client = c;
        kind = start;
      }
    }
    if (!std::isfinite(when)) return false;
    now_s_ = std::max(now_s_, when);
    if (kind == deadline) {
      core_.tick(now_s_);
    } else if (kind == delivery) {
      deliver(static_cast<std::size_t>(client));
    } else {
      begin(static_cast<std::size_t>(client));
    }
    return true;
  }

  /// A server round closed: in lockstep everybody who waits may start the next.
  void round_closed() {
    for (std::size_t i = 0; i < rounds_.size(); ++i) {
      if (!rounds_[i] && next_start_s_[i] < 0) next_start_s_[i] = now_s_;
    }
  }

  void save(Checkpoint& checkpoint) const {
    checkpoint.state.next_start_s = next_start_s_;
    checkpoint.state.idle_since_s = idle_since_s_;
    for (std::size_t i = 0; i < rounds_.size(); ++i) {
      if (!rounds_[i]) continue;
      const LocalRound& round = rounds_[i]->first;
      InFlightRound saved;
      saved.client = round.client.value();
      saved.client_round = round.index;
      saved.deliver_at_s = rounds_[i]->second;
      saved.report = round.report;
      for (const LocalUpdate& update : round.updates) {
        saved.updates.push_back({update.header.client,
                                 update.header.client_round,
                                 update.header.segment,
                                 update.header.base_version,
                                 update.header.weight,
                                 update.bitmap,
                                 {update.values.begin(), update.values.end()}});
      }
      checkpoint.state.in_flight.push_back(std::move(saved));
    }
    // The trainer knows the units of frozen blocks too, which no update carries.
    for (const auto& [client, choice] : trainer_.units()) {
      checkpoint.clients[static_cast<std::size_t>(client)].heads = choice.heads;
      checkpoint.clients[static_cast<std::size_t>(client)].neurons = choice.neurons;
    }
  }

  void restore(const Checkpoint& checkpoint) {
    now_s_ = checkpoint.state.time_s;
    if (checkpoint.state.next_start_s.size() == next_start_s_.size())
      next_start_s_ = checkpoint.state.next_start_s;
    if (checkpoint.state.idle_since_s.size() == idle_since_s_.size())
      idle_since_s_ = checkpoint.state.idle_since_s;
    for (std::size_t c = 0; c < checkpoint.clients.size(); ++c) {
      const ClientRecord& record = checkpoint.clients[c];
      if (!record.heads.empty())
        trainer_.set_units(ClientId(narrow<std::int32_t>(c)), {record.heads, record.neurons});
    }
    for (const InFlightRound& saved : checkpoint.state.in_flight) {
      LocalRound round;
      round.client = ClientId(saved.client);
      round.index = saved.client_round;
      round.report = saved.report;
      for (const PendingUpdate& update : saved.updates) {
        LocalUpdate restored;
        restored.header = {MessageKind::segment_update,
                           update.client,
                           update.client_round,
                           update.segment,
                           update.base_version,
                           update.weight,
                           narrow<std::int64_t>(update.bitmap.size()),
                           values_offset(narrow<std::int64_t>(update.bitmap.size())) +
                               narrow<std::int64_t>(update.values.size() * sizeof(float))};
        restored.bitmap = update.bitmap;
        restored.owned = update.values;
        round.updates.push_back(std::move(restored));
      }
      round.own_values();
      const auto i = static_cast<std::size_t>(saved.client);
      next_index_[i] = saved.client_round + 1;
      rounds_[i].emplace(std::move(round), saved.deliver_at_s);
    }
  }

 private:
  void begin(std::size_t i) {
    InProcessChannel& channel = *channels_[i];
    channel.server->heartbeat();
    channel.server->set_notice(core_.notice(Notice::Phase::running));
    ClientTask task = core_.tasks()[i];
    std::optional<LocalRound> round =
        trainer_.run(*channel.worker, task, next_index_[i]++, channel.worker->read_notice(),
                     [] { return !stop_requested(); });
    if (!round) return;
    round->own_values();
    const Assignment window = window_at(*experiment_.table, task.assignment, round->index);
    const PlanCost cost = estimate_cost(*experiment_.table, window, experiment_.training);
    const DeviceProfile& device = experiment_.fleet.budgets[i].device;
    // Times of the simulated device, in place of this machine's.
    RoundReport& report = round->report;
    report.compute_s =
        (cost.step_flops * static_cast<double>(report.steps) + round->choice_flops) / device.flops;
    report.peak_resident = 0;  // all clients share this process
    report.transfer_s = static_cast<double>(report.bytes_pulled + cost.push_bytes) / device.link;
    report.waiting_s = idle_since_s_[i] >= 0 ? now_s_ - idle_since_s_[i] : 0;
    rounds_[i].emplace(std::move(*round), now_s_ + report.compute_s + report.transfer_s);
  }

  void deliver(std::size_t i) {
    InProcessChannel& channel = *channels_[i];
    const LocalRound round = std::move(rounds_[i]->first);
    rounds_[i].reset();
    idle_since_s_[i] = now_s_;
    next_start_s_[i] = core_.notice(Notice::Phase::running).lockstep != 0 ? -1 : now_s_;
    channel.server->heartbeat();
    push_round(*channel.worker, round, /*measure_time=*/false);
    while (channel.server->poll(sink_, 64) > 0) continue;
  }

  const Experiment& experiment_;
  ServerCore& core_;
  LocalTrainer& trainer_;
  double now_s_ = 0;
  DirectSink sink_;
  std::vector<std::unique_ptr<InProcessChannel>> channels_;
  std::vector<std::optional<std::pair<LocalRound, double>>>
      rounds_;                        ///< per client: computed, and when it arrives
  std::vector<double> next_start_s_;  ///< per client; < 0 = waits for the server's next round
  std::vector<double> idle_since_s_;
  std::vector<int> next_index_;
};

}  // namespace

int run_train_in_process(const CommandLine& given) {
  CommandLine command = given;
  std::optional<Checkpoint> resumed;
  if (!given.options.resume.empty()) {
    resumed = read_checkpoint(given.options.resume);
    command = continue_options(given, *resumed);
  }
  const Experiment experiment =
      make_experiment(command.options, 0, resumed ? resumed->input.vocabulary : std::nullopt);
  const RunOptions& options = experiment.options;
  if (resumed) check_resumable(*resumed, experiment, given.options.resume);
  prepare_output(options.output, command.in_effect, resumed.has_value());
  setup_logging("server", options.output + "/run.log", options.quiet);
  install_signal_handlers(false);
  fmt::print("{}\n", fleet_table(*experiment.table, experiment.fleet));

  ModelStore store(*experiment.table);
  initialize(store, experiment);
  StagingPool pool(std::numeric_limits<std::size_t>::max() / 2);  // before the core, which holds its buffers
  ServerCore core(*experiment.table, store,
                  {options.policy, options.rounds, options.seed, 0,
                   make_identity(experiment, command.in_effect, resumed ? &*resumed : nullptr),
                   experiment.input, client_records(experiment)});
  core.set_workers(experiment.clients);
  if (resumed) core.restore(*resumed);
  LocalTrainer trainer({experiment.table.get(), experiment.train.get(), &experiment.partition, options.local,
                        options.width, options.seed, options.device, 0});
  SimulatedFleet fleet(experiment, store, core, pool, trainer);
  if (resumed) fleet.restore(*resumed);
  Evaluator evaluator(*experiment.table, *experiment.test, options.device, options.evaluation_batch);
  RoundLog log(options.output, options.rounds, options.quiet, core.history());

  bool closed = false;
  core.on_round_closed = [&](const RoundRow& row) {
    log.round(row);
    closed = true;
  };
  core.on_dropped = [](const MessageHeader& header, UpdateVerdict verdict, const std::string& reason) {
    spdlog::warn("update of client {} (local round {}) dropped: {} ({})", header.client, header.client_round,
                 to_string(verdict), reason);
  };
  std::string path;
  std::vector<EvaluationRow> evaluation;
  std::size_t clients_logged = core.history().clients.size();
  const auto save = [&](bool evaluate, bool write) {
    Checkpoint snapshot = core.snapshot(fleet.now_s());
    fleet.save(snapshot);
    if (evaluate) {
      evaluation = evaluate_checkpoint(evaluator, snapshot);
      core.add_evaluation(evaluation);
      snapshot.history.evaluations = core.history().evaluations;
      log.evaluation(evaluation);
    }
    if (write) path = try_write_checkpoint(options.output, snapshot);
  };
  while (!core.finished() && !stop_requested() && fleet.step()) {
    if (!closed) continue;
    closed = false;
    fleet.round_closed();
    for (; clients_logged < core.history().clients.size(); ++clients_logged)
      log.client(core.history().clients[clients_logged]);
    const auto due = [&](int every) { return !core.finished() && every > 0 && core.round() % every == 0; };
    if (due(options.evaluate_every) || due(options.checkpoint_every))
      save(due(options.evaluate_every), due(options.checkpoint_every));
  }
  save(true, true);
  print_result(evaluation, path);
  return static_cast<int>(ExitCode::ok);
}

}  // namespace cos2p
