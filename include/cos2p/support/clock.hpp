#pragma once

#include <chrono>

namespace cos2p {

/// Seconds since some fixed moment; never goes backwards when the wall clock is set.
inline double monotonic_seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

/// Sums the seconds of a phase: `{ const ScopedTimer timer(stats.compute_s); ... }`.
class ScopedTimer {
 public:
  explicit ScopedTimer(double& total) : total_(total), start_(monotonic_seconds()) {}
  ~ScopedTimer() { total_ += monotonic_seconds() - start_; }
  ScopedTimer(const ScopedTimer&) = delete;
  ScopedTimer& operator=(const ScopedTimer&) = delete;

 private:
  double& total_;
  double start_;
};

}  // namespace cos2p
