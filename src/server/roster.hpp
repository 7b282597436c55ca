#pragma once

#include <functional>
#include <map>
#include <vector>

#include "cos2p/transport/channel.hpp"

namespace cos2p {

/// Which worker executes which client. Clients that nobody executes (open seats, and those of workers that
/// have gone) are for newcomers; whoever was there from the start keeps its own.
class Roster {
 public:
  /// `worker_of`: rank of a client's worker, 0 where its seat is open.
  Roster(std::vector<ClientTask> tasks, const std::function<int(ClientId)>& worker_of);

  std::vector<ClientId> clients_of(WorkerRank worker) const;
  std::vector<ClientTask> tasks_of(WorkerRank worker) const;
  bool executes(WorkerRank worker, std::int32_t client) const {
    return client >= 0 && static_cast<std::size_t>(client) < worker_.size() &&
           worker_[static_cast<std::size_t>(client)] == worker.value();
  }
  std::vector<ClientId> free_clients() const;
  /// A client's local round never goes back.
  void set_task(const ClientTask& task);

  /// `wanted`: clients that it would execute; 0 = as many as an average worker of the start.
  void add_newcomer(WorkerRank worker, int wanted);
  void remove_newcomer(WorkerRank worker) { wanted_.erase(worker.value()); }
  bool is_newcomer(WorkerRank worker) const { return wanted_.count(worker.value()) != 0; }
  void release(WorkerRank worker);
  void release(ClientId client);

  struct Seat {
    ClientId client;
    WorkerRank worker;
  };
  /// Gives free clients to newcomers that have room, the one that has fewest first.
  std::vector<Seat> fill_seats();

 private:
  std::vector<ClientTask> tasks_;  ///< by client
  std::vector<int> worker_;        ///< by client; 0 = nobody
  int usual_ = 1;                  ///< clients of an average worker
  std::map<int, int> wanted_;      ///< by newcomer
};

}  // namespace cos2p
