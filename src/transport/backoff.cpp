#include "cos2p/transport/backoff.hpp"

#include <algorithm>
#include <chrono>
#include <thread>

namespace cos2p {

namespace {
constexpr int kYields = 8;  // what is about to happen within a microsecond or two is not worth a sleep
constexpr double kShortest_s = 20e-6;
}  // namespace

void Backoff::pause() {
  const int turn = turns_++;
  if (turn < kYields) {
    std::this_thread::yield();
    return;
  }
  const int doublings = std::min((turn - kYields) / 2, 20);
  const double seconds = std::min(kShortest_s * static_cast<double>(1 << doublings), longest_s_);
  std::this_thread::sleep_for(std::chrono::duration<double>(seconds));
  turns_ = std::min(turns_, 1000);
}

}  // namespace cos2p
