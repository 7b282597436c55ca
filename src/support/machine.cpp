#include "cos2p/support/machine.hpp"

#include <fmt/format.h>
#include <sys/statvfs.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <fstream>
#include <sstream>

#include "cos2p/support/memory.hpp"

namespace cos2p {
namespace {

/// The first line, without zeros and white space at its end; empty where there is no such file.
std::string first_line(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  line = line.substr(0, line.find('\0'));
  while (!line.empty() && std::isspace(static_cast<unsigned char>(line.back())) != 0) line.pop_back();
  return line;
}

/// The value of "name : value" in a list such as /proc/cpuinfo.
std::string listed(const std::string& path, const std::string& name) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    if (line.compare(0, name.size(), name) != 0) continue;
    const std::size_t colon = line.find(':'), value = line.find_first_not_of(" \t", colon + 1);
    if (colon != std::string::npos && value != std::string::npos) return line.substr(value);
  }
  return "";
}

std::uint64_t listed_kib(const std::string& path, const std::string& name) {
  std::uint64_t kib = 0;
  std::istringstream(listed(path, name)) >> kib;
  return kib * 1024;
}

std::string gpu_driver(const std::string& root) {
  // "NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.15  ..."
  std::istringstream words(first_line(root + "/proc/driver/nvidia/version"));
  for (std::string word; words >> word;) {
    if (std::isdigit(static_cast<unsigned char>(word.front())) != 0 && word.find('.') != std::string::npos)
      return word;
  }
  // "# R36 (release), REVISION: 3.0, GCID: ..."
  std::istringstream release(first_line(root + "/etc/nv_tegra_release"));
  std::string hash, major, word;
  release >> hash >> major;
  while (release >> word) {
    std::string revision;
    if (word == "REVISION:" && release >> revision)
      return "L4T " + major + "." + revision.substr(0, revision.find(','));
  }
  return "";
}

std::string architecture() {
  utsname names{};
  if (uname(&names) != 0) return "";
  return fmt::format("{}, {} endian", names.machine, byte_order());
}

}  // namespace

const char* byte_order() {
  constexpr std::uint16_t kOne = 1;
  unsigned char first = 0;
  std::memcpy(&first, &kOne, 1);
  return first == 1 ? "little" : "big";
}

std::string host_name() {
  char name[256] = {};
  gethostname(name, sizeof(name) - 1);
  return name;
}

Machine describe_machine(const std::string& root) {
  Machine m;
  m.host = host_name();
  m.architecture = architecture();
  m.cpu = listed(root + "/proc/cpuinfo", "model name");
  m.board = first_line(root + "/proc/device-tree/model");
  m.gpu_driver = gpu_driver(root);
  m.memory = root.empty() ? machine_memory_bytes() : listed_kib(root + "/proc/meminfo", "MemTotal");
  m.available = root.empty() ? available_memory_bytes() : listed_kib(root + "/proc/meminfo", "MemAvailable");
  m.available = std::min(m.memory, m.available);
  m.swap = listed_kib(root + "/proc/meminfo", "SwapTotal");
  return m;
}

std::uint64_t free_disk_bytes(const std::string& path) {
  struct statvfs system {};
  if (statvfs(path.c_str(), &system) != 0) return 0;
  return static_cast<std::uint64_t>(system.f_bavail) * system.f_frsize;
}

double wall_clock_seconds() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

}  // namespace cos2p
