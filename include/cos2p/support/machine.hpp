#pragma once

#include <cstdint>
#include <string>

namespace cos2p {

/// What the system tells about the machine this process runs on. Nothing here fails: what is not known is
/// empty or 0.
struct Machine {
  std::string host;
  std::string architecture;  ///< "x86_64, little endian"
  std::string cpu;           ///< "Intel Xeon ..."
  std::string board;         ///< of the device tree: "NVIDIA Jetson Orin Nano ..."; empty elsewhere
  std::string gpu_driver;    ///< "550.54.15"; of a Jetson its release ("L4T R36.3"); empty without one
  std::uint64_t memory = 0, available = 0, swap = 0;  ///< bytes; `memory` is a container's where one is set
};
/// `root` stands in front of /proc, /sys and /etc, for tests.
Machine describe_machine(const std::string& root = "");

/// This host's name.
std::string host_name();
/// "little" or "big": of this machine.
const char* byte_order();
/// Bytes that may still be written where `path` lies; 0 where that cannot be told.
std::uint64_t free_disk_bytes(const std::string& path);
/// Seconds since 1970 of the wall clock.
double wall_clock_seconds();

}  // namespace cos2p
