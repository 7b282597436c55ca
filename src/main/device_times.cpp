#include "device_times.hpp"

#include <algorithm>

#include "cos2p/support/narrow.hpp"

namespace cos2p {

DeviceTimes::DeviceTimes(const Experiment& experiment, const std::vector<double>& speeds)
    : batch_size_(experiment.options.local.batch_size) {
  for (std::size_t c = 0; c < static_cast<std::size_t>(experiment.clients); ++c) {
    const PlanCost& cost = experiment.fleet.costs[c];
    const DeviceProfile& profile = experiment.fleet.budgets[c].device;
    Device device;
    device.seconds_per_sample =
        cost.step_flops / static_cast<double>(batch_size_) / (profile.flops * speeds[c % speeds.size()]);
    device.link = experiment.options.simulation.link > 0 ? experiment.options.simulation.link : profile.link;
    device.bytes = static_cast<double>(cost.pull_bytes + cost.push_bytes);
    device.samples = narrow<std::int64_t>(experiment.partition[c].size());
    devices_.push_back(device);
  }
}

double DeviceTimes::compute_s(ClientId client, int steps) const {
  const Device& device = of(client);
  const std::int64_t steps_per_pass =
      std::max<std::int64_t>(1, (device.samples + batch_size_ - 1) / batch_size_);
  const std::int64_t passes = steps / steps_per_pass, rest = steps % steps_per_pass;
  const std::int64_t samples = passes * device.samples + std::min(rest * batch_size_, device.samples);
  return device.seconds_per_sample * static_cast<double>(samples);
}

double DeviceTimes::transfer_s(ClientId client) const {
  return of(client).bytes / of(client).link;
}

void set_default_device(Experiment& experiment) {
  const std::string& name = experiment.options.simulation.profile;
  for (ClientBudget& budget : experiment.fleet.budgets) {
    // A budget that names no device was given this machine's profile.
    if (budget.device.name == "cpu" && budget.text != "cpu") budget.device = find_device_profile(name);
  }
}

}  // namespace cos2p
