#pragma once

#include <string>
#include <vector>

#include "cos2p/transport/mpi_runtime.hpp"
#include "watchdog.hpp"

namespace cos2p {

struct MpiRuntime::State {
  LaunchInfo launch;
  std::string version;
  int rank = 0, size = 1;
  std::vector<std::string> hosts;
  bool finished = false;
  Watchdog watchdog;
};

}  // namespace cos2p
