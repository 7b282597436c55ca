#include "roster.hpp"

#include <algorithm>
#include <set>

#include "cos2p/support/narrow.hpp"

namespace cos2p {

Roster::Roster(std::vector<ClientTask> tasks, const std::function<int(ClientId)>& worker_of)
    : tasks_(std::move(tasks)) {
  std::set<int> workers;
  int seated = 0;
  for (const ClientTask& task : tasks_) {
    worker_.push_back(task.assignment.takes_part() ? worker_of(ClientId(task.client)) : 0);
    if (worker_.back() == 0) continue;
    workers.insert(worker_.back());
    ++seated;
  }
  if (!workers.empty()) usual_ = (seated + narrow<int>(workers.size()) - 1) / narrow<int>(workers.size());
}

std::vector<ClientTask> Roster::tasks_of(WorkerRank worker) const {
  std::vector<ClientTask> own;
  for (std::size_t c = 0; c < tasks_.size(); ++c) {
    if (worker_[c] == worker.value()) own.push_back(tasks_[c]);
  }
  return own;
}

std::vector<ClientId> Roster::clients_of(WorkerRank worker) const {
  std::vector<ClientId> clients;
  for (const ClientTask& task : tasks_of(worker)) clients.emplace_back(task.client);
  return clients;
}

std::vector<ClientId> Roster::free_clients() const {
  std::vector<ClientId> clients;
  for (std::size_t c = 0; c < tasks_.size(); ++c) {
    if (worker_[c] == 0 && tasks_[c].assignment.takes_part()) clients.emplace_back(tasks_[c].client);
  }
  return clients;
}

void Roster::set_task(const ClientTask& task) {
  ClientTask& own = tasks_[static_cast<std::size_t>(task.client)];
  const int next_round = std::max(own.next_round, task.next_round);
  own = task;
  own.next_round = next_round;
}

void Roster::add_newcomer(WorkerRank worker, int wanted) {
  wanted_[worker.value()] = wanted > 0 ? wanted : usual_;
}

void Roster::release(WorkerRank worker) {
  std::replace(worker_.begin(), worker_.end(), worker.value(), 0);
}

void Roster::release(ClientId client) {
  worker_[static_cast<std::size_t>(client.value())] = 0;
}

std::vector<Roster::Seat> Roster::fill_seats() {
  std::vector<Seat> seats;
  if (wanted_.empty()) return seats;
  for (const ClientId client : free_clients()) {
    int chosen = 0;
    std::size_t fewest = 0;
    for (const auto& [worker, wanted] : wanted_) {
      const auto has = static_cast<std::size_t>(std::count(worker_.begin(), worker_.end(), worker));
      if (has >= static_cast<std::size_t>(wanted) || (chosen != 0 && has >= fewest)) continue;
      chosen = worker;
      fewest = has;
    }
    if (chosen == 0) break;
    worker_[static_cast<std::size_t>(client.value())] = chosen;
    seats.push_back({client, WorkerRank(chosen)});
  }
  return seats;
}

}  // namespace cos2p
