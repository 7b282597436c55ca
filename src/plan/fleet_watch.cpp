#include "cos2p/plan/fleet_watch.hpp"

#include <algorithm>
#include <cmath>

namespace cos2p {

FleetWatch::FleetWatch(const SegmentTable& table, const TrainingShape& training, const FleetPlan& start,
                       double speed_change)
    : table_(table),
      training_(training),
      start_(start),
      speed_change_(speed_change),
      clients_(start.assignments.size()),
      limits_(start.assignments.size()) {
  for (std::size_t c = 0; c < clients_.size(); ++c) set_assignment(c, start.assignments[c]);
}

void FleetWatch::begin_plan(const std::vector<Assignment>& assignments) {
  for (std::size_t c = 0; c < clients_.size(); ++c) {
    if (!(clients_[c].assignment == assignments[c])) set_assignment(c, assignments[c]);
  }
}

void FleetWatch::forget(ClientId client) {
  const auto c = static_cast<std::size_t>(client.value());
  const Assignment assignment = clients_.at(c).assignment;
  limits_[c] = {};
  clients_[c] = {};
  set_assignment(c, assignment);
}

void FleetWatch::set_assignment(std::size_t client, const Assignment& assignment) {
  Client fresh;
  fresh.assignment = assignment;
  fresh.pace = clients_[client].pace;
  fresh.start_flops = clients_[client].start_flops;
  if (assignment.takes_part()) {
    TrainingShape shape = training_;
    shape.micro_batch = choose_micro_batch(table_, training_, assignment, start_.budgets[client]);
    fresh.needed_memory = static_cast<double>(largest_cost(table_, assignment, shape).memory.total());
  }
  clients_[client] = fresh;
}

bool FleetWatch::Measured::add(double time_s, double value) {
  // So that there are not more than a hundred, however short rounds are.
  if (!values_.empty() && time_s - values_.back().first < kSeconds / 100) return false;
  values_.push_back({time_s, value});
  const auto enough_without_oldest = [this] {
    return values_.size() > kRounds && values_.back().first - values_[1].first >= kSeconds;
  };
  while (enough_without_oldest()) values_.pop_front();
  return values_.size() >= kRounds && values_.back().first - values_.front().first >= kSeconds;
}

double FleetWatch::Measured::median() const {
  std::vector<double> sorted;
  for (const auto& [time_s, value] : values_) sorted.push_back(value);
  const auto middle = sorted.begin() + static_cast<std::ptrdiff_t>(sorted.size() / 2);
  std::nth_element(sorted.begin(), middle, sorted.end());
  return *middle;
}

bool FleetWatch::observe(const Observation& seen) {
  const auto c = static_cast<std::size_t>(seen.client.value());
  Client& client = clients_.at(c);
  if (!client.assignment.takes_part() || seen.steps < 1) return false;
  if (client.settling > 0) {
    --client.settling;
    return false;
  }
  bool changed = false;
  if (seen.free_memory > 0 && client.free.add(seen.time_s, static_cast<double>(seen.free_memory)))
    changed = judge_memory(client, limits_[c], static_cast<double>(start_.costs[c].memory.total()));
  if (speed_change_ > 0 && seen.compute_s > 0) {
    const Assignment window = window_at(table_, client.assignment, seen.local_round);
    const double flops = estimate_cost(table_, window, training_).step_flops *
                         static_cast<double>(seen.steps) / seen.compute_s;
    if (client.flops.add(seen.time_s, flops))
      changed = judge_speed(client, limits_[c], start_.assignments[c], start_.costs[c].step_flops) || changed;
  }
  if (changed) {  // the next reports are of rounds that have begun already
    client.settling = kSettling;
    client.flops = client.free = {};
    client.first_flops = 0;
  }
  return changed;
}

// The pace is that of the moment when the present plan was made, times what has changed since: FLOP/s of two
// submodels do not compare two devices, as narrow submodels do fewer on the same one. For the same reason the
// pace is not below what the FLOP/s of the start and of a smaller submodel say. With the submodel of the
// start it is what these two say.
bool FleetWatch::judge_speed(Client& client, MeasuredLimit& limit, const Assignment& start_assignment,
                             double step_flops) const {
  const double present = client.flops.median();
  const bool as_at_start = client.assignment == start_assignment;
  if (client.start_flops == 0 && as_at_start) client.start_flops = present;
  if (client.first_flops == 0) client.first_flops = present;
  const double against_start = client.start_flops > 0 ? present / client.start_flops : 0;
  double pace = client.pace * present / client.first_flops;
  if (as_at_start) pace = against_start;
  if (client.pace < 1) pace = std::max(pace, against_start);
  const bool slower = pace * speed_change_ <= client.pace;
  // Half-way between slow and as fast as at first: a small submodel does not show all that a device can do.
  const double as_at_first = 1 / std::sqrt(speed_change_);
  const bool faster = client.pace < 1 && pace >= std::min(client.pace * speed_change_, as_at_first);
  if (!slower && !faster) return false;
  client.pace = pace >= as_at_first ? 1 : pace;
  limit.step_flops = client.pace < 1 ? client.pace * step_flops : HUGE_VAL;
  return true;
}

bool FleetWatch::judge_memory(const Client& client, MeasuredLimit& limit, double start_need) const {
  constexpr double kReserve = 0.9, kGrowth = 1.5;
  const double free = client.free.median();
  const bool short_of_it = free < client.needed_memory;
  // Also where all that the start's submodel needs is there: a little more than that may be all there ever
  // is.
  const double enough = std::min(kGrowth * static_cast<double>(limit.memory), start_need);
  const bool grown = limit.memory != INT64_MAX && static_cast<double>(limit.memory) < start_need &&
                     kReserve * free >= enough;
  if (!short_of_it && !grown) return false;
  const MeasuredLimit before = limit;
  limit.memory = static_cast<std::int64_t>(kReserve * free);
  return !(limit == before);
}

}  // namespace cos2p
