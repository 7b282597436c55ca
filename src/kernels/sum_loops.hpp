#pragma once

#include <cstdint>

namespace cos2p::detail {

/// sums[i] += round(x[i] * step), where `step` is a weight times kValueSteps.
void add_fixed_point(double* sums, const float* x, double step, std::int64_t count);
/// values[i] = sums[i] * scale + keep * values[i]; without reading values where keep is 0.
void finish(float* values, const double* sums, double scale, double keep, std::int64_t count);
/// Any |x[i]| at or above limit, or NaN.
bool any_out_of_range(const float* x, std::int64_t count, float limit);

}  // namespace cos2p::detail
