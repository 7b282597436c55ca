#include "worker_life.hpp"

#include <algorithm>
#include <chrono>
#include <thread>

namespace cos2p {

void WorkerLife::nap() {
  std::this_thread::sleep_for(std::chrono::duration<double>(kPollSeconds));
}

bool WorkerLife::end(WorkerEnd how) {
  ended_ = true;
  end_ = how;
  return false;
}

bool WorkerLife::look(bool alive) {
  if (alive) channel_.heartbeat();
  notice_ = channel_.read_notice();
  looked_ = monotonic_seconds();
  if (notice_.phase == Notice::Phase::stopping) return end(WorkerEnd::run_ended);
  if (notice_.phase == Notice::Phase::excluded) return end(WorkerEnd::excluded);
  if (channel_.server_silence_s() > options_.server_timeout_s) return end(WorkerEnd::server_gone);
  if (options_.stop_requested && options_.stop_requested()) return end(WorkerEnd::left);
  return true;
}

bool WorkerLife::await_start() {
  while (look() && notice_.phase == Notice::Phase::starting) nap();
  return !ended_;
}

void WorkerLife::read_tasks_if_changed() {
  if (notice_.tasks == tasks_read_) return;
  std::vector<Task> tasks;
  for (const ClientTask& told : channel_.read_tasks()) {
    const auto had = std::find_if(tasks_.begin(), tasks_.end(),
                                  [&](const Task& task) { return task.task.client == told.client; });
    tasks.push_back(had == tasks_.end() ? Task{told, told.next_round, -1} : *had);
    tasks.back().task.assignment = told.assignment;
  }
  tasks_ = std::move(tasks);
  tasks_read_ = notice_.tasks;
}

std::size_t WorkerLife::next_task(std::size_t turn) const {
  for (std::size_t i = 0; i < tasks_.size(); ++i) {
    const std::size_t task = (turn + i) % tasks_.size();
    if (notice_.lockstep == 0 || tasks_[task].started_in != notice_.round) return task;
  }
  return tasks_.size();
}

void WorkerLife::wait_for_task() const {
  if (tasks_.empty()) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  } else {
    nap();
  }
}

WorkerEnd WorkerLife::finish() {
  if (end_ != WorkerEnd::server_gone) channel_.close();
  return end_;
}

}  // namespace cos2p
