#pragma once

#include <torch/types.h>

#include "cos2p/data/samples.hpp"

namespace cos2p {

/// A batch as the model takes it, on its device.
struct BatchTensors {
  torch::Tensor input;   ///< (B, C, H, W) float32 or (B, T) int32
  torch::Tensor labels;  ///< (B) int64
};
/// With `rng` (training) images are augmented.
BatchTensors batch_tensors(const Samples& samples, Span<const std::int64_t> indices, Rng* rng,
                           torch::Device device);

}  // namespace cos2p
