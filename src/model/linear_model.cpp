#include "cos2p/model/linear_model.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>

// Compiled with and without fused multiply-add, and chosen when the program loads; 256 bits a vector.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && !defined(__SANITIZE_ADDRESS__) && \
    !defined(__SANITIZE_THREAD__)
#define COS2P_VECTOR_CLONES __attribute__((target_clones("fma", "default")))
#else
#define COS2P_VECTOR_CLONES
#endif

namespace cos2p {
namespace {

constexpr std::int64_t kLanes = 8;
typedef float Lanes __attribute__((vector_size(kLanes * sizeof(float))));
typedef float AnyLanes
    __attribute__((vector_size(kLanes * sizeof(float)), aligned(sizeof(float)), may_alias));

#define COS2P_INLINE __attribute__((always_inline)) inline

COS2P_INLINE void load(Lanes& to, const float* from) {
  to = *reinterpret_cast<const AnyLanes*>(from);
}

/// logits[i][k] = <input i, weight k> for a tile of images and classes, whose sums stay in registers.
template <int Images, int Classes>
COS2P_INLINE void logits_tile(const float* input, const float* weight, std::int64_t values, float* logits,
                              std::int64_t row) {
  Lanes sums[Images][Classes] = {};
  std::int64_t p = 0;
  for (; p + kLanes <= values; p += kLanes) {
    Lanes x[Images];
    for (int i = 0; i < Images; ++i) load(x[i], input + i * values + p);
    for (int k = 0; k < Classes; ++k) {
      Lanes w;
      load(w, weight + k * values + p);
      for (int i = 0; i < Images; ++i) sums[i][k] += x[i] * w;
    }
  }
  for (int i = 0; i < Images; ++i) {
    for (int k = 0; k < Classes; ++k) {
      float sum = 0;
      for (std::int64_t lane = 0; lane < kLanes; ++lane) sum += sums[i][k][lane];
      for (std::int64_t q = p; q < values; ++q) sum += input[i * values + q] * weight[k * values + q];
      logits[i * row + k] = sum;
    }
  }
}

constexpr int kTileImages = 2, kTileClasses = 5;  // with the operands they fill 16 vector registers

template <int Images>
COS2P_INLINE void logits_rows(const float* input, const float* weight, std::int64_t values, int classes,
                              float* logits) {
  int k = 0;
  for (; k + kTileClasses <= classes; k += kTileClasses)
    logits_tile<Images, kTileClasses>(input, weight + k * values, values, logits + k, classes);
  for (; k < classes; ++k) logits_tile<Images, 1>(input, weight + k * values, values, logits + k, classes);
}

COS2P_VECTOR_CLONES
void all_logits(const LinearBatch& b, const float* weight, float* logits) {
  std::int64_t i = 0;
  for (; i + kTileImages <= b.count; i += kTileImages)
    logits_rows<kTileImages>(b.input + i * b.values, weight, b.values, b.classes, logits + i * b.classes);
  for (; i < b.count; ++i)
    logits_rows<1>(b.input + i * b.values, weight, b.values, b.classes, logits + i * b.classes);
}

/// gradient[k][p] = sum_i slope[i][k] input[i][p] for some classes and one or more vectors of values.
template <int Classes, int Vectors>
COS2P_INLINE void weight_tile(const LinearBatch& b, const float* slopes, int k, std::int64_t p,
                              float* gradient) {
  Lanes sums[Classes][Vectors] = {};
  for (std::int64_t i = 0; i < b.count; ++i) {
    Lanes x[Vectors];
    for (int v = 0; v < Vectors; ++v) load(x[v], b.input + i * b.values + p + v * kLanes);
    for (int c = 0; c < Classes; ++c) {
      const float slope = slopes[i * b.classes + k + c];
      for (int v = 0; v < Vectors; ++v) sums[c][v] += slope * x[v];
    }
  }
  for (int c = 0; c < Classes; ++c) {
    for (int v = 0; v < Vectors; ++v) {
      *reinterpret_cast<AnyLanes*>(gradient + (k + c) * b.values + p + v * kLanes) = sums[c][v];
    }
  }
}

template <int Vectors>
COS2P_INLINE void weight_columns(const LinearBatch& b, const float* slopes, std::int64_t p, float* gradient) {
  int k = 0;
  for (; k + kTileClasses <= b.classes; k += kTileClasses)
    weight_tile<kTileClasses, Vectors>(b, slopes, k, p, gradient);
  for (; k < b.classes; ++k) weight_tile<1, Vectors>(b, slopes, k, p, gradient);
}

COS2P_VECTOR_CLONES
void weight_gradient(const LinearBatch& b, const float* slopes, float* gradient) {
  std::int64_t p = 0;
  for (; p + 2 * kLanes <= b.values; p += 2 * kLanes) weight_columns<2>(b, slopes, p, gradient);
  for (; p + kLanes <= b.values; p += kLanes) weight_columns<1>(b, slopes, p, gradient);
  for (; p < b.values; ++p) {
    for (int k = 0; k < b.classes; ++k) {
      float sum = 0;
      for (std::int64_t i = 0; i < b.count; ++i) sum += slopes[i * b.classes + k] * b.input[i * b.values + p];
      gradient[k * b.values + p] = sum;
    }
  }
}

/// One image's logits -> the gradient of its cross-entropy, divided by `count`. Returns the cross-entropy.
double softmax_slopes(const LinearBatch& b, std::int64_t label, float* z) {
  const int K = b.classes;
  for (int k = 0; k < K && b.absent != nullptr; ++k) z[k] = b.absent[k] ? 0 : z[k];
  for (int k = 0; k < K && b.adjustment != nullptr; ++k) z[k] += b.adjustment[k];
  const float largest = *std::max_element(z, z + K);
  const float own = z[label] - largest;
  float sum = 0;
  for (int k = 0; k < K; ++k) sum += z[k] = std::exp(z[k] - largest);
  const float scale = 1 / (sum * static_cast<float>(b.count));
  for (int k = 0; k < K; ++k) z[k] *= scale;
  z[label] -= 1 / static_cast<float>(b.count);
  // A logit that was set to 0 does not depend on the weights.
  for (int k = 0; k < K && b.absent != nullptr; ++k) z[k] = b.absent[k] ? 0 : z[k];
  return std::log(static_cast<double>(sum)) - static_cast<double>(own);
}

}  // namespace

LinearLoss linear_gradient(const LinearBatch& b, const float* model, float* logits, float* gradient) {
  const float* bias = model + b.classes * b.values;
  float* bias_gradient = gradient + b.classes * b.values;
  all_logits(b, model, logits);
  std::fill(bias_gradient, bias_gradient + b.classes, 0.0F);
  LinearLoss result;
  for (std::int64_t i = 0; i < b.count; ++i) {
    float* z = logits + i * b.classes;
    for (int k = 0; k < b.classes; ++k) z[k] += bias[k];
    if (std::max_element(z, z + b.classes) - z == b.labels[i]) ++result.correct;
    result.cross_entropy += softmax_slopes(b, b.labels[i], z);
    for (int k = 0; k < b.classes; ++k) bias_gradient[k] += z[k];
  }
  result.cross_entropy /= static_cast<double>(b.count);
  weight_gradient(b, logits, gradient);
  return result;
}

}  // namespace cos2p
