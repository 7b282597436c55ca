#pragma once

#include <cstdint>
#include <functional>

namespace cos2p {

/// Calls `body(0)` … `body(count - 1)`, in any order, on up to `threads` threads (OpenMP). When a call
/// throws, the others still run and the first exception is thrown here.
void parallel_for(std::int64_t count, int threads, const std::function<void(std::int64_t)>& body);

}  // namespace cos2p
