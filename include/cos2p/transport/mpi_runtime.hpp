#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "cos2p/transport/channel.hpp"

namespace cos2p {

/// How this process was launched, read from the launcher's environment before MPI starts (1 rank where there
/// is none).
struct LaunchInfo {
  int rank = 0, ranks = 1;
  int local_rank = 0, local_ranks = 1;
  /// False: mpirun ends the whole job when one rank dies (it was not started with --enable-recovery), so
  /// every rank that is left must end through MPI_Finalize. True: ranks may die, and mpirun's own exit status
  /// says nothing.
  bool recovery_enabled = false;
  bool several_hosts() const { return local_ranks < ranks; }
};
LaunchInfo launch_info();
/// "Open MPI 4.1.4"; allowed before MPI starts.
std::string mpi_library_version();

/// Sets the Open MPI parameters that one-sided channels need on this version and fabric, unless the user set
/// them. Must run before MPI_Init. Returns one line that says what was chosen and why.
std::string prepare_mpi_environment(const LaunchInfo& launch);

/// What a launcher wants to know, in files that it names in the environment (COS2P_EXIT_CODE_FILE,
/// COS2P_SERVER_PID_FILE): the server's exit code, because under --enable-recovery mpirun returns 0 whatever
/// happens, and the process to signal. Does nothing in other ranks, or where no file is asked for.
/// Async-signal-safe.
void record_exit_code(int code) noexcept;

/// MPI for one process: initialised FUNNELED, only the constructing thread calls MPI.
class MpiRuntime {
 public:
  /// Throws Error(environment) where MPI cannot give FUNNELED; ends the process in words where MPI_Init does
  /// not return within COS2P_MPI_START_TIMEOUT seconds (120).
  MpiRuntime(int& argc, char**& argv);
  ~MpiRuntime();  ///< finalizes only where finish() has not been called
  MpiRuntime(const MpiRuntime&) = delete;
  MpiRuntime& operator=(const MpiRuntime&) = delete;

  int rank() const;
  int size() const;
  std::string host() const;
  std::string library_version() const;     ///< "Open MPI 4.1.4"
  std::vector<std::string> hosts() const;  ///< per rank; collective at construction
  const LaunchInfo& launch() const;

  /// Ends this process's use of MPI and records `exit_code` for the launcher. MPI_Finalize runs where
  /// recovery is disabled and everybody lives: mpirun takes any other end for a crash and kills the rest.
  /// Where recovery is enabled it never runs: with a dead rank in the job it does not return, and neither
  /// does mpirun. The process must end by std::_Exit afterwards.
  void finish(bool everybody_alive, int exit_code = 0);

  /// Ends this process at once, and with it the job where recovery is disabled. For errors that strand the
  /// other ranks.
  [[noreturn]] void abort(int exit_code);

 private:
  friend class RmaServerFabric;
  friend class RmaWorkerFabric;
  struct State;
  std::unique_ptr<State> state_;
};

/// All channels of the server. Creation is collective per {server, worker} pair, in rank order; each pair
/// tries its fabric before anything depends on it. A fabric that cannot put and get is refused within 10 s:
/// by Error(environment) where MPI reports it, by a message and exit code 6 where it hangs.
class RmaServerFabric {
 public:
  RmaServerFabric(MpiRuntime& mpi, ModelStore& store, RingOptions options, int max_tasks);
  ~RmaServerFabric();  ///< leaves the windows as they are: freeing them would wait for workers that may be
                       ///< dead
  RmaServerFabric(const RmaServerFabric&) = delete;
  RmaServerFabric& operator=(const RmaServerFabric&) = delete;
  std::vector<std::unique_ptr<ServerChannel>>& channels();  ///< one per worker, worker rank 1 first
  /// Lets MPI move data that arrives as messages (TCP); call it in every turn of the server's loop. Where
  /// puts are messages and slots have come in the last few milliseconds it stays, for as long, until the next
  /// one is there: a loop that slept instead would hold up the sender. Elsewhere it returns at once.
  void progress();
  std::string one_sided_component()
      const;  ///< as tried at start: "osc/sm (shared memory)", "osc/pt2pt (messages)"
  /// Frees all windows; collective per pair, so only where everybody is alive and calls it.
  void release();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// The worker's end of its channel; `idle` as in WorkerChannel. A call into MPI that does not return within
/// RingOptions::silence_s (the server's host has gone) ends the process in words with exit code 5.
class RmaWorkerFabric {
 public:
  RmaWorkerFabric(MpiRuntime& mpi, const SegmentTable& table, RingOptions options, int max_tasks,
                  WorkerChannel::Idle idle);
  ~RmaWorkerFabric();
  RmaWorkerFabric(const RmaWorkerFabric&) = delete;
  RmaWorkerFabric& operator=(const RmaWorkerFabric&) = delete;
  WorkerChannel& channel();
  void release();  ///< as RmaServerFabric::release()

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace cos2p
