#pragma once

#include <cstdint>

namespace cos2p {

/// A batch that a linear model learns from. P values, K classes.
struct LinearBatch {
  const float* input = nullptr;          ///< (B, P)
  const std::int64_t* labels = nullptr;  ///< (B), each in [0, K)
  std::int64_t count = 0;                ///< B
  std::int64_t values = 0;               ///< P
  int classes = 0;                       ///< K
  /// What a client's class frequencies do to its logits (method/objective.hpp): a term for each (null: none),
  /// or those that are 0 (null: none).
  const float* adjustment = nullptr;  ///< (K)
  const bool* absent = nullptr;       ///< (K)
};

/// Of a batch.
struct LinearLoss {
  double cross_entropy = 0;  ///< the mean
  std::int64_t correct = 0;  ///< whose largest logit, before the class terms, is the label's
};

/// Multinomial logistic regression, logits = input weight^T + bias: the gradient of the mean cross-entropy,
/// written out. `model` and `gradient` are the segment "linear": weight (K, P), then bias (K). `logits` is
/// room for (B, K); afterwards the gradient of the loss with respect to them. Allocates nothing. The bits
/// depend on the machine's vector instructions alone.
LinearLoss linear_gradient(const LinearBatch& batch, const float* model, float* logits, float* gradient);

}  // namespace cos2p
