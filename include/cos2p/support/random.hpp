#pragma once

#include <cstdint>
#include <initializer_list>
#include <vector>

namespace cos2p {

/// SplitMix64: one 64-bit mixing step (Steele, Lea and Flood 2014).
constexpr std::uint64_t mix64(std::uint64_t x) {
  x += 0x9e3779b97f4a7c15ULL;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
  return x ^ (x >> 31);
}

/// A small random engine (a UniformRandomBitGenerator) whose streams are named by keys instead of being
/// stored: Rng(seed, {purpose, client, round}) is the same everywhere, so a resumed run needs no saved
/// generator state. The distributions below are ours because those of the standard library differ between
/// implementations.
class Rng {
 public:
  using result_type = std::uint64_t;
  explicit Rng(std::uint64_t seed, std::initializer_list<std::uint64_t> keys = {}) : state_(mix64(seed)) {
    for (std::uint64_t key : keys) state_ = mix64(state_ ^ mix64(key + 0x632be59bd9b4e019ULL));
  }
  static constexpr result_type min() { return 0; }
  static constexpr result_type max() { return ~0ULL; }
  result_type operator()() { return mix64(state_++); }

  /// Uniform in [0, 1).
  double uniform() { return static_cast<double>((*this)() >> 11) * 0x1.0p-53; }
  /// Uniform in [0, n); n > 0.
  std::uint64_t below(std::uint64_t n);
  /// Standard normal (Box-Muller).
  double normal();
  /// Gamma(shape, 1), shape > 0 (Marsaglia and Tsang 2000).
  double gamma(double shape);
  /// Fisher-Yates.
  template <typename T>
  void shuffle(std::vector<T>& values) {
    for (std::size_t i = values.size(); i > 1; --i) std::swap(values[i - 1], values[below(i)]);
  }

 private:
  std::uint64_t state_;
};

}  // namespace cos2p
