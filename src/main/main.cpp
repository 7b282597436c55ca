// cos2p: one program, some subcommands. What a command needs is set up here; what it does is in its own file.
#include <fmt/format.h>

#include <cstdio>
#include <cstdlib>
#include <new>

#include "commands.hpp"
#include "cos2p/support/blas.hpp"
#include "cos2p/support/error.hpp"
#include "cos2p/support/logging.hpp"
#include "cos2p/support/memory.hpp"
#include "cos2p/transport/mpi_runtime.hpp"
#include "resume.hpp"

namespace cos2p {
namespace {

/// With what is resumed, which may say itself that all runs inside this process, or that workers may join.
RunOptions continued(const CommandLine& command) {
  const RunOptions& options = command.options;
  if (command.subcommand != Subcommand::train || options.resume.empty()) return options;
  return continue_options(command, read_checkpoint(options.resume)).options;
}

int run(int& argc, char**& argv, const LaunchInfo& launch) {
  bool finished = false;
  CommandLine command;
  try {
    command = parse_command_line(argc, argv, finished);
  } catch (const Error& e) {
    const bool of_job = launch.ranks > 1 && argc > 1 && std::string(argv[1]) == "train";
    if (!of_job) throw;
    return refuse_to_start(argc, argv, launch, e);
  }
  if (finished) return 0;
  const RunOptions& options = command.options;
  setup_logging("cos2p", "", options.quiet);
  if (command.subcommand == Subcommand::plan) return run_plan(command);
  if (command.subcommand == Subcommand::inspect) return run_inspect(command);
  if (command.subcommand == Subcommand::replay) return run_replay(command);
  keep_freed_memory();
  const bool comparing = command.subcommand == Subcommand::compare;
  const RunOptions whole = launch.ranks == 1 ? continued(command) : options;
  const bool simulated = comparing || command.subcommand == Subcommand::simulate ||
                         (command.subcommand == Subcommand::train && launch.ranks == 1 &&
                          whole.transport == TransportKind::in_process);
  // A simulated run computes whole local rounds side by side, each by one thread, so that no bit depends on
  // the number of threads.
  choose_blas_and_threads(argv, simulated ? 1 : options.threads, launch.local_ranks);
  if (command.subcommand == Subcommand::evaluate) return run_evaluate(command);
  if (command.subcommand == Subcommand::doctor) return run_doctor(argc, argv, command, launch);
  if (command.subcommand == Subcommand::join) return run_join(command);
  if (simulated && launch.ranks == 1) return comparing ? run_compare(command) : run_simulate(command);
  if (simulated) {
    fail(ExitCode::usage,
         "{} under mpirun with {} ranks (it runs server and clients in one process), start it without "
         "mpirun, or "
         "train between processes with cos2p train",
         to_string(command.subcommand), launch.ranks);
  }
  if (launch.ranks == 1 && !whole.accept_joins) {
    fail(ExitCode::usage,
         "1 rank: a server needs at least one worker, start at least 2 ranks (mpi_launch/local.sh -n 4 -- "
         "train ...), let workers join (--accept-joins) or use --transport in-process");
  }
  if (options.transport == TransportKind::in_process) {
    fail(ExitCode::usage,
         "--transport in-process under mpirun with {} ranks (it runs server and clients in one process), "
         "start it without mpirun",
         launch.ranks);
  }
  const std::string environment = prepare_mpi_environment(launch);
  return run_train_ranks(argc, argv, command, environment);
}

}  // namespace
}  // namespace cos2p

int main(int argc, char** argv) {
  const cos2p::LaunchInfo launch = cos2p::launch_info();
  int code = static_cast<int>(cos2p::ExitCode::internal);
  const auto say = [&launch](const char* text) {
    if (launch.rank == 0)
      fmt::print(stderr, "cos2p: {}\n", text);  // the other ranks of a job make the same mistake
  };
  try {
    code = cos2p::run(argc, argv, launch);
  } catch (const cos2p::Error& e) {
    say(e.what());
    code = static_cast<int>(e.code());
  } catch (const std::bad_alloc&) {
    say("out of memory (the model, the data and the staging buffers do not fit), use a smaller model or "
        "fewer ranks on this machine");
    code = static_cast<int>(cos2p::ExitCode::environment);
  } catch (const std::exception& e) {
    say(e.what());
  }
  cos2p::record_exit_code(code);
  std::fflush(stdout);
  // Libraries' exit handlers could wait for ranks that are dead; everything of ours is closed by now.
  std::_Exit(code);
}
