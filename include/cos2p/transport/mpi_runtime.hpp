#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "cos2p/transport/channel.hpp"

namespace cos2p {

/// How this process was launched, read from the launcher's environment before MPI starts (1 rank where there is none).
struct LaunchInfo {
  int rank = 0, ranks = 1;
  int local_rank = 0, local_ranks = 1;
  bool several_hosts() const { return local_ranks < ranks; }
};
LaunchInfo launch_info();

/// Sets the Open MPI parameters that one-sided channels need on this version and fabric, unless the user set them.
/// Must run before MPI_Init. Returns one line that says what was chosen and why.
std::string prepare_mpi_environment(const LaunchInfo& launch);

/// MPI for one process: initialised FUNNELED, only the constructing thread calls MPI.
class MpiRuntime {
 public:
  MpiRuntime(int& argc, char**& argv);
  ~MpiRuntime();  ///< finalizes only where finish() has not been called
  MpiRuntime(const MpiRuntime&) = delete;
  MpiRuntime& operator=(const MpiRuntime&) = delete;

  int rank() const;
  int size() const;
  std::string host() const;
  std::string library_version() const;           ///< "Open MPI 4.1.4"
  std::vector<std::string> hosts() const;        ///< per rank; collective at construction

  /// Ends this process's use of MPI. With `everybody_alive` MPI_Finalize runs; otherwise it would wait for the dead, so
  /// the process must end by quick_exit afterwards. Never hangs.
  void finish(bool everybody_alive);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// All channels of the server. Creation is collective per {server, worker} pair, in rank order.
class RmaServerFabric {
 public:
  RmaServerFabric(MpiRuntime& mpi, ModelStore& store, RingOptions options, int max_tasks);
  ~RmaServerFabric();
  std::vector<std::unique_ptr<ServerChannel>>& channels();  ///< one per worker, worker rank 1 first
  /// Lets MPI move data that arrives as messages (TCP); call it in every turn of the server's loop.
  void progress();
  std::string one_sided_component() const;  ///< as tried at start: "osc/sm", "osc/pt2pt over TCP"

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// The worker's end of its channel; `idle` as in WorkerChannel.
class RmaWorkerFabric {
 public:
  RmaWorkerFabric(MpiRuntime& mpi, const SegmentTable& table, RingOptions options, int max_tasks, WorkerChannel::Idle idle);
  ~RmaWorkerFabric();
  WorkerChannel& channel();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace cos2p
