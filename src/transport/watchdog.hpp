#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <string>
#include <thread>

namespace cos2p {

/// Ends the process in words when a call into MPI, which knows no time limits, does not come back. One call
/// is watched at a time; arming costs a clock reading, so that every flush can be watched.
class Watchdog {
 public:
  Watchdog();
  ~Watchdog();
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;

  /// What is printed, and the exit code, when a later watch expires. Keeps them until set again.
  void set_verdict(std::string message, int exit_code);

  /// From construction to destruction: the time that is watched. Inner watches are ignored.
  class Watch {
   public:
    Watch(Watchdog* dog, double seconds);
    ~Watch();
    Watch(const Watch&) = delete;
    Watch& operator=(const Watch&) = delete;

   private:
    Watchdog* dog_;
  };

 private:
  void run();
  std::atomic<double> deadline_s_{0};  // 0: nothing to watch
  std::mutex mutex_;
  std::condition_variable stop_;
  bool stopping_ = false;
  std::string message_;
  int exit_code_ = 1;
  std::thread thread_;
};

}  // namespace cos2p
