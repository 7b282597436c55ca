#include "signals.hpp"

#include <unistd.h>

#include <csignal>

namespace cos2p {
namespace {

volatile std::sig_atomic_t stop_signals = 0;

void on_signal(int signal) {
  if (stop_signals != 0) {
    static constexpr char kText[] = "\ncos2p: second signal, ending at once; the last checkpoint is intact\n";
    [[maybe_unused]] const auto written = write(STDERR_FILENO, kText, sizeof kText - 1);
    _exit(128 + signal);
  }
  stop_signals = 1;
}

}  // namespace

void install_signal_handlers(bool is_worker) {
  struct sigaction action {};
  action.sa_handler = on_signal;
  sigemptyset(&action.sa_mask);
  action.sa_flags = SA_RESTART;
  sigaction(SIGTERM, &action, nullptr);
  if (is_worker) action.sa_handler = SIG_IGN;
  sigaction(SIGINT, &action, nullptr);
  // mpirun passes SIGUSR1 on to all ranks: `kill -USR1` of a bare mpirun ends its run in order.
  sigaction(SIGUSR1, &action, nullptr);
  std::signal(SIGPIPE, SIG_IGN);
}

bool stop_requested() {
  return stop_signals != 0;
}

}  // namespace cos2p
