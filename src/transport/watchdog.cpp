#include "watchdog.hpp"

#include <unistd.h>

#include <chrono>
#include <utility>

#include "cos2p/support/clock.hpp"
#include "cos2p/transport/mpi_runtime.hpp"

namespace cos2p {

Watchdog::Watchdog() : thread_([this] { run(); }) {}

Watchdog::~Watchdog() {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    stopping_ = true;
  }
  stop_.notify_all();
  thread_.join();
}

void Watchdog::set_verdict(std::string message, int exit_code) {
  const std::lock_guard<std::mutex> lock(mutex_);
  message_ = std::move(message);
  exit_code_ = exit_code;
}

void Watchdog::run() {
  std::unique_lock<std::mutex> lock(mutex_);
  while (!stop_.wait_for(lock, std::chrono::milliseconds(100), [this] { return stopping_; })) {
    const double deadline = deadline_s_.load(std::memory_order_acquire);
    if (deadline == 0 || monotonic_seconds() < deadline) continue;
    // The thread that is stuck may hold any lock: nothing but system calls from here on.
    const std::string line = message_.empty() ? message_ : "cos2p: " + message_ + "\n";
    if (write(STDERR_FILENO, line.data(), line.size()) < 0) exit_code_ = exit_code_ == 0 ? 1 : exit_code_;
    record_exit_code(exit_code_);
    _exit(exit_code_);
  }
}

Watchdog::Watch::Watch(Watchdog* dog, double seconds) : dog_(dog) {
  if (dog_ == nullptr || seconds <= 0) {
    dog_ = nullptr;
    return;
  }
  double none = 0;
  if (!dog_->deadline_s_.compare_exchange_strong(none, monotonic_seconds() + seconds)) dog_ = nullptr;
}

Watchdog::Watch::~Watch() {
  if (dog_ != nullptr) dog_->deadline_s_.store(0, std::memory_order_release);
}

}  // namespace cos2p
