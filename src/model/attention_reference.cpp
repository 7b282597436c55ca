// Attention in ATen's operators: what the CPU's kernels are compared with, and what other devices compute.
#include <torch/torch.h>

#include <cmath>

#include "vit_parts.hpp"

namespace cos2p::parts {

using torch::Tensor;

namespace {

// softmax(q k^T) over the keys before the padding: q (B, h, queries, d), k (B, h, T, d)
Tensor attention_weights(const Tensor& q, const Tensor& k, const Tensor& lengths) {
  Tensor scores = at::matmul(q, k.transpose(2, 3));
  if (lengths.defined()) {
    const Tensor place = at::arange(k.size(2), scores.options().dtype(torch::kInt64));
    const Tensor behind = place.unsqueeze(0) >= lengths.to(scores.device()).unsqueeze(1);  // (B, T)
    scores = scores.masked_fill(behind.unsqueeze(1).unsqueeze(1), -INFINITY);
  }
  return at::softmax(scores, -1);
}

}  // namespace

torch::Tensor attention_reference(const torch::Tensor& qkv, std::int64_t queries,
                                  const torch::Tensor& lengths) {
  const auto parts = qkv.permute({3, 0, 2, 1, 4});  // (3, B, h, T, d)
  const double scale = 1.0 / std::sqrt(static_cast<double>(qkv.size(4)));
  const Tensor q = parts[0].narrow(2, 0, queries) * scale;
  const Tensor p = attention_weights(q, parts[1], lengths);
  return at::matmul(p, parts[2]).transpose(1, 2).contiguous();
}

torch::Tensor attention_reference_backward(const torch::Tensor& qkv, const torch::Tensor& d_context,
                                           const torch::Tensor& lengths) {
  const auto queries = d_context.size(1);
  const auto parts = qkv.permute({3, 0, 2, 1, 4});
  const double scale = 1.0 / std::sqrt(static_cast<double>(qkv.size(4)));
  const Tensor q = parts[0].narrow(2, 0, queries) * scale, k = parts[1];
  const Tensor d_out = d_context.transpose(1, 2);  // (B, h, queries, d)
  const Tensor p = attention_weights(q, k, lengths);
  Tensor d_qkv = at::zeros_like(qkv);
  const auto d_parts = d_qkv.permute({3, 0, 2, 1, 4});
  d_parts[2].copy_(at::matmul(p.transpose(2, 3), d_out));
  Tensor d_p = at::matmul(d_out, parts[2].transpose(2, 3));
  d_p.sub_((d_p * p).sum(-1, true)).mul_(p);
  d_parts[0].narrow(2, 0, queries).copy_(at::matmul(d_p, k) * scale);
  d_parts[1].copy_(at::matmul(d_p.transpose(2, 3), q));
  return d_qkv;
}

}  // namespace cos2p::parts
