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

  /// Of the optimizer steps of a local round; the last batch of each pass over the data may be smaller.
  double compute_s(ClientId client, int steps) const;
  /// Of the values pulled and pushed in a local round.
  double transfer_s(ClientId client) const;

 private:
  struct Device {
    double seconds_per_sample = 0, link = 0;
    double bytes = 0;  ///< pulled and pushed in a local round
    std::int64_t samples = 0;
  };
  const Device& of(ClientId client) const { return devices_[static_cast<std::size_t>(client.value())]; }
  std::int64_t batch_size_;
  std::vector<Device> devices_;
};

/// Gives clients whose budget names no device that of --profile.
void set_default_device(Experiment& experiment);

}  // namespace cos2p
