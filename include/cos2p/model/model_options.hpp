#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace cos2p {

/// Shape of a Transformer encoder: a Vision Transformer (Dosovitskiy et al. 2021) for images or a BERT-type
/// encoder (Devlin et al. 2019) for texts. Both have pre-LayerNorm blocks and learned positions and read the
/// first token, [CLS], at their exits. A model of texts has no image sizes (0), a model of images no
/// vocabulary. A linear model (multinomial logistic regression on the pixels) has neither patches nor units
/// (0); it counts as one block with an exit, so that windows, exits and plans know no other case.
struct ModelOptions {
  int image_height = 28, image_width = 28, channels = 1;
  int patch = 7;           ///< side of a square patch; divides height and width
  int vocabulary = 0;      ///< word pieces that a model of texts knows; 0 = a model of images
  int max_length = 128;    ///< of texts, in word pieces, [CLS] and [SEP] among them
  int dim = 64;            ///< D, width of the residual stream; 0 = a linear model
  int blocks = 6;          ///< depth
  int heads = 4;           ///< attention heads per block; divides dim
  int feed_forward = 128;  ///< neurons of the feed-forward part
  int classes = 10;
  std::vector<int>
      exits;  ///< sorted 0-based blocks after which an exit head stands; the last block is always one

  bool reads_texts() const { return vocabulary > 0; }
  bool linear() const { return dim == 0; }
  int head_dim() const { return linear() ? 0 : dim / heads; }
  /// T, with the class token; of texts the most; of a linear model 0.
  int tokens() const {
    if (linear()) return 0;
    return reads_texts() ? max_length : (image_height / patch) * (image_width / patch) + 1;
  }
  /// Values of an image: C * H * W.
  std::int64_t image_values() const { return std::int64_t{channels} * image_height * image_width; }
  bool operator==(const ModelOptions& other) const;

  /// Completes `exits` (empty = after every block) and throws Error(usage) naming the option for every shape
  /// that cannot be.
  void validate();
};

/// "micro" (dim 64, 6 blocks), "tiny" (192, 6), "small" (384, 12), "base" (ViT-B: 768, 12): dim, blocks,
/// heads, feed_forward. "bert-base" is base with a vocabulary of 30,522 pieces and a length of 512; "linear"
/// is the linear model. Throws Error(usage) listing the names.
ModelOptions model_preset(const std::string& name);
/// "dim 64, 6 blocks, 4 heads, feed-forward 128", or "linear, 784 values to 10 classes".
std::string describe_shape(const ModelOptions& model);

}  // namespace cos2p
