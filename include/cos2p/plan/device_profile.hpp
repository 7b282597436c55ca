#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace cos2p {

/// What a device can do, as far as planning needs it.
struct DeviceProfile {
  std::string name;          ///< "orin-nano"
  std::string description;   ///< "Jetson Orin Nano 8GB"
  double flops = 0;          ///< usable float32 FLOP/s in training (a share of the data sheet's peak)
  std::uint64_t memory = 0;  ///< bytes of (shared) memory
  double bandwidth = 0;      ///< memory bandwidth, bytes/s
  double link = 0;           ///< network, bytes/s
};

/// jetson-nano, tx2, xavier-nx, agx-xavier, orin-nano, orin-nx, agx-orin, and "cpu" (this machine).
const std::vector<DeviceProfile>& device_profiles();
/// Throws Error(usage) listing the known names.
const DeviceProfile& find_device_profile(const std::string& name);

/// Bytes of a device's memory that a training step may take: 90 % of it, less 1.5 GiB for the system and the
/// program.
std::uint64_t usable_memory(const DeviceProfile& device);

}  // namespace cos2p
