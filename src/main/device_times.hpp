#pragma once

#include <vector>

#include "cos2p/support/typed_id.hpp"
#include "experiment.hpp"

namespace cos2p {

/// Seconds that each client's device needs, predicted from its profile, the cost of its submodel and the
/// length of its local rounds; docs/simulation.md has the formulas. A simulated run takes them for its clock,
/// a run between processes can sleep until they have passed (--emulate-speeds).
class DeviceTimes {
 public:
  /// `speeds`: factor of the device's FLOP/s for each client, in turn.
  DeviceTimes(const Experiment& experiment, const std::vector<double>& speeds);

  /// The client trains this from now on; the plan of the start before.
  void set_assignment(const Experiment& experiment, ClientId client, const Assignment& assignment);

  /// Of the optimizer steps of local round `index`; the last batch of each pass over the data may be smaller.
  double compute_s(ClientId client, int index, int steps) const;
  /// Of choosing units with the client's data before local round `index`; 0 where it does not.
  double choice_s(ClientId client, int index) const;
  /// Of the values pulled and pushed in local round `index`.
  double transfer_s(ClientId client, int index) const;
  /// Bytes pulled in local round `index`.
  std::int64_t pull_bytes(ClientId client, int index) const;

 private:
  struct Device {
    Assignment assignment;
    double flops = 0;  ///< a second
    double link = 0;
    std::vector<PlanCost> windows;  ///< in turn; one where the submodel does not roll
    MaskPhase choice;
    std::int64_t samples = 0;
  };
  const Device& of(ClientId client) const { return devices_[static_cast<std::size_t>(client.value())]; }
  static const PlanCost& window(const Device& device, int index) {
    return device.windows[static_cast<std::size_t>(index) % device.windows.size()];
  }
  std::int64_t batch_size_;
  WidthOptions width_;
  std::vector<Device> devices_;
};

/// Gives clients whose budget names no device that of --profile.
void set_default_device(Experiment& experiment);

}  // namespace cos2p
