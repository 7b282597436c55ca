#pragma once

#include <cstdint>

namespace cos2p::optimizer_loops {

/// The numbers of one step; `scale` multiplies every gradient (clipping).
struct Rule {
  float rate = 0, scale = 1, decay = 0;
  float momentum = 0;                                                         ///< sgd
  float beta1 = 0, beta2 = 0, epsilon = 0, correction1 = 1, correction2 = 1;  ///< adamw
};

double sum_of_squares(const float* x, std::int64_t count);
/// g <- scale gradient + decay w; m <- momentum m + g; w <- w - rate m. `m` may be null where momentum is 0.
void sgd(float* w, const float* gradient, float* m, std::int64_t count, const Rule& rule);
/// g <- scale gradient; w <- w (1 - rate decay); m <- beta1 m + (1 - beta1) g; v <- beta2 v + (1 - beta2)
/// g^2; w <- w - rate / correction1 m / (sqrt(v) / correction2 + epsilon).
void adamw(float* w, const float* gradient, float* m, float* v, std::int64_t count, const Rule& rule);

}  // namespace cos2p::optimizer_loops
