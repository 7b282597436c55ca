#pragma once

#include <cstdint>

/// The inner loops of a training step that ATen has no fused operator for, on one CPU core.
/// They are compiled once per vector width (cpu_kernels_*.cpp) and chosen at run time for the machine at
/// hand.
namespace cos2p::cpu {

/// Attention of one head over the tokens of one image.
/// `qkv` is row-major (tokens, heads, 3, head_dim): what one fused matrix product makes of the block's input.
struct AttentionShape {
  std::int64_t tokens = 0;
  std::int64_t queries =
      0;  ///< the first so many tokens ask; all of them, or 1 where only the class token is read
  std::int64_t heads = 0;
  std::int64_t head_dim = 0;
};

/// A matrix whose rows are normalised (LayerNorm).
struct NormShape {
  std::int64_t rows = 0;
  std::int64_t dim = 0;
};

struct Kernels {
  const char* name;  ///< "avx512", "avx2" or "baseline"

  /// Floats of `workspace` for the two functions below.
  std::int64_t (*attention_workspace)(const AttentionShape& shape);
  /// context = softmax(q k^T / sqrt(head_dim)) v for `head`. qkv points at the image's first token; context
  /// is (queries, heads, head_dim) and only the columns of `head` are written.
  void (*attention_forward)(const AttentionShape& shape, std::int64_t head, const float* qkv, float* context,
                            float* workspace);
  /// The gradient of the above. The softmax is computed again from qkv, so that nothing of size tokens^2 is
  /// ever stored. d_context has the shape of context, d_qkv that of qkv; all columns of `head` are written.
  void (*attention_backward)(const AttentionShape& shape, std::int64_t head, const float* qkv,
                             const float* d_context, float* d_qkv, float* workspace);

  /// out = gelu(in), with the error function (not the tanh form); exact to 2e-7 absolute. `in` and `out` may
  /// be the same.
  void (*gelu)(const float* in, float* out, std::int64_t count);
  /// d = d * scale * gelu'(in) in place, and out = gelu(in), from one evaluation of the error function.
  void (*gelu_backward)(const float* in, float* d, float* out, float scale, std::int64_t count);

  /// out = (x - mean) / sqrt(variance + epsilon) * weight + bias, row by row; x and out are (rows, dim).
  /// `mean` and `inverse_deviation` (one value a row) are what the gradient needs.
  void (*layer_norm)(const NormShape& shape, const float* x, const float* weight, const float* bias,
                     float epsilon, float* out, float* mean, float* inverse_deviation);
  /// The gradient of the above. d_x (rows, dim) is written unless null; what the rows give is *added* to
  /// d_weight and d_bias (dim), unless both are null.
  void (*layer_norm_backward)(const NormShape& shape, const float* d_out, const float* x, const float* mean,
                              const float* inverse_deviation, const float* weight, float* d_x,
                              float* d_weight, float* d_bias);
};

/// The fastest set that this CPU can run.
const Kernels& kernels();
/// All sets that this CPU can run, fastest first, null-terminated: what the tests compare.
const Kernels* const* available_kernels();

/// The same over all heads of `images` images, or over a whole array, on the threads that OpenMP allows. Each
/// output value is written by one thread, so results do not depend on how many there are.
/// `lengths`, null or one per image, says how many tokens there are before padding: those behind neither ask
/// nor answer, their contexts and gradients are 0.
void attention_forward(const AttentionShape& shape, std::int64_t images, const std::int64_t* lengths,
                       const float* qkv, float* context);
void attention_backward(const AttentionShape& shape, std::int64_t images, const std::int64_t* lengths,
                        const float* qkv, const float* d_context, float* d_qkv);
void gelu(const float* in, float* out, std::int64_t count);
void gelu_backward(const float* in, float* d, float* out, float scale, std::int64_t count);
void layer_norm(const NormShape& shape, const float* x, const float* weight, const float* bias, float epsilon,
                float* out, float* mean, float* inverse_deviation);
/// Writes d_weight and d_bias, both null or neither: the sums of fixed groups of rows, in their order.
void layer_norm_backward(const NormShape& shape, const float* d_out, const float* x, const float* mean,
                         const float* inverse_deviation, const float* weight, float* d_x, float* d_weight,
                         float* d_bias);

}  // namespace cos2p::cpu
