#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace cos2p {

/// Shape of a Vision Transformer (Dosovitskiy et al. 2021: pre-LayerNorm blocks, class token, learned
/// positions).
struct ModelOptions {
  int image_height = 28, image_width = 28, channels = 1;
  int patch = 7;           ///< side of a square patch; divides height and width
  int dim = 64;            ///< D, width of the residual stream
  int blocks = 6;          ///< depth
  int heads = 4;           ///< attention heads per block; divides dim
  int feed_forward = 128;  ///< neurons of the feed-forward part
  int classes = 10;
  std::vector<int>
      exits;  ///< sorted 0-based blocks after which an exit head stands; the last block is always one

  int head_dim() const { return dim / heads; }
  int tokens() const {
    return (image_height / patch) * (image_width / patch) + 1;
  }  ///< T, with the class token
  bool operator==(const ModelOptions& other) const;

  /// Completes `exits` (empty = after every block) and throws Error(usage) naming the option for every shape
  /// that cannot be.
  void validate();
};

/// "micro" (dim 64, 6 blocks), "tiny" (192, 6), "small" (384, 12), "base" (ViT-B: 768, 12): dim, blocks,
/// heads, feed_forward. Throws Error(usage) listing the names.
ModelOptions model_preset(const std::string& name);

}  // namespace cos2p
