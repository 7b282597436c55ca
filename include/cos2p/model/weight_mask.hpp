#pragma once

#include <torch/types.h>

namespace cos2p {

class Vit;

/// The k-th largest |w| over the matrices of all blocks of the model (qkv, out, fc1 and fc2), with
/// k = share * their values, at least 1. `share` in (0, 1].
float magnitude_threshold(const Vit& vit, double share);

/// w with zeros where |w| < threshold. Backwards, the gradient g of the result becomes
///   g (1 + |w| 2 t / (|w| + t)^2) where |w| >= threshold t, else 0:
/// the mask too is derived, as if it were a smooth function of |w| (FIARSE, Wu et al., NeurIPS 2024). The
/// tensors are dense: nothing gets smaller.
torch::Tensor mask_by_magnitude(const torch::Tensor& weights, float threshold);

}  // namespace cos2p
