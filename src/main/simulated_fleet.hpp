#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "cos2p/server/server_core.hpp"
#include "cos2p/server/staging_pool.hpp"
#include "cos2p/transport/in_process.hpp"
#include "device_times.hpp"
#include "round_executors.hpp"

namespace cos2p {

/// The clients of a run in one process, on a simulated clock. Deterministic: events are taken by (time, kind,
/// client), and every draw is named by the seed, the client and the round or the time, not by the order of
/// calls. A local round starts from the model as it is at its start, is computed beside others, and is
/// delivered when the client's device would have finished. One thread at a time.
class SimulatedFleet {
 public:
  /// All of them must outlive it.
  SimulatedFleet(const Experiment& experiment, ModelStore& store, ServerCore& core, StagingPool& pool,
                 RoundExecutors& executors);
  ~SimulatedFleet();

  /// The first clients start, in a run that is not resumed.
  void begin_run();
  double now_s() const { return now_s_; }
  /// Takes the next event. False where nothing can happen any more, or the run was asked to stop.
  bool step();
  /// A server round closed: in lockstep the clients of the next one start.
  void round_closed();

  /// Waits for the rounds that are being computed; what was interrupted starts again after a resume.
  void save(Checkpoint& checkpoint);
  void restore(const Checkpoint& checkpoint);

 private:
  struct Flight;
  struct Client;
  class Sink;
  enum class Event { none, deadline, delivery, back, start };

  Event next_event(double& when, int& client) const;
  void begin(int client, double start_s);
  bool deliver(int client);
  bool computed(int client);
  void lose_round(int client, double start_s);
  void come_back(int client);
  void enlist(int client);
  void bench(int client);
  void choose_for_round();
  void replace(int client);
  std::vector<int> idle_clients() const;
  int taking_part() const;
  bool lockstep() const;
  ServerCore& settled();

  const Experiment& experiment_;
  ServerCore& core_;
  RoundExecutors& executors_;
  const DeviceTimes times_;
  const SimulationOptions& simulation_;
  const int places_;  ///< clients that take part at a time
  double now_s_ = 0;
  std::unique_ptr<Sink> sink_;
  std::unique_ptr<InProcessChannel> channel_;  ///< one for all: a message's header says whose it is
  std::vector<Client> clients_;
};

}  // namespace cos2p
