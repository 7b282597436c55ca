#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "cos2p/support/random.hpp"

namespace cos2p {

constexpr std::uint64_t kDataOrder = 1;  ///< purpose of the random stream that orders a client's data

/// Endless stream of sample indices: each pass over the client's data in a new order.
class SampleStream {
 public:
  SampleStream(std::vector<std::int64_t> samples, Rng& rng)
      : samples_(std::move(samples)), rng_(rng), next_(samples_.size()) {}

  /// The next `count` indices into `batch`; fewer where a pass ends: a batch never mixes two.
  void take(int count, std::vector<std::int64_t>& batch) {
    batch.clear();
    for (int i = 0; i < count; ++i) {
      if (next_ == samples_.size()) {
        if (!batch.empty()) break;
        rng_.shuffle(samples_);
        next_ = 0;
      }
      batch.push_back(samples_[next_++]);
    }
  }

 private:
  std::vector<std::int64_t> samples_;
  Rng& rng_;
  std::size_t next_;
};

}  // namespace cos2p
