#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "cos2p/support/error.hpp"
#include "cos2p/support/random.hpp"
#include "cos2p/support/span.hpp"

namespace cos2p::convergence {

/// phi(z) = z^2 / (1 + z^2): 0 at 0, towards 1 far away, non-convex for |z| > 1/sqrt(3).
inline double phi(double z) {
  return z * z / (1 + z * z);
}
inline double phi_slope(double z) {
  const double one = 1 + z * z;
  return 2 * z / (one * one);
}

/// A smooth, non-convex sum over clients whose constants are known in closed form:
///   f(x) = mean over kinds k of f_k(x),   f_k(x) = sum_j phi((A_k x)_j - b_kj),   x in R^d,
/// with A_k = H S_k orthogonal (H the Hadamard matrix over sqrt(d), S_k random signs). A kind is what the
/// data of a client is like; b_k = A_k c + spread * normal, so each kind has another minimiser, near c.
///
/// The Hessian of f_k is A_k^T diag(phi'') A_k and phi''(z) = (2 - 6 z^2) / (1 + z^2)^3 lies in [-1/2, 2], so
/// the gradients of all f_k and of f are Lipschitz with L = 2, and of f_k with no smaller one: phi''(0) = 2.
///
/// The stochastic gradient adds +deviation or -deviation with equal chance to each coordinate: unbiased, with
/// E |noise|^2 = d deviation^2 exactly.
class Problem {
 public:
  static constexpr double kSmoothness = 2;  ///< L

  /// `dimension` must be a power of two (throws Error(internal)).
  Problem(std::int64_t dimension, int kinds, double spread, double deviation, std::uint64_t seed)
      : dimension_(static_cast<std::size_t>(dimension)),
        deviation_(deviation),
        scale_(1 / std::sqrt(static_cast<double>(dimension))) {
    COS2P_ASSERT(dimension > 0 && (dimension & (dimension - 1)) == 0 && kinds > 0);
    Rng rng(seed, {1});
    std::vector<double> centre(dimension_);
    for (double& c : centre) c = rng.normal();
    for (int k = 0; k < kinds; ++k) {
      Kind kind;
      for (std::size_t i = 0; i < dimension_; ++i) kind.signs.push_back(rng.below(2) == 0 ? scale_ : -scale_);
      kind.target = rotated(kind, centre);
      for (double& b : kind.target) b += spread * rng.normal();
      kinds_.push_back(kind);
    }
  }

  std::size_t dimension() const { return dimension_; }
  int kinds() const { return static_cast<int>(kinds_.size()); }
  double noise_variance() const { return static_cast<double>(dimension_) * deviation_ * deviation_; }

  double value(int kind, const std::vector<double>& x) const {
    double sum = 0;
    for (const double z : residuals(kind, x)) sum += phi(z);
    return sum;
  }
  double value(const std::vector<double>& x) const {
    double sum = 0;
    for (int k = 0; k < kinds(); ++k) sum += value(k, x);
    return sum / kinds();
  }
  /// (A_k x)_j - b_kj for all j.
  std::vector<double> residuals(int kind, const std::vector<double>& x) const {
    const Kind& of = kinds_[static_cast<std::size_t>(kind)];
    std::vector<double> z = rotated(of, x);
    for (std::size_t j = 0; j < dimension_; ++j) z[j] -= of.target[j];
    return z;
  }
  /// Of f_k, without noise.
  std::vector<double> gradient(int kind, const std::vector<double>& x) const {
    std::vector<double> g = residuals(kind, x);
    for (double& z : g) z = phi_slope(z);
    transform(g);
    const Kind& of = kinds_[static_cast<std::size_t>(kind)];
    for (std::size_t i = 0; i < dimension_; ++i) g[i] *= of.signs[i];
    return g;
  }
  /// Of f, without noise.
  std::vector<double> gradient(const std::vector<double>& x) const {
    std::vector<double> sum(dimension_, 0);
    for (int k = 0; k < kinds(); ++k) {
      const std::vector<double> g = gradient(k, x);
      for (std::size_t i = 0; i < dimension_; ++i) sum[i] += g[i] / kinds();
    }
    return sum;
  }
  std::vector<double> stochastic_gradient(int kind, const std::vector<double>& x, Rng& rng) const {
    std::vector<double> g = gradient(kind, x);
    std::uint64_t bits = 0;
    for (std::size_t i = 0; i < dimension_; ++i) {
      if (i % 64 == 0) bits = rng();
      g[i] += (bits & 1) != 0 ? deviation_ : -deviation_;
      bits >>= 1;
    }
    return g;
  }

 private:
  struct Kind {
    std::vector<double> signs;   ///< S_k over sqrt(d)
    std::vector<double> target;  ///< b_k
  };
  /// In place v <- sqrt(d) H v (fast Walsh-Hadamard transform; H is symmetric).
  void transform(std::vector<double>& v) const {
    for (std::size_t half = 1; half < dimension_; half *= 2) {
      for (std::size_t first = 0; first < dimension_; first += 2 * half) {
        double* low = v.data() + first;
        double* high = low + half;
        for (std::size_t i = 0; i < half; ++i) {
          const double sum = low[i] + high[i], difference = low[i] - high[i];
          low[i] = sum;
          high[i] = difference;
        }
      }
    }
  }
  std::vector<double> rotated(const Kind& kind, const std::vector<double>& x) const {
    std::vector<double> z(dimension_);
    for (std::size_t i = 0; i < dimension_; ++i) z[i] = kind.signs[i] * x[i];
    transform(z);
    return z;
  }

  std::size_t dimension_;
  double deviation_;
  double scale_;
  std::vector<Kind> kinds_;
};

/// |v|^2
inline double squared_norm(const std::vector<double>& v) {
  double sum = 0;
  for (const double x : v) sum += x * x;
  return sum;
}

}  // namespace cos2p::convergence
