// The innermost loops, compiled for several vector widths and chosen when the program loads. Whatever the
// width, the results have the same bits: products are exact in double (24 + 21 bits), and integer sums do not
// depend on their order.
#include "sum_loops.hpp"

#include <cmath>
#include <cstring>

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && !defined(__SANITIZE_ADDRESS__) && \
    !defined(__SANITIZE_THREAD__)
#define COS2P_VECTOR_CLONES __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define COS2P_VECTOR_CLONES
#endif

namespace cos2p::detail {
namespace {

/// Adding 1.5 * 2^52 rounds to an integer, which then stands in the low bits of the double: so many bits
/// above it are the constant's own. One addition rounds, and one integer addition sums.
constexpr double kRound = 0x1.8p52;
constexpr std::uint64_t kRoundBits = 0x4338000000000000ULL;

/// `N` sources in one pass: the sums are loaded and stored once for all of them.
template <int N>
inline __attribute__((always_inline)) void add(std::int64_t* __restrict__ sums, const float* const* x,
                                               const double* step, std::int64_t count) {
  const float* __restrict__ source[N];
  double factor[N];
  for (int k = 0; k < N; ++k) {
    source[k] = x[k];
    factor[k] = step[k];
  }
  for (std::int64_t i = 0; i < count; ++i) {
    auto sum = static_cast<std::uint64_t>(sums[i]) - N * kRoundBits;
    for (int k = 0; k < N; ++k) {
      const double rounded = static_cast<double>(source[k][i]) * factor[k] + kRound;
      std::uint64_t bits;
      std::memcpy(&bits, &rounded, sizeof bits);
      sum += bits;
    }
    sums[i] = static_cast<std::int64_t>(sum);
  }
}

}  // namespace

COS2P_VECTOR_CLONES
void add_fixed_point(std::int64_t* sums, const float* const* x, const double* step, int sources,
                     std::int64_t count) {
  switch (sources) {
    case 1:
      return add<1>(sums, x, step, count);
    case 2:
      return add<2>(sums, x, step, count);
    case 3:
      return add<3>(sums, x, step, count);
    default:
      return add<kSources>(sums, x, step, count);
  }
}

COS2P_VECTOR_CLONES
void finish(float* __restrict__ values, const std::int64_t* __restrict__ sums, double scale, double keep,
            std::int64_t count) {
  if (keep == 0) {
    for (std::int64_t i = 0; i < count; ++i)
      values[i] = static_cast<float>(static_cast<double>(sums[i]) * scale);
  } else {
    for (std::int64_t i = 0; i < count; ++i) {
      values[i] =
          static_cast<float>(static_cast<double>(sums[i]) * scale + keep * static_cast<double>(values[i]));
    }
  }
}

COS2P_VECTOR_CLONES
void finish_velocity(float* __restrict__ values, float* __restrict__ velocity,
                     const std::int64_t* __restrict__ sums, double scale, double pull, double momentum,
                     double rate, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) {
    const double mean = static_cast<double>(sums[i]) * scale + pull * static_cast<double>(values[i]);
    velocity[i] = static_cast<float>(momentum * static_cast<double>(velocity[i]) + mean);
    // From the stored velocity: a resumed run has no other.
    values[i] = static_cast<float>(static_cast<double>(values[i]) + rate * static_cast<double>(velocity[i]));
  }
}

COS2P_VECTOR_CLONES
void add_where_changed(std::int64_t* __restrict__ changed, const float* __restrict__ x, std::int64_t weight,
                       std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) changed[i] += x[i] != 0 ? weight : 0;
}

void finish_changed(float* values, float* velocity, const std::int64_t* sums, const std::int64_t* changed,
                    double scale, double momentum, double rate, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) {
    if (changed[i] == 0) continue;
    double step = static_cast<double>(sums[i]) * scale / static_cast<double>(changed[i]);
    if (velocity != nullptr) {
      velocity[i] = static_cast<float>(momentum * static_cast<double>(velocity[i]) + step);
      step = static_cast<double>(velocity[i]);
    }
    values[i] = static_cast<float>(static_cast<double>(values[i]) + rate * step);
  }
}

COS2P_VECTOR_CLONES
bool any_out_of_range(const float* x, std::int64_t count, float limit) {
  constexpr std::int64_t kBlock = 1024;  // leave early, but not at every element: that would not vectorise
  for (std::int64_t start = 0; start < count; start += kBlock) {
    const std::int64_t end = start + kBlock < count ? start + kBlock : count;
    int bad = 0;
    for (std::int64_t i = start; i < end; ++i) bad |= static_cast<int>(!(std::fabs(x[i]) < limit));
    if (bad != 0) return true;
  }
  return false;
}

}  // namespace cos2p::detail
