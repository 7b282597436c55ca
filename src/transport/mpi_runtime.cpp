#include "cos2p/transport/mpi_runtime.hpp"

#include <fcntl.h>
#include <mpi.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "cos2p/support/error.hpp"
#include "cos2p/support/machine.hpp"
#include "cos2p/transport/mpi_call.hpp"
#include "mpi_help.hpp"
#include "mpi_runtime_state.hpp"
#include "mpi_version.hpp"

namespace cos2p {

namespace {

constexpr std::size_t kHostBytes = 256;

double start_limit_s() {
  const char* text = std::getenv("COS2P_MPI_START_TIMEOUT");
  const double seconds = text == nullptr ? 0 : std::atof(text);
  return seconds > 0 ? seconds : 120;
}

// Writes beside the file and renames, so that a launcher never reads half a number. System calls only.
void write_number(const char* path, long number) noexcept {
  char text[24], aside[4096];
  const int digits = std::snprintf(text, sizeof(text), "%ld\n", number);
  if (std::snprintf(aside, sizeof(aside), "%s.new", path) >= static_cast<int>(sizeof(aside))) return;
  const int file = open(aside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (file < 0) return;
  const bool whole = write(file, text, static_cast<std::size_t>(digits)) == digits;
  close(file);
  if (whole) static_cast<void>(std::rename(aside, path));
}

}  // namespace

void record_exit_code(int code) noexcept {
  const char* path = std::getenv("COS2P_EXIT_CODE_FILE");
  if (path != nullptr && launch_info().rank == 0) write_number(path, code);
}

MpiRuntime::MpiRuntime(int& argc, char**& argv) : state_(std::make_unique<State>()) {
  State& s = *state_;
  // Open MPI writes to the socket of a peer that was killed: without this the survivor dies of it.
  std::signal(SIGPIPE, SIG_IGN);
  s.launch = launch_info();
  s.version = mpi_library_version();
  const char* pid_file = std::getenv("COS2P_SERVER_PID_FILE");
  if (pid_file != nullptr && s.launch.rank == 0) write_number(pid_file, getpid());
  const double limit = start_limit_s();
  s.watchdog.set_verdict(
      "MPI does not start (MPI_Init of rank " + std::to_string(s.launch.rank) + " on host " + host_name() +
          " has not returned for " + std::to_string(static_cast<int>(limit)) +
          " s), check that the hosts reach each other (OMPI_MCA_btl_tcp_if_include=SUBNET chooses the "
          "network) or set COS2P_MPI_START_TIMEOUT to more seconds",
      static_cast<int>(ExitCode::environment));
  {
    const Watchdog::Watch watch(&s.watchdog, limit);
    int provided = MPI_THREAD_SINGLE;
    COS2P_MPI(MPI_Init_thread, &argc, &argv, MPI_THREAD_FUNNELED, &provided);
    print_mpi_help_here(s.version);
    COS2P_MPI(MPI_Comm_set_errhandler, MPI_COMM_WORLD, MPI_ERRORS_RETURN);
    COS2P_MPI(MPI_Comm_set_errhandler, MPI_COMM_SELF, MPI_ERRORS_RETURN);
    if (provided < MPI_THREAD_FUNNELED) {
      fail(ExitCode::environment,
           "{} gives thread level {} only (FUNNELED, {}, is needed: other threads compute while one calls "
           "MPI), use an MPI built with threads",
           s.version, provided, int{MPI_THREAD_FUNNELED});
    }
    COS2P_MPI(MPI_Comm_rank, MPI_COMM_WORLD, &s.rank);
    COS2P_MPI(MPI_Comm_size, MPI_COMM_WORLD, &s.size);
    std::vector<char> names(kHostBytes * static_cast<std::size_t>(s.size));
    char own[kHostBytes] = {};
    std::snprintf(own, sizeof(own), "%s", host_name().c_str());
    COS2P_MPI(MPI_Allgather, own, kHostBytes, MPI_CHAR, names.data(), kHostBytes, MPI_CHAR, MPI_COMM_WORLD);
    for (int r = 0; r < s.size; ++r)
      s.hosts.emplace_back(names.data() + kHostBytes * static_cast<std::size_t>(r));
  }
}

MpiRuntime::~MpiRuntime() {
  // After an exception other ranks may be stranded anywhere: MPI_Finalize would wait for them for ever.
  if (!state_->finished && std::uncaught_exceptions() == 0) finish(true);
}

int MpiRuntime::rank() const {
  return state_->rank;
}
int MpiRuntime::size() const {
  return state_->size;
}
std::string MpiRuntime::host() const {
  return state_->hosts[static_cast<std::size_t>(state_->rank)];
}
std::string MpiRuntime::library_version() const {
  return state_->version;
}
std::vector<std::string> MpiRuntime::hosts() const {
  return state_->hosts;
}
const LaunchInfo& MpiRuntime::launch() const {
  return state_->launch;
}

void MpiRuntime::finish(bool everybody_alive, int exit_code) {
  State& s = *state_;
  if (s.finished) return;
  s.finished = true;
  record_exit_code(exit_code);
  if (everybody_alive && !s.launch.recovery_enabled) MPI_Finalize();
}

void MpiRuntime::abort(int exit_code) {
  record_exit_code(exit_code);
  if (!state_->launch.recovery_enabled) MPI_Abort(MPI_COMM_WORLD, exit_code);
  std::_Exit(exit_code);
}

}  // namespace cos2p
