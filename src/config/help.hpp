#pragma once

#include <string>

#include "cos2p/config/run_options.hpp"

namespace cos2p::config {

/// `cos2p --help`: subcommands, where options come from, exit codes.
std::string program_help();
/// `cos2p train --help`: every option with its default.
std::string subcommand_help(Subcommand subcommand);

}  // namespace cos2p::config
