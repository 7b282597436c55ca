#pragma once

#include <algorithm>
#include <cstdint>

namespace cos2p {

/// How many rows (tokens of a batch) a block works on at a time. The tensors between its matrix products
/// exist for these rows only: they stay in the cache and take no memory worth counting. The model's
/// computation and the plan's memory prediction both read it here.
constexpr std::int64_t kRowsAtATime = 2048;

/// Images per piece of the attention part: whole images, at least one.
inline std::int64_t images_at_a_time(std::int64_t tokens) {
  return std::max<std::int64_t>(1, kRowsAtATime / tokens);
}

/// Added to the variance in every LayerNorm.
constexpr double kLayerNormEpsilon = 1e-6;

}  // namespace cos2p
