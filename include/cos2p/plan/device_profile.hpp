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
/// One of these, or one written out (profile_text()). Throws Error(usage) listing the known names.
DeviceProfile find_device_profile(const std::string& name);

/// A profile that stands in no list, in one word without commas:
/// "NAME:flops=...;memory=...;bandwidth=...;link=..." What options, checkpoints and other ranks hold in place
/// of a file.
std::string profile_text(const DeviceProfile& profile);
/// A profile as `cos2p doctor --calibrate` writes it (JSON). Throws Error(usage) naming the file and what is
/// wrong with it; write_device_profile Error(environment).
DeviceProfile read_device_profile(const std::string& path);
void write_device_profile(const std::string& path, const DeviceProfile& profile);
/// "board.json", as an option's value, becomes its profile_text(); anything else stays as it is.
std::string resolve_profile_file(const std::string& text);

/// Bytes of a device's memory that a training step may take: 90 % of it, less 1.5 GiB for the system and the
/// program.
std::uint64_t usable_memory(const DeviceProfile& device);

}  // namespace cos2p
