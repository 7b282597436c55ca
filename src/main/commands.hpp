#pragma once

#include "cos2p/config/run_options.hpp"

namespace cos2p {

// One function per subcommand; each returns the program's exit code and throws Error.
int run_plan(const CommandLine& command);
int run_inspect(const CommandLine& command);
int run_evaluate(const CommandLine& command);
/// Server and all clients in this process, on a simulated clock (simulate, train --transport in-process).
int run_simulate(const CommandLine& command);
/// Runs of several methods, each in a process of its own, and their tables.
int run_compare(const CommandLine& command);
/// One rank of a job: the server on rank 0, a worker elsewhere.
int run_train_ranks(int& argc, char**& argv, const CommandLine& command, const std::string& environment);

}  // namespace cos2p
