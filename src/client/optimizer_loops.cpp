// Compiled for several vector widths and chosen when the program loads.
#include "optimizer_loops.hpp"

#include <algorithm>
#include <cmath>

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && !defined(__SANITIZE_ADDRESS__) && \
    !defined(__SANITIZE_THREAD__)
#define COS2P_VECTOR_CLONES __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define COS2P_VECTOR_CLONES
#endif

namespace cos2p::optimizer_loops {

COS2P_VECTOR_CLONES
double sum_of_squares(const float* x, std::int64_t count) {
  constexpr std::int64_t kLanes = 16, kBlock = 4096;  // float sums of short stretches, added up in double
  double sum = 0;
  for (std::int64_t begin = 0; begin < count; begin += kBlock) {
    const std::int64_t end = std::min(begin + kBlock, count);
    float lanes[kLanes] = {};
    std::int64_t i = begin;
    for (; i + kLanes <= end; i += kLanes) {
      for (std::int64_t k = 0; k < kLanes; ++k) lanes[k] += x[i + k] * x[i + k];
    }
    for (; i < end; ++i) sum += static_cast<double>(x[i]) * static_cast<double>(x[i]);
    for (const float lane : lanes) sum += static_cast<double>(lane);
  }
  return sum;
}

COS2P_VECTOR_CLONES
void sgd(float* __restrict__ w, const float* __restrict__ gradient, float* __restrict__ m, std::int64_t count,
         const Rule& rule) {
  const float rate = rule.rate, scale = rule.scale, decay = rule.decay, momentum = rule.momentum;
  if (m == nullptr) {
    for (std::int64_t i = 0; i < count; ++i) w[i] -= rate * (scale * gradient[i] + decay * w[i]);
    return;
  }
  for (std::int64_t i = 0; i < count; ++i) {
    m[i] = momentum * m[i] + (scale * gradient[i] + decay * w[i]);
    w[i] -= rate * m[i];
  }
}

COS2P_VECTOR_CLONES
void adamw(float* __restrict__ w, const float* __restrict__ gradient, float* __restrict__ m,
           float* __restrict__ v, std::int64_t count, const Rule& rule) {
  const float scale = rule.scale, beta1 = rule.beta1, beta2 = rule.beta2, epsilon = rule.epsilon;
  const float keep = 1 - rule.rate * rule.decay, rate = rule.rate / rule.correction1;
  const float inverse = 1 / rule.correction2;
  for (std::int64_t i = 0; i < count; ++i) {
    const float g = scale * gradient[i];
    m[i] = beta1 * m[i] + (1 - beta1) * g;
    v[i] = beta2 * v[i] + (1 - beta2) * g * g;
    w[i] = keep * w[i] - rate * m[i] / (std::sqrt(v[i]) * inverse + epsilon);
  }
}

}  // namespace cos2p::optimizer_loops
