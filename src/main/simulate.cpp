#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <limits>

#include "commands.hpp"
#include "cos2p/server/server_loop.hpp"
#include "cos2p/support/blas.hpp"
#include "cos2p/support/clock.hpp"
#include "cos2p/support/error.hpp"
#include "cos2p/support/logging.hpp"
#include "device_times.hpp"
#include "experiment.hpp"
#include "resume.hpp"
#include "round_executors.hpp"
#include "signals.hpp"
#include "simulated_fleet.hpp"
#include "version.hpp"

namespace cos2p {

namespace {

/// "12.3 ms"
std::string duration(double seconds) {
  if (seconds < 1e-3) return fmt::format("{:.1f} us", seconds * 1e6);
  return seconds < 1 ? fmt::format("{:.2f} ms", seconds * 1e3) : fmt::format("{:.2f} s", seconds);
}

/// What the rounds of this run took on this machine, and a round and an optimizer step of them.
void print_real_time(double prepared_s, double loop_s, int rounds, std::int64_t steps) {
  if (rounds == 0 || steps == 0) return;
  say(fmt::format(
      "{} rounds, {} steps in {:.4f} s of real time, after {:.2f} s to begin: {} per round, {} per step",
      rounds, steps, loop_s, prepared_s, duration(loop_s / rounds),
      duration(loop_s / static_cast<double>(steps))));
}

}  // namespace

int run_simulate(const CommandLine& given) {
  const double begun_s = monotonic_seconds();
  CommandLine command = given;
  std::optional<Checkpoint> resumed;
  if (!given.options.resume.empty()) {
    resumed = read_checkpoint(given.options.resume);
    command = continue_options(given, *resumed);
  }
  Experiment experiment =
      make_experiment(command.options, 0, resumed ? resumed->input.vocabulary : std::nullopt);
  set_default_device(experiment);
  const RunOptions& options = experiment.options;
  if (options.simulation.clients_per_round > experiment.clients) {
    fail(
        ExitCode::usage,
        "--clients-per-round cannot be {} (there are {} clients), let at most so many take part or give more "
        "--clients",
        options.simulation.clients_per_round, experiment.clients);
  }
  if (resumed) check_resumable(*resumed, experiment, given.options.resume);
  prepare_output(options.output, command.in_effect, resumed.has_value());
  setup_logging("server", options.output + "/run.log", options.quiet, options.log_limit);
  install_signal_handlers(false);

  const int threads = options.threads > 0 ? options.threads : usable_cores();
  ModelStore store(*experiment.table);
  initialize(store, experiment);
  StagingPool pool(std::numeric_limits<std::size_t>::max() / 2);  // before the core, which holds its buffers
  ServerCore core(*experiment.table, store,
                  {options.policy, options.rounds, options.seed, threads,
                   make_identity(experiment, command.in_effect, resumed ? &*resumed : nullptr),
                   experiment.input, client_records(experiment), options.history_rows});
  if (resumed) core.restore(*resumed);
  const std::unique_ptr<EventLog> events =
      begin_event_log(options, core, resumed ? resumed->state.time_s : 0, resumed.has_value());
  core.set_channels(experiment.clients, 0);
  RoundExecutors executors(experiment, store, threads);
  SimulatedFleet fleet(experiment, store, core, pool, executors);
  if (resumed) {
    fleet.restore(*resumed);
  } else {
    fleet.begin_run();
  }
  Evaluator evaluator(*experiment.table, *experiment.test, options.device, options.evaluation_batch);
  say(fmt::format(
          "cos2p {}\n  ranks      none: server and {} clients in this process, on a simulated clock\n",
          kVersion, experiment.clients) +
      describe_computing(evaluator.device_name(),
                         fmt::format("{} local rounds at a time, each by one thread", threads)) +
      describe_experiment(experiment));
  RoundLog log(options.output, options.rounds, options.quiet, core.history(), options.history_rows);

  bool closed = false;
  std::int64_t steps = 0;
  core.on_reported = [&](const ClientRow& row) {
    log.client(row);
    steps += row.report.steps;
  };
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
  const int rounds_before = core.round();
  double saving_s = 0;
  const auto save = [&](bool evaluate, bool write) {
    const ScopedTimer timer(saving_s);
    Checkpoint snapshot = core.snapshot(fleet.now_s());
    if (write) fleet.save(snapshot);
    if (evaluate) {
      evaluation = evaluate_checkpoint(evaluator, snapshot);
      core.add_evaluation(evaluation);
      snapshot.history.evaluations = core.history().evaluations;
      log.evaluation(evaluation);
    }
    if (write) path = try_write_checkpoint(options.output, snapshot);
  };
  const double loop_begun_s = monotonic_seconds();
  while (!core.finished() && !stop_requested() && fleet.step()) {
    if (!closed) continue;
    closed = false;
    fleet.round_closed();
    const auto due = [&](int every) { return !core.finished() && every > 0 && core.round() % every == 0; };
    if (due(options.evaluate_every) || due(options.checkpoint_every))
      save(due(options.evaluate_every), due(options.checkpoint_every));
  }
  const double loop_s = monotonic_seconds() - loop_begun_s - saving_s;
  save(true, true);
  print_real_time(loop_begun_s - begun_s, loop_s, core.round() - rounds_before, steps);
  return static_cast<int>(print_result(evaluation, path));
}

}  // namespace cos2p
