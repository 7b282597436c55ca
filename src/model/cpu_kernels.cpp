#include "cpu_kernels.hpp"

#include <algorithm>
#include <memory>
#include <vector>

namespace cos2p::cpu {

extern const Kernels baseline;
#ifdef COS2P_X86_KERNELS
extern const Kernels avx2, avx512;
#endif

const Kernels* const* available_kernels() {
  struct List {
    const Kernels* sets[4] = {nullptr, nullptr, nullptr, nullptr};  // fastest first
    List() {
      int n = 0;
#ifdef COS2P_X86_KERNELS
      __builtin_cpu_init();
      const bool has_avx2 = __builtin_cpu_supports("avx2") != 0 && __builtin_cpu_supports("fma") != 0;
      if (has_avx2 && __builtin_cpu_supports("avx512f") != 0 && __builtin_cpu_supports("avx512dq") != 0 &&
          __builtin_cpu_supports("avx512bw") != 0 && __builtin_cpu_supports("avx512vl") != 0) {
        sets[n++] = &avx512;
      }
      if (has_avx2) sets[n++] = &avx2;
#endif
      sets[n] = &baseline;
    }
  };
  static const List list;
  return list.sets;
}

const Kernels& kernels() {
  return *available_kernels()[0];
}

namespace {

// One float buffer per thread, not initialised: the kernels write before they read.
std::unique_ptr<float[]> workspace(const AttentionShape& shape) {
  return std::unique_ptr<float[]>(new float[static_cast<std::size_t>(kernels().attention_workspace(shape))]);
}

// The shape of one image. Padding stands behind, so that leaving it out is no more than having fewer tokens.
AttentionShape without_padding(AttentionShape shape, const std::int64_t* lengths, std::int64_t image) {
  if (lengths != nullptr) {
    shape.tokens = std::min(shape.tokens, lengths[image]);
    shape.queries = std::min(shape.queries, shape.tokens);
  }
  return shape;
}

// Rows [begin, end) of (rows, heads, width), the columns of one head.
void zero_head(float* data, std::int64_t width, std::int64_t heads, std::int64_t head, std::int64_t begin,
               std::int64_t end) {
  for (std::int64_t row = begin; row < end; ++row) {
    float* first = data + (row * heads + head) * width;
    std::fill(first, first + width, 0.0F);
  }
}

// Calls f(begin, end) on pieces of [0, count): multiples of 4096, so that no two threads write the same cache
// line.
template <typename F>
void for_pieces(std::int64_t count, const F& f) {
  constexpr std::int64_t kPiece = 4096;
  const std::int64_t pieces = (count + kPiece - 1) / kPiece;
#pragma omp parallel for schedule(static) if (pieces > 4)
  for (std::int64_t piece = 0; piece < pieces; ++piece) {
    f(piece * kPiece, std::min(count, (piece + 1) * kPiece));
  }
}

}  // namespace

void attention_forward(const AttentionShape& shape, std::int64_t images, const std::int64_t* lengths,
                       const float* qkv, float* context) {
  const std::int64_t image_qkv = shape.tokens * shape.heads * 3 * shape.head_dim;
  const std::int64_t image_context = shape.queries * shape.heads * shape.head_dim;
#pragma omp parallel
  {
    const auto scratch = workspace(shape);
#pragma omp for schedule(static)
    for (std::int64_t i = 0; i < images * shape.heads; ++i) {
      const std::int64_t image = i / shape.heads, head = i % shape.heads;
      const AttentionShape own = without_padding(shape, lengths, image);
      kernels().attention_forward(own, head, qkv + image * image_qkv, context + image * image_context,
                                  scratch.get());
      zero_head(context + image * image_context, shape.head_dim, shape.heads, head, own.queries,
                shape.queries);
    }
  }
}

void attention_backward(const AttentionShape& shape, std::int64_t images, const std::int64_t* lengths,
                        const float* qkv, const float* d_context, float* d_qkv) {
  const std::int64_t image_qkv = shape.tokens * shape.heads * 3 * shape.head_dim;
  const std::int64_t image_context = shape.queries * shape.heads * shape.head_dim;
#pragma omp parallel
  {
    const auto scratch = workspace(shape);
#pragma omp for schedule(static)
    for (std::int64_t i = 0; i < images * shape.heads; ++i) {
      const std::int64_t image = i / shape.heads, head = i % shape.heads;
      const AttentionShape own = without_padding(shape, lengths, image);
      kernels().attention_backward(own, head, qkv + image * image_qkv, d_context + image * image_context,
                                   d_qkv + image * image_qkv, scratch.get());
      zero_head(d_qkv + image * image_qkv, 3 * shape.head_dim, shape.heads, head, own.tokens, shape.tokens);
    }
  }
}

void gelu(const float* in, float* out, std::int64_t count) {
  for_pieces(count, [&](std::int64_t begin, std::int64_t end) {
    kernels().gelu(in + begin, out + begin, end - begin);
  });
}

void gelu_backward(const float* in, float* d, float* out, float scale, std::int64_t count) {
  for_pieces(count, [&](std::int64_t begin, std::int64_t end) {
    kernels().gelu_backward(in + begin, d + begin, out + begin, scale, end - begin);
  });
}

namespace {

// Groups of rows that are summed apart: as many for any number of threads, at most 16, so that their sums are
// small beside the rows.
struct RowGroups {
  explicit RowGroups(const NormShape& of_all)
      : all(of_all), rows(std::max<std::int64_t>(64, (of_all.rows + 15) / 16)) {}
  std::int64_t count() const { return (all.rows + rows - 1) / rows; }
  std::int64_t first(std::int64_t group) const { return group * rows; }
  NormShape shape(std::int64_t group) const { return {std::min(rows, all.rows - first(group)), all.dim}; }
  NormShape all;
  std::int64_t rows;
};

}  // namespace

void layer_norm(const NormShape& shape, const float* x, const float* weight, const float* bias, float epsilon,
                float* out, float* mean, float* inverse_deviation) {
  const RowGroups groups(shape);
#pragma omp parallel for schedule(static) if (groups.count() > 1)
  for (std::int64_t group = 0; group < groups.count(); ++group) {
    const std::int64_t row = groups.first(group), at = row * shape.dim;
    kernels().layer_norm(groups.shape(group), x + at, weight, bias, epsilon, out + at, mean + row,
                         inverse_deviation + row);
  }
}

void layer_norm_backward(const NormShape& shape, const float* d_out, const float* x, const float* mean,
                         const float* inverse_deviation, const float* weight, float* d_x, float* d_weight,
                         float* d_bias) {
  const RowGroups groups(shape);
  const std::int64_t dim = shape.dim;
  std::vector<float> sums(d_weight != nullptr ? static_cast<std::size_t>(groups.count() * 2 * dim) : 0);
#pragma omp parallel for schedule(static) if (groups.count() > 1)
  for (std::int64_t group = 0; group < groups.count(); ++group) {
    const std::int64_t row = groups.first(group), at = row * dim;
    float* own = d_weight != nullptr ? sums.data() + group * 2 * dim : nullptr;
    kernels().layer_norm_backward(groups.shape(group), d_out + at, x + at, mean + row,
                                  inverse_deviation + row, weight, d_x != nullptr ? d_x + at : nullptr, own,
                                  own != nullptr ? own + dim : nullptr);
  }
  if (d_weight == nullptr) return;
  std::fill(d_weight, d_weight + dim, 0.0F);
  std::fill(d_bias, d_bias + dim, 0.0F);
  for (std::int64_t group = 0; group < groups.count(); ++group) {
    const float* own = sums.data() + group * 2 * dim;
    for (std::int64_t j = 0; j < dim; ++j) {
      d_weight[j] += own[j];
      d_bias[j] += own[dim + j];
    }
  }
}

}  // namespace cos2p::cpu
