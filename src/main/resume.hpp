#pragma once

#include <string>

#include "cos2p/checkpoint/checkpoint.hpp"
#include "cos2p/config/run_options.hpp"

namespace cos2p {

/// What a job of several processes goes on from: the checkpoint in a file, or the newest of a directory;
/// where the directory has an event log that goes further (the server was killed), what that leads to, with a
/// line that says so. Throws as read_checkpoint().
Checkpoint resumed_state(const std::string& path);

/// The options of a resumed run: those recorded in the checkpoint, with what the user gave now in their
/// place. The output goes on where the checkpoint lies, unless --output was given.
CommandLine continue_options(const CommandLine& given, const Checkpoint& checkpoint);

/// The server's options (as TOML) on a worker, with the worker's own where they belong to its machine:
/// --data-dir, --device,
/// --threads, --quiet.
CommandLine adopt_options(const std::string& server_toml, const CommandLine& given);

/// What an evaluation reads: the data set that was named, or that of the checkpoint's run with what was named
/// beside it.
DatasetOptions evaluation_dataset(const CommandLine& given, const Checkpoint& checkpoint);

}  // namespace cos2p
