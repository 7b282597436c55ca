#pragma once

namespace cos2p {

/// Ctrl-C and SIGTERM ask for an orderly end; a second one ends the process at once (the last checkpoint
/// stays intact, since checkpoints are renamed into place). A worker of a job ignores Ctrl-C: its server
/// tells it when to stop.
void install_signal_handlers(bool is_worker);
bool stop_requested();

}  // namespace cos2p
