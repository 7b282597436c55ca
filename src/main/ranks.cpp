#include <fmt/format.h>
#include <mpi.h>
#include <signal.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <thread>

#include "commands.hpp"
#include "cos2p/plan/fleet_watch.hpp"
#include "cos2p/server/server_loop.hpp"
#include "cos2p/support/blas.hpp"
#include "cos2p/support/bytes.hpp"
#include "cos2p/support/logging.hpp"
#include "cos2p/support/memory.hpp"
#include "cos2p/support/narrow.hpp"
#include "cos2p/transport/mpi_runtime.hpp"
#include "device_times.hpp"
#include "experiment.hpp"
#include "resume.hpp"
#include "signals.hpp"
#include "version.hpp"
#include "worker_part.hpp"

namespace cos2p {
namespace {

/// Client c is executed by worker 1 + c % workers, the last ones by nobody until somebody joins (0).
int worker_of(ClientId client, const Experiment& e, int workers) {
  const bool open = workers == 0 || client.value() >= e.clients - e.options.open_seats;
  return open ? 0 : 1 + client.value() % workers;
}

/// The clients that a rank of the job may be given, at most.
int clients_per_worker(const Experiment& e, int workers) {
  return workers == 0 ? e.clients : (e.clients + workers - 1) / workers;
}

/// The server's text on every rank; collective, at the start only, while everybody lives.
std::string broadcast(std::string text) {
  auto size = narrow<int>(text.size(), "option text");
  MPI_Bcast(&size, 1, MPI_INT, 0, MPI_COMM_WORLD);
  text.resize(static_cast<std::size_t>(size));
  MPI_Bcast(text.data(), size, MPI_CHAR, 0, MPI_COMM_WORLD);
  return text;
}

/// A part of the start that every rank does, or has nothing to do in; collective. Where one cannot go on, all
/// of them end, and the server says why: the others would wait for it for ever.
void together(MpiRuntime& mpi, const std::function<void()>& part) {
  struct Verdict {
    int code = 0;
    char text[2044] = {};
  };
  Verdict own;
  try {
    part();
  } catch (const Error& e) {
    own.code = static_cast<int>(e.code());
    std::snprintf(own.text, sizeof(own.text), "%s", e.what());
  } catch (const std::exception& e) {
    own.code = static_cast<int>(ExitCode::internal);
    std::snprintf(own.text, sizeof(own.text), "%s; this should not happen, please report it", e.what());
  }
  std::vector<Verdict> all(static_cast<std::size_t>(mpi.size()));
  MPI_Allgather(&own, sizeof(own), MPI_BYTE, all.data(), sizeof(own), MPI_BYTE, MPI_COMM_WORLD);
  for (std::size_t rank = 0; rank < all.size(); ++rank) {
    if (all[rank].code == 0) continue;
    const std::string whose = rank == 0 ? "" : fmt::format("worker {} on {}: ", rank, mpi.hosts()[rank]);
    if (mpi.rank() == 0) spdlog::error("{}{}", whose, all[rank].text);
    mpi.abort(all[rank].code);
  }
}

/// Texts are encoded with the server's vocabulary everywhere: one made from the training texts takes a while,
/// and that of a checkpoint or a file may be at hand there alone.
std::optional<Vocabulary> shared_vocabulary(const RunOptions& options, const std::optional<Experiment>& e) {
  if (!holds_texts(options.dataset.kind)) return std::nullopt;
  const std::string text = broadcast(e ? e->input.vocabulary->to_text() : "");
  const bool lower_case =
      broadcast(e && e->input.vocabulary->lower_case() ? "uncased" : "cased") == "uncased";
  return Vocabulary::from_text(text, lower_case, "the server's vocabulary");
}

/// Ends a job whose ranks are not the same program: before anything else, as text, which all byte orders
/// share.
void require_same_program(const MpiRuntime& mpi) {
  constexpr int kBytes = 128;
  char own[kBytes] = {};
  std::snprintf(own, sizeof(own), "%s", program_in_words(kVersion).c_str());
  std::vector<char> all(kBytes * static_cast<std::size_t>(mpi.size()));
  MPI_Allgather(own, kBytes, MPI_CHAR, all.data(), kBytes, MPI_CHAR, MPI_COMM_WORLD);
  const std::vector<std::string> hosts = mpi.hosts();
  const std::string server(all.data());
  for (std::size_t rank = 1; rank < hosts.size(); ++rank) {
    const std::string its(all.data() + kBytes * rank);
    if (its == server) continue;
    fail(ExitCode::environment,
         "worker {} on {} is {}, the server on {} is {}, install the same on all hosts "
         "(mpi_launch/cluster.sh --check shows them)",
         rank, hosts[rank], its, hosts[0], server);
  }
}

std::vector<int> gather_process_ids(int ranks) {
  std::vector<int> ids(static_cast<std::size_t>(ranks));
  const int own = getpid();
  MPI_Allgather(&own, 1, MPI_INT, ids.data(), 1, MPI_INT, MPI_COMM_WORLD);
  return ids;
}

void print_start_block(const MpiRuntime& mpi, const RmaServerFabric& fabric, const Experiment& e,
                       const std::string& environment, const std::string& device) {
  const std::vector<std::string> hosts = mpi.hosts();
  std::string placement;
  for (std::size_t r = 0; r < hosts.size(); ++r)
    placement += fmt::format("{}{}:{}", r == 0 ? "" : " ", r, hosts[r]);
  std::string text = fmt::format("cos2p {}\n  ranks      {} (server and {} workers): {}\n", kVersion,
                                 mpi.size(), mpi.size() - 1, placement);
  text += describe_computing(
      device, fmt::format("{} thread{} per rank", compute_threads(), compute_threads() == 1 ? "" : "s"));
  text += fmt::format("  MPI        {}, one-sided through {} ({})\n", mpi.library_version(),
                      fabric.one_sided_component(), environment);
  if (!mpi.launch().recovery_enabled) {
    text +=
        "             a killed worker will end the job: start with mpi_launch/local.sh or mpirun "
        "--enable-recovery to survive it\n";
  }
  say(text + describe_experiment(e));
}

/// Where workers may join: listens, and writes the key that they need. A resumed run keeps its key, so that
/// those who have it find the server again.
std::unique_ptr<JoinServer> listen_for_newcomers(const Experiment& e, const CommandLine& command,
                                                 ModelStore& store, int workers, bool resuming,
                                                 const std::string& run_id) {
  const RunOptions& options = e.options;
  if (!options.accept_joins) return nullptr;
  const std::string path = options.output + "/" + kJoinKeyName;
  JoinKey key = make_join_key(run_id);
  if (resuming && std::filesystem::exists(path)) {
    const JoinKey before = read_join_key(path);
    key.secret = before.secret;
    key.port = before.port;
  }
  if (options.join_port > 0) key.port = options.join_port;
  JoinServer::Options settings;
  settings.program = program_in_words(kVersion);
  settings.ring = options.ring;
  settings.max_tasks = e.clients;
  settings.first_worker = workers + 1;
  settings.welcome.executors = workers + options.open_seats;
  settings.welcome.options = to_toml(command.in_effect);
  if (e.input.vocabulary) {
    settings.welcome.vocabulary = e.input.vocabulary->to_text();
    settings.welcome.lower_case = e.input.vocabulary->lower_case();
  }
  auto joins = std::make_unique<JoinServer>(key, store, settings);
  write_join_key(path, joins->key());
  say(fmt::format("  joining    port {}; cos2p join {} (a copy of it, mode 0600)", joins->key().port, path));
  return joins;
}

int serve(MpiRuntime& mpi, const CommandLine& command, const Experiment& e,
          const std::optional<Checkpoint>& resumed, const std::string& environment) {
  const RunOptions& options = e.options;
  const int workers = mpi.size() - 1;
  ModelStore store(*e.table);
  initialize(store, e);
  // Staging for three quarters of the model, and never less than one message a worker, also of those that may
  // yet join: with model and sums, 4x the model.
  const auto largest = static_cast<std::size_t>(e.table->largest_segment()) * sizeof(float) + (64U << 10);
  StagingPool pool(
      std::max<std::size_t>(static_cast<std::size_t>(e.table->parameters()) * sizeof(float) * 3 / 4,
                            (static_cast<std::size_t>(workers + options.open_seats) + 1) * largest));
  const RunIdentity identity = make_identity(e, command.in_effect, resumed ? &*resumed : nullptr);
  ServerCore core(*e.table, store,
                  {options.policy, options.rounds, options.seed, 0, identity, e.input, client_records(e),
                   options.history_rows});
  if (resumed) core.restore(*resumed);
  const std::vector<int> process_ids = gather_process_ids(mpi.size());
  RmaServerFabric fabric(mpi, store, options.ring, clients_per_worker(e, workers));
  const LaunchInfo& launch = mpi.launch();
  Evaluator evaluator(*e.table, *e.test, options.device, options.evaluation_batch);
  print_start_block(mpi, fabric, e, environment, evaluator.device_name());
  RoundLog log(options.output, options.rounds, options.quiet, core.history(), options.history_rows);

  const std::unique_ptr<EventLog> events =
      begin_event_log(options, core, resumed ? resumed->state.time_s : 0, resumed.has_value());
  const std::unique_ptr<JoinServer> joins =
      listen_for_newcomers(e, command, store, workers, resumed.has_value(), identity.run_id);
  ServerLoopOptions loop;
  loop.output = options.output;
  loop.evaluate_every = options.evaluate_every;
  loop.checkpoint_every = options.checkpoint_every;
  loop.suspect_after_s = options.suspect_after_s;
  loop.worker_timeout_s = options.worker_timeout_s;
  loop.bad_messages = options.bad_messages;
  loop.stop_uncovered = options.stop_uncovered;
  loop.time_offset_s = resumed ? resumed->state.time_s : 0;
  ServerLoopHooks hooks;
  hooks.progress = [&fabric] { fabric.progress(); };
  hooks.stop_requested = stop_requested;
  hooks.worker_of = [&e, workers](ClientId client) { return worker_of(client, e, workers); };
  FleetWatch watch(*e.table, e.training, e.fleet, options.replan_speed);
  if (options.replan && !e.table->options().linear() && options.policy.depth_momentum == 0) {
    hooks.replan = [&e, &watch](const std::vector<bool>& present) {
      return plan_present(*e.table, e.training, e.fleet, present, watch.limits(), e.options.fleet);
    };
    hooks.observe = [&watch](const ClientRow& row) {
      return watch.observe({ClientId(row.client), row.client_round, row.time_s, row.report.steps,
                            row.report.compute_s, row.report.free_memory});
    };
    hooks.seated = [&watch](ClientId client) { watch.forget(client); };
    hooks.plan_begun = [&watch](const std::vector<Assignment>& assignments) {
      watch.begin_plan(assignments);
    };
  }
  const std::vector<std::string> hosts = mpi.hosts();
  hooks.process_gone = [&process_ids, &hosts, &launch, &joins, workers](WorkerRank worker) {
    if (joins && worker.value() > workers) return !joins->is_connected(worker);
    const auto rank = static_cast<std::size_t>(worker.value());
    // On this host a dead process is known at once. Elsewhere, and where no recovery is possible, heartbeats
    // decide.
    return launch.recovery_enabled && hosts[rank] == hosts[0] && kill(process_ids[rank], 0) != 0 &&
           errno == ESRCH;
  };
  if (joins) {
    hooks.newcomers = [&joins] { return joins->newcomers(); };
    hooks.dismiss = [&joins](WorkerRank worker) { joins->dismiss(worker); };
  }
  const ServerResult result = run_server(core, pool, fabric.channels(), evaluator, log, loop, hooks);
  ExitCode code = print_result(result.evaluation, result.checkpoint);
  if (result.end == ServerEnd::stopped)
    say(fmt::format("stopped on request after round {}; go on with --resume {}", core.round(),
                    options.output));
  if (result.end == ServerEnd::no_workers) {
    code = ExitCode::no_workers;
    spdlog::error(
        "no workers are left after round {} of {} (all of them ended or went silent), go on with --resume {}",
        core.round(), options.rounds, options.output);
  }
  if (result.end == ServerEnd::uncovered) {
    code = ExitCode::no_workers;
    spdlog::error(
        "stopped after round {} of {}: a segment has no trainer (--stop-uncovered), go on with --resume {}",
        core.round(), options.rounds, options.output);
  }
  mpi.finish(result.all_workers_left, static_cast<int>(code));
  return static_cast<int>(code);
}

int work(MpiRuntime& mpi, const Experiment& e) {
  gather_process_ids(mpi.size());
  const int workers = mpi.size() - 1;
  RmaWorkerFabric fabric(mpi, *e.table, e.options.ring, clients_per_worker(e, workers),
                         [] { std::this_thread::sleep_for(std::chrono::microseconds(100)); });
  const WorkerEnd end =
      WorkerPart(e, mpi.launch().local_rank, mpi.launch().local_ranks).run(fabric.channel());
  ExitCode code = ExitCode::ok;
  if (end == WorkerEnd::server_gone || end == WorkerEnd::excluded) {
    code = ExitCode::no_workers;
    spdlog::error("{}, this worker ends", end == WorkerEnd::server_gone
                                              ? "the server is gone (its heartbeat stands still)"
                                              : "the server put this worker out");
  }
  mpi.finish(code == ExitCode::ok, static_cast<int>(code));
  return static_cast<int>(code);
}

}  // namespace

int refuse_to_start(int& argc, char**& argv, const LaunchInfo& launch, const Error& error) {
  prepare_mpi_environment(launch);
  MpiRuntime mpi(argc, argv);
  setup_logging(mpi.rank() == 0 ? "server" : fmt::format("worker {}", mpi.rank()), "", false);
  require_same_program(mpi);
  together(mpi, [&error] { throw error; });
  return static_cast<int>(error.code());  // not reached: together() ends the job
}

int run_train_ranks(int& argc, char**& argv, const CommandLine& given, const std::string& environment) {
  MpiRuntime mpi(argc, argv);
  const bool is_server = mpi.rank() == 0;
  const std::string role = is_server ? "server" : fmt::format("worker {}", mpi.rank());
  // One rank speaks for all; the workers only where something is wrong.
  setup_logging(role, "", given.options.quiet || !is_server);
  try {
    install_signal_handlers(!is_server);
    require_same_program(mpi);
    // The server's options hold for everybody, so that no two ranks run different experiments; only what
    // belongs to a machine (where its data lies, its device and threads) is each rank's own.
    std::optional<Checkpoint> resumed;
    CommandLine command = given;
    together(mpi, [&] {
      if (!is_server || given.options.resume.empty()) return;
      resumed = resumed_state(given.options.resume);
      command = continue_options(given, *resumed);
    });
    const std::string text = broadcast(is_server ? to_toml(command.in_effect) : "");
    std::optional<Experiment> experiment;
    int executors = 0;
    together(mpi, [&] {
      if (!is_server) command = adopt_options(text, given);
      executors = mpi.size() - 1 + command.options.open_seats;
      if (!is_server) return;
      experiment =
          make_experiment(command.options, executors, resumed ? resumed->input.vocabulary : std::nullopt);
      if (resumed) check_resumable(*resumed, *experiment, given.options.resume);
    });
    const std::optional<Vocabulary> vocabulary = shared_vocabulary(command.options, experiment);
    together(mpi, [&] {
      if (!is_server) experiment = make_experiment(command.options, executors, vocabulary);
    });
    together(mpi, [&] {
      if (is_server) prepare_output(command.options.output, command.in_effect, resumed.has_value());
    });
    if (!command.options.emulate_speeds.empty()) set_default_device(*experiment);
    if (!is_server) return work(mpi, *experiment);
    setup_logging(role, command.options.output + "/run.log", command.options.quiet,
                  command.options.log_limit);
    return serve(mpi, command, *experiment, resumed, environment);
  } catch (const Error& e) {
    // The same mistake is usually made on every rank: the server speaks first, and the others only if it does
    // not.
    if (!is_server) std::this_thread::sleep_for(std::chrono::seconds(2));
    spdlog::error("{}", e.what());
    mpi.abort(static_cast<int>(e.code()));
  } catch (const std::exception& e) {
    spdlog::error("{} on {}; this should not happen, please report it", e.what(), role);
    mpi.abort(static_cast<int>(ExitCode::internal));
  }
}

}  // namespace cos2p
