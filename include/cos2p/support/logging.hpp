#pragma once

#include <spdlog/spdlog.h>

#include <string>

namespace cos2p {

/// Sets up the one logger of the process: warnings and errors to standard error, everything to `file` when
/// given. `role` ("server", "worker 2") stands in front of every line. Use spdlog::info/warn/error
/// afterwards.
void setup_logging(const std::string& role, const std::string& file, bool quiet_terminal);

}  // namespace cos2p
