#include "cos2p/plan/device_profile.hpp"

#include <fmt/ranges.h>

#include <algorithm>
#include <thread>

#include "cos2p/support/error.hpp"
#include "cos2p/support/memory.hpp"

namespace cos2p {
namespace {

constexpr double kGiB = 1024.0 * 1024.0 * 1024.0;
constexpr double kUsableShare = 0.35;  // of the peak: what float32 training reaches on these boards, roughly
constexpr double kGigabitEthernet = 112e6;  // bytes/s of payload
constexpr double kCoreFlops = 30e9;         // float32 FLOP/s of one CPU core with vector units, in training
constexpr double kCpuBandwidth = 20e9;

DeviceProfile jetson(const char* name, const char* description, double peak_gflops, double memory_gib,
                     double gigabytes_per_s, double link = kGigabitEthernet) {
  return {name,
          description,
          peak_gflops * 1e9 * kUsableShare,
          static_cast<std::uint64_t>(memory_gib * kGiB),
          gigabytes_per_s * 1e9,
          link};
}

DeviceProfile this_machine() {
  const unsigned cores = std::max(1U, std::thread::hardware_concurrency());
  return {"cpu",         "the CPU of this machine", cores * kCoreFlops, machine_memory_bytes(),
          kCpuBandwidth, kGigabitEthernet};
}

}  // namespace

const std::vector<DeviceProfile>& device_profiles() {
  // Peak float32 = CUDA cores x 2 x clock, memory and bandwidth from NVIDIA's data sheets of the modules.
  static const std::vector<DeviceProfile> profiles = {
      jetson("jetson-nano", "Jetson Nano 4GB (128 Maxwell cores, 0.92 GHz)", 236, 4, 25.6),
      jetson("tx2", "Jetson TX2 8GB (256 Pascal cores, 1.30 GHz)", 666, 8, 59.7),
      jetson("xavier-nx", "Jetson Xavier NX 8GB (384 Volta cores, 1.10 GHz)", 845, 8, 59.7),
      jetson("agx-xavier", "Jetson AGX Xavier 32GB (512 Volta cores, 1.38 GHz)", 1410, 32, 136.5),
      jetson("orin-nano", "Jetson Orin Nano 8GB (1024 Ampere cores, 0.63 GHz)", 1280, 8, 68),
      jetson("orin-nx", "Jetson Orin NX 16GB (1024 Ampere cores, 0.92 GHz)", 1880, 16, 102.4),
      jetson("agx-orin", "Jetson AGX Orin 64GB (2048 Ampere cores, 1.30 GHz)", 5325, 64, 204.8,
             10 * kGigabitEthernet),
      this_machine()};
  return profiles;
}

std::uint64_t usable_memory(const DeviceProfile& device) {
  // Measured on none of them: 1.5 GiB is a headless system with the CUDA context and LibTorch's libraries, a
  // tenth is for file caches and fragmentation.
  const double usable = 0.9 * static_cast<double>(device.memory) - 1.5 * kGiB;
  return usable > 0 ? static_cast<std::uint64_t>(usable) : 0;
}

const DeviceProfile& find_device_profile(const std::string& name) {
  std::vector<std::string> names;
  for (const DeviceProfile& profile : device_profiles()) {
    if (profile.name == name) return profile;
    names.push_back(profile.name);
  }
  fail(ExitCode::usage, "device profile '{}' is unknown (known: {}), choose one of them", name,
       fmt::join(names, ", "));
}

}  // namespace cos2p
