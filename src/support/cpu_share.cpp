#include "cpu_share.hpp"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <iterator>
#include <sstream>
#include <thread>
#ifdef __linux__
#include <sched.h>
#include <unistd.h>
#endif

namespace cos2p::blas {
namespace {

/// 0 where the system does not say.
int cores_of_process([[maybe_unused]] int process) {
#ifdef __linux__
  // The mask must be as large as the kernel's own, which is not known: try larger ones until it fits.
  for (int cpus = 1024; cpus <= 1 << 20; cpus *= 4) {
    cpu_set_t* const mask = CPU_ALLOC(static_cast<std::size_t>(cpus));
    if (mask == nullptr) return 0;
    const std::size_t bytes = CPU_ALLOC_SIZE(static_cast<std::size_t>(cpus));
    const int count = sched_getaffinity(process, bytes, mask) == 0 ? CPU_COUNT_S(bytes, mask) : 0;
    CPU_FREE(mask);
    if (count > 0) return count;
  }
#endif
  return 0;
}

std::string text_of(const char* path) {
  std::ifstream input(path);
  return {std::istreambuf_iterator<char>(input), {}};
}

}  // namespace

double parse_quota(const std::string& text) {
  std::istringstream input(text);
  double quota = 0, period = 0;
  return (input >> quota >> period) && quota > 0 && period > 0 ? quota / period : 0;
}

CoreCounts count_cores() {
  CoreCounts cores;
  cores.own = cores_of_process(0);
  if (cores.own == 0) cores.own = std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  cores.launcher = cores.own;
#ifdef __linux__
  cores.launcher = std::max(cores.own, cores_of_process(getppid()));
  cores.quota = parse_quota(text_of("/sys/fs/cgroup/cpu.max"));
  if (cores.quota == 0) {  // cgroup v1, as on older Jetson systems
    cores.quota = parse_quota(text_of("/sys/fs/cgroup/cpu/cpu.cfs_quota_us") +
                              text_of("/sys/fs/cgroup/cpu/cpu.cfs_period_us"));
  }
#endif
  return cores;
}

int share_of_cores(const CoreCounts& cores, int local_ranks) {
  int shared = std::max(cores.own, cores.launcher);
  if (cores.quota > 0) shared = std::min(shared, std::max(1, static_cast<int>(std::ceil(cores.quota))));
  return std::clamp(shared / std::max(1, local_ranks), 1, std::max(1, cores.own));
}

}  // namespace cos2p::blas
