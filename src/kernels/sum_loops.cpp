// The innermost loops, compiled for several vector widths and chosen when the program loads. Whatever the width, the
// results have the same bits: products are exact in double (24 + 21 bits) and sums of integers below 2^53 are too.
#include "sum_loops.hpp"

#include <cmath>

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define COS2P_VECTOR_CLONES __attribute__((target_clones("arch=skylake-avx512", "avx2", "default")))
#else
#define COS2P_VECTOR_CLONES
#endif

namespace cos2p::detail {

COS2P_VECTOR_CLONES
void add_fixed_point(double* __restrict__ sums, const float* __restrict__ x, double step, std::int64_t count) {
  // Adding and subtracting 1.5 * 2^52 rounds to an integer (|x * step| < 2^51) without a rounding instruction.
  constexpr double kRound = 0x1.8p52;
  for (std::int64_t i = 0; i < count; ++i) {
    const double product = static_cast<double>(x[i]) * step;
    sums[i] += (product + kRound) - kRound;
  }
}

COS2P_VECTOR_CLONES
void finish(float* __restrict__ values, const double* __restrict__ sums, double scale, double keep, std::int64_t count) {
  if (keep == 0) {
    for (std::int64_t i = 0; i < count; ++i) values[i] = static_cast<float>(sums[i] * scale);
  } else {
    for (std::int64_t i = 0; i < count; ++i) {
      values[i] = static_cast<float>(sums[i] * scale + keep * static_cast<double>(values[i]));
    }
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
