#include "device_times.hpp"

#include <algorithm>

#include "cos2p/support/narrow.hpp"

namespace cos2p {
namespace {

/// The cost of an average step: with ordered dropout, of a width drawn from the ladder.
PlanCost average_cost(const Experiment& experiment, const Assignment& window) {
  PlanCost cost = estimate_cost(*experiment.table, window, experiment.training);
  const LocalTrainingOptions& local = experiment.options.local;
  const std::vector<Assignment> ladder = dropout_ladder(experiment.model, window, local.ordered_dropout);
  double drawn = local.ordered_dropout_distillation ? 0 : cost.step_flops;
  for (std::size_t i = 0; i + 1 < ladder.size(); ++i)
    drawn += estimate_cost(*experiment.table, ladder[i], experiment.training).step_flops;
  const double mean = drawn / static_cast<double>(ladder.size());
  cost.step_flops = local.ordered_dropout_distillation ? cost.step_flops + mean : mean;
  return cost;
}

}  // namespace

DeviceTimes::DeviceTimes(const Experiment& experiment, const std::vector<double>& speeds)
    : batch_size_(experiment.options.local.batch_size), width_(experiment.options.width) {
  for (std::size_t c = 0; c < static_cast<std::size_t>(experiment.clients); ++c) {
    const DeviceProfile& profile = experiment.fleet.budgets[c].device;
    Device device;
    device.flops = profile.flops * speeds[c % speeds.size()];
    device.link = experiment.options.simulation.link > 0 ? experiment.options.simulation.link : profile.link;
    device.samples = narrow<std::int64_t>(experiment.partition[c].size());
    devices_.push_back(device);
    set_assignment(experiment, ClientId(narrow<std::int32_t>(c)), experiment.fleet.assignments[c]);
  }
}

void DeviceTimes::set_assignment(const Experiment& experiment, ClientId client,
                                 const Assignment& assignment) {
  Device& device = devices_.at(static_cast<std::size_t>(client.value()));
  if (!device.windows.empty() && device.assignment == assignment) return;
  device.assignment = assignment;
  device.windows.clear();
  device.choice = {};
  if (!assignment.takes_part()) {
    device.windows.emplace_back();
    return;
  }
  const SegmentTable& table = *experiment.table;
  for (int round = 0; round < window_count(table, assignment); ++round)
    device.windows.push_back(average_cost(experiment, window_at(table, assignment, round)));
  TrainingShape training = experiment.training;
  training.micro_batch = micro_batches_of(experiment)(client, assignment);
  if (needs_data(width_.rule)) device.choice = plan_mask_phase(table, assignment, training);
}

double DeviceTimes::compute_s(ClientId client, int index, int steps) const {
  const Device& device = of(client);
  const std::int64_t steps_per_pass =
      std::max<std::int64_t>(1, (device.samples + batch_size_ - 1) / batch_size_);
  const std::int64_t passes = steps / steps_per_pass, rest = steps % steps_per_pass;
  const std::int64_t samples = passes * device.samples + std::min(rest * batch_size_, device.samples);
  return window(device, index).step_flops / static_cast<double>(batch_size_) / device.flops *
         static_cast<double>(samples);
}

double DeviceTimes::choice_s(ClientId client, int index) const {
  const Device& device = of(client);
  return width_.chooses_at(index) ? device.choice.step_flops * width_.mask_steps / device.flops : 0;
}

double DeviceTimes::transfer_s(ClientId client, int index) const {
  const Device& device = of(client);
  const PlanCost& cost = window(device, index);
  return static_cast<double>(cost.pull_bytes + cost.push_bytes) / device.link;
}

std::int64_t DeviceTimes::pull_bytes(ClientId client, int index) const {
  return window(of(client), index).pull_bytes;
}

void set_default_device(Experiment& experiment) {
  const std::string& name = experiment.options.simulation.profile;
  for (ClientBudget& budget : experiment.fleet.budgets) {
    // A budget that names no device was given this machine's profile.
    if (budget.device.name == "cpu" && budget.text != "cpu") budget.device = find_device_profile(name);
  }
}

}  // namespace cos2p
