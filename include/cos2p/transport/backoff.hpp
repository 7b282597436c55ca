#pragma once

namespace cos2p {

/// Waiting without burning a core: yields a few times, then sleeps, from 20 microseconds up to `longest_s`.
/// Call reset() when something happened, pause() when nothing did.
class Backoff {
 public:
  explicit Backoff(double longest_s = 1e-3) : longest_s_(longest_s) {}
  void reset() { turns_ = 0; }
  void pause();

 private:
  double longest_s_;
  int turns_ = 0;
};

}  // namespace cos2p
