#include "cos2p/plan/device_profile.hpp"

#include <fmt/ranges.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>
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

namespace {

constexpr const char* kWrittenOut = ":flops=";
constexpr double kMostMemory = 1e18;  // bytes

DeviceProfile parse_profile(const std::string& text) {
  DeviceProfile profile;
  profile.name = text.substr(0, text.find(kWrittenOut));
  profile.description = "measured on " + profile.name;
  double memory = 0;
  int end = 0;
  const std::string numbers = text.substr(profile.name.size());
  const auto is_speed = [](double value) { return value > 0 && std::isfinite(value); };
  if (std::sscanf(numbers.c_str(), ":flops=%lf;memory=%lf;bandwidth=%lf;link=%lf%n", &profile.flops, &memory,
                  &profile.bandwidth, &profile.link, &end) != 4 ||
      static_cast<std::size_t>(end) != numbers.size() || !is_speed(profile.flops) || !(memory >= 1) ||
      !(memory < kMostMemory) || !is_speed(profile.bandwidth) || !is_speed(profile.link)) {
    fail(ExitCode::usage,
         "device profile '{}' cannot be read (four numbers above 0 are expected), give the file that cos2p "
         "doctor --calibrate wrote",
         text);
  }
  profile.memory = static_cast<std::uint64_t>(memory);
  return profile;
}

}  // namespace

std::string profile_text(const DeviceProfile& profile) {
  return fmt::format("{}{}{:.6g};memory={};bandwidth={:.6g};link={:.6g}", profile.name, kWrittenOut,
                     profile.flops, profile.memory, profile.bandwidth, profile.link);
}

DeviceProfile read_device_profile(const std::string& path) {
  const auto refuse = [&path](const std::string& reason) {
    fail(ExitCode::usage, "device profile {} cannot be read ({}), make it with cos2p doctor --calibrate {}",
         path, reason, path);
  };
  std::ifstream file(path);
  if (!file) refuse(std::strerror(errno));
  DeviceProfile profile;
  try {
    const nlohmann::json json = nlohmann::json::parse(file);
    profile.name = json.at("name").get<std::string>();
    profile.description = json.value("description", "");
    profile.flops = json.at("flops").get<double>();
    const nlohmann::json& memory = json.at("memory_bytes");
    if (const auto bytes = memory.get<double>(); !(bytes >= 1 && bytes < kMostMemory))
      refuse(fmt::format("memory_bytes is {}, which no device has", bytes));
    profile.memory = memory.get<std::uint64_t>();
    profile.bandwidth = json.at("bandwidth_bytes_per_s").get<double>();
    profile.link = json.at("link_bytes_per_s").get<double>();
  } catch (const nlohmann::json::exception& error) {
    refuse(error.what());
  }
  const bool plain = !profile.name.empty() && profile.name.size() <= 64 &&
                     std::isalpha(static_cast<unsigned char>(profile.name.front())) != 0 &&
                     std::all_of(profile.name.begin(), profile.name.end(), [](unsigned char c) {
                       return std::isalnum(c) != 0 || c == '-' || c == '_' || c == '.';
                     });
  if (!plain)
    refuse("its name does not begin with a letter, or has others than letters, digits, '-', '_' and '.'");
  parse_profile(profile_text(profile));  // refuses numbers that cannot be
  return profile;
}

void write_device_profile(const std::string& path, const DeviceProfile& profile) {
  nlohmann::ordered_json json;
  json["name"] = profile.name;
  json["description"] = profile.description;
  json["flops"] = profile.flops;
  json["memory_bytes"] = profile.memory;
  json["bandwidth_bytes_per_s"] = profile.bandwidth;
  json["link_bytes_per_s"] = profile.link;
  std::ofstream file(path);
  file << json.dump(2) << "\n";
  if (!file.flush()) {
    fail(ExitCode::environment, "--calibrate {} cannot be written ({}), choose another file", path,
         std::strerror(errno));
  }
}

std::string resolve_profile_file(const std::string& text) {
  const std::string ending = ".json";
  const bool is_file =
      text.size() > ending.size() && text.compare(text.size() - ending.size(), ending.size(), ending) == 0;
  return is_file ? profile_text(read_device_profile(text)) : text;
}

DeviceProfile find_device_profile(const std::string& name) {
  if (name.find(kWrittenOut) != std::string::npos) return parse_profile(name);
  std::vector<std::string> names;
  for (const DeviceProfile& profile : device_profiles()) {
    if (profile.name == name) return profile;
    names.push_back(profile.name);
  }
  fail(ExitCode::usage,
       "device profile '{}' is unknown (known: {}, and files NAME.json that cos2p doctor --calibrate "
       "writes), choose one of them",
       name, fmt::join(names, ", "));
}

}  // namespace cos2p
