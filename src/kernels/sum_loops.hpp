#pragma once

#include <cstdint>

namespace cos2p::detail {

/// Sources that add_fixed_point() takes at a time.
inline constexpr int kSources = 4;

/// sums[i] += sum over k < sources of round(x[k][i] * step[k]), where `step` is a weight times kValueSteps.
/// 1 <= sources <= kSources; |x * step| < 2^51.
void add_fixed_point(std::int64_t* sums, const float* const* x, const double* step, int sources,
                     std::int64_t count);
/// values[i] = sums[i] * scale + keep * values[i]; without reading values where keep is 0. |sums[i]| <= 2^53.
void finish(float* values, const std::int64_t* sums, double scale, double keep, std::int64_t count);
/// v = momentum * v + (sums * scale + pull * values), values += rate * v, each in float.
void finish_velocity(float* values, float* velocity, const std::int64_t* sums, double scale, double pull,
                     double momentum, double rate, std::int64_t count);
/// changed[i] += weight where x[i] is not 0.
void add_where_changed(std::int64_t* changed, const float* x, std::int64_t weight, std::int64_t count);
/// As finish_velocity() with the mean sums / changed * scale and no pull; where changed is 0 nothing changes.
/// `velocity` may be null where momentum is 0.
void finish_changed(float* values, float* velocity, const std::int64_t* sums, const std::int64_t* changed,
                    double scale, double momentum, double rate, std::int64_t count);
/// Any |x[i]| at or above limit, or NaN.
bool any_out_of_range(const float* x, std::int64_t count, float limit);

}  // namespace cos2p::detail
