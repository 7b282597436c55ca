#pragma once

#include <spdlog/spdlog.h>

#include <cstdint>
#include <string>

namespace cos2p {

/// Sets up the one logger of the process: warnings and errors to standard error, everything to `file` when
/// given. `role` ("server", "worker 2") stands in front of every line. Use spdlog::info/warn/error
/// afterwards. A file that would exceed `limit` bytes (0 = none) begins anew, and its content is kept as one
/// more file (run.1.log).
void setup_logging(const std::string& role, const std::string& file, bool quiet_terminal,
                   std::int64_t limit = 0);

/// Prints a text of one or more lines on standard output, and writes it into the log's file.
void say(const std::string& text);
/// Writes the lines of a text into the log's file alone; nothing where there is none.
void record(const std::string& text);

/// Told by who has drawn a progress bar (standard output's last line, a terminal's): whatever is logged or
/// said next takes its place.
void progress_bar_stands();
/// Takes the progress bar away, if one stands.
void clear_progress_bar();

}  // namespace cos2p
