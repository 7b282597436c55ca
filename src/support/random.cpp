#include "cos2p/support/random.hpp"

#include <cmath>

#include "cos2p/support/error.hpp"

namespace cos2p {

std::uint64_t Rng::below(std::uint64_t n) {
  COS2P_ASSERT(n > 0);
  const std::uint64_t limit = max() - max() % n;  // values at or above it would favour small results
  std::uint64_t x = (*this)();
  while (x >= limit) x = (*this)();
  return x % n;
}

double Rng::normal() {
  const double u = 1.0 - uniform();  // (0, 1]: the logarithm stays finite
  return std::sqrt(-2.0 * std::log(u)) * std::cos(6.283185307179586 * uniform());
}

double Rng::gamma(double shape) {
  COS2P_ASSERT(shape > 0);
  if (shape < 1) return gamma(shape + 1) * std::pow(1.0 - uniform(), 1.0 / shape);
  const double d = shape - 1.0 / 3.0;
  const double c = 1.0 / std::sqrt(9.0 * d);
  while (true) {
    const double x = normal();
    const double v = std::pow(1.0 + c * x, 3);
    if (v > 0 && std::log(1.0 - uniform()) < 0.5 * x * x + d - d * v + d * std::log(v)) return d * v;
  }
}

}  // namespace cos2p
