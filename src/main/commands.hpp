#pragma once

#include "cos2p/config/run_options.hpp"
#include "cos2p/support/error.hpp"
#include "cos2p/transport/mpi_runtime.hpp"

namespace cos2p {

// One function per subcommand; each returns the program's exit code and throws Error.
int run_plan(const CommandLine& command);
int run_inspect(const CommandLine& command);
int run_evaluate(const CommandLine& command);
/// Server and all clients in this process, on a simulated clock (simulate, train --transport in-process).
int run_simulate(const CommandLine& command);
/// Runs of several methods, each in a process of its own, and their tables.
int run_compare(const CommandLine& command);
/// Looks at this machine, or at every rank's. Ends with `environment` where a run could not work.
int run_doctor(int& argc, char**& argv, const CommandLine& command, const LaunchInfo& launch);
/// A worker that joins a run which goes on.
int run_join(const CommandLine& command);
/// Computes a run's merges again from its event log. Ends with `checkpoint` where a bit differs.
int run_replay(const CommandLine& command);
/// One rank of a job: the server on rank 0, a worker elsewhere.
int run_train_ranks(int& argc, char**& argv, const CommandLine& command, const std::string& environment);
/// Of a rank whose own options or environment cannot be: the others of its job are told, and end with it.
int refuse_to_start(int& argc, char**& argv, const LaunchInfo& launch, const Error& error);

}  // namespace cos2p
