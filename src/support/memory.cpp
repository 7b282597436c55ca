#include "cos2p/support/memory.hpp"

#include <malloc.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <string>

namespace cos2p {
namespace {

/// Of a list "NAME: KIB kB" in /proc; 0 where it is not in it.
std::uint64_t listed_bytes(const char* file, const std::string& field) {
  std::ifstream status(file);
  std::string name;
  while (status >> name) {
    if (name == field) {
      std::uint64_t kib = 0;
      status >> kib;
      return kib * 1024;
    }
    status.ignore(4096, '\n');
  }
  return 0;
}

constexpr const char* kStatus = "/proc/self/status";

/// A number that stands alone in a file of this process's control group; 0 where there is none.
std::uint64_t group_bytes(const char* file) {
  std::ifstream stream(file);
  std::uint64_t bytes = 0;
  return stream >> bytes ? bytes : 0;
}

constexpr const char* kGroupLimit = "/sys/fs/cgroup/memory.max";

std::uint64_t inactive_file_bytes() {
  std::ifstream list("/sys/fs/cgroup/memory.stat");
  std::string name;
  std::uint64_t bytes = 0;
  while (list >> name >> bytes) {
    if (name == "inactive_file") return bytes;
  }
  return 0;
}

}  // namespace

std::uint64_t resident_bytes() {
  return listed_bytes(kStatus, "VmRSS:");
}

std::uint64_t peak_resident_bytes() {
  return listed_bytes(kStatus, "VmHWM:");
}

bool reset_peak_resident() {
  std::ofstream clear("/proc/self/clear_refs");
  clear << "5";
  return static_cast<bool>(clear.flush());
}

void keep_freed_memory() {
#ifdef __GLIBC__
  mallopt(M_MMAP_THRESHOLD, 32 << 20);  // the largest that glibc takes
  mallopt(M_TRIM_THRESHOLD, 1 << 30);
#endif
}

void release_freed_memory() {
#ifdef __GLIBC__
  malloc_trim(0);
#endif
}

std::uint64_t machine_memory_bytes() {
  std::uint64_t bytes =
      static_cast<std::uint64_t>(sysconf(_SC_PHYS_PAGES)) * static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE));
  if (const std::uint64_t container = group_bytes(kGroupLimit); container > 0)
    bytes = std::min(bytes, container);
  return bytes;
}

std::uint64_t available_memory_bytes() {
  const std::uint64_t available = listed_bytes("/proc/meminfo", "MemAvailable:");
  const std::uint64_t limit = group_bytes(kGroupLimit);
  if (available == 0 || limit == 0) return available;
  // What the group holds of files can be given back, as it is counted in MemAvailable.
  const std::uint64_t held = group_bytes("/sys/fs/cgroup/memory.current");
  const std::uint64_t left = limit - std::min(limit, held) + inactive_file_bytes();
  return std::max<std::uint64_t>(1, std::min(available, left));
}

FreeMemory::FreeMemory(int sharers) : sharers_(sharers), resident_at_start_(resident_bytes()) {}

// Each of the sharers takes its part of what is missing too: if each took all of it, all would make room for
// all, and then grow again together.
std::int64_t FreeMemory::bytes() const {
  constexpr std::uint64_t kMostReserved = 512 << 20;
  const std::uint64_t available = available_memory_bytes();
  if (available == 0) return 0;
  const std::uint64_t reserve = std::min(machine_memory_bytes() / 20, kMostReserved);
  const auto beyond = static_cast<std::int64_t>(available) - static_cast<std::int64_t>(reserve);
  const std::uint64_t resident = resident_bytes();
  const auto taken = static_cast<std::int64_t>(resident - std::min(resident, resident_at_start_));
  return std::max<std::int64_t>(1, taken + beyond / sharers_);
}

}  // namespace cos2p
