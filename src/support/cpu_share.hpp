#pragma once

#include <string>

namespace cos2p::blas {

/// Cores that this process may use, and its launcher (which is not bound to a core itself where it binds its
/// ranks), as far as the system tells; `quota` = cores' worth of time that the container grants, 0 = no
/// limit.
struct CoreCounts {
  int own = 1, launcher = 1;
  double quota = 0;
};
CoreCounts count_cores();

/// Threads for one of `local_ranks` processes of a host, at least 1.
int share_of_cores(const CoreCounts& cores, int local_ranks);

/// The text of cgroup v2's cpu.max ("200000 100000", "max 100000") as cores; 0 = no limit or not such a text.
double parse_quota(const std::string& text);

}  // namespace cos2p::blas
