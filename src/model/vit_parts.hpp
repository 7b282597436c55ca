#pragma once

#include <torch/types.h>

#include <cstdint>

/// The parts of a ViT or a BERT-type encoder as differentiable functions whose backward passes are written by
/// hand: each keeps only what its backward cannot compute again cheaply (see docs of the functions), and
/// works through its rows in pieces so that tensors between two matrix products are small. B images, T
/// tokens, D dim, h kept heads, d head_dim, f kept neurons, R rows. Where gradient mode is off nothing is
/// kept at all. All tensors float32, contiguous, on one device.
namespace cos2p::parts {

struct EmbeddingTensors {
  torch::Tensor patch_weight;  // (D, P)
  torch::Tensor patch_bias;    // (D)
  torch::Tensor class_token;   // (D)
  torch::Tensor position;      // (T, D)
};
/// images (B, C, H, W) -> (B, T, D). Keeps the images.
torch::Tensor embed(const torch::Tensor& images, const EmbeddingTensors& tensors, std::int64_t patch);

struct TokenEmbeddingTensors {
  torch::Tensor token;                   // (V, D)
  torch::Tensor position;                // (longest, D)
  torch::Tensor norm_weight, norm_bias;  // (D)
};
/// ids (B, T) int32, negative where a text has ended -> norm(token + position) (B, T, D). Keeps the ids.
torch::Tensor embed_tokens(const torch::Tensor& ids, const TokenEmbeddingTensors& tensors);

struct AttentionTensors {
  torch::Tensor norm_weight, norm_bias;  // (D)
  torch::Tensor qkv_weight;              // (h, 3, d, D)
  torch::Tensor qkv_bias;                // (h, 3, d)
  torch::Tensor out_weight;              // (h, d, D)
  torch::Tensor out_bias;                // (D)
};
/// x (B, T, D) -> x + scale * attention(norm(x)) + out_bias; (B, T, D), or the class token's row alone (B, D)
/// where nothing else is read any more. Keeps x, q, k, v and the heads' outputs: (2D or D) + 4hd floats a
/// token. `lengths`, undefined or (B) int64 on the CPU: tokens behind are padding, which no token attends to.
torch::Tensor attend(const torch::Tensor& x, const AttentionTensors& tensors, double scale,
                     bool class_token_only, const torch::Tensor& lengths = {});

struct FeedForwardTensors {
  torch::Tensor norm_weight, norm_bias;  // (D)
  torch::Tensor fc1_weight;              // (f, D)
  torch::Tensor fc1_bias;                // (f)
  torch::Tensor fc2_weight;              // (f, D)
  torch::Tensor fc2_bias;                // (D)
};
struct FeedForwardResult {
  torch::Tensor y;            // like x
  torch::Tensor class_token;  // (B, D), undefined unless asked for
};
/// x (..., D) -> x + scale * feed_forward(norm(x)) + fc2_bias. With `read_class_token`, x is (B, T, D) and
/// the class token's rows come out as a tensor of their own, for an exit head. Keeps x and the f values
/// before GELU.
FeedForwardResult feed_forward(const torch::Tensor& x, const FeedForwardTensors& tensors, double scale,
                               bool read_class_token);

/// Attention over qkv (B, T, h, 3, d) for the first `queries` tokens -> (B, queries, h, d), and its gradient,
/// in ATen operators: what runs on CUDA, and the reference for the CPU's own kernels. With `lengths` (as in
/// attend) the contexts of padding are not 0 here, as the kernels' are: nothing reads them.
torch::Tensor attention_reference(const torch::Tensor& qkv, std::int64_t queries,
                                  const torch::Tensor& lengths = {});
torch::Tensor attention_reference_backward(const torch::Tensor& qkv, const torch::Tensor& d_context,
                                           const torch::Tensor& lengths = {});

}  // namespace cos2p::parts
