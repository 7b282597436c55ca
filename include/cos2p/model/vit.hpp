#pragma once

#include <torch/types.h>

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "cos2p/model/initial_values.hpp"
#include "cos2p/model/segment_table.hpp"
#include "cos2p/model/unit_set.hpp"

namespace cos2p {

/// What of the full model a Vit holds. Missing blocks are pruned: they do not exist, they are not zeros.
struct VitShape {
  int kept_blocks = 0;    ///< blocks 0 .. kept_blocks-1
  int frozen_blocks = 0;  ///< the embedding (if > 0) and blocks 0 .. frozen_blocks-1, with their exit heads,
                          ///< get no gradient
  std::vector<UnitSet> heads;    ///< per kept block
  std::vector<UnitSet> neurons;  ///< per kept block
  bool scale_kept_units = true;  ///< in training, multiply each part's output by total/kept (HeteroFL's 1/r)
  static VitShape full(const ModelOptions& options);
};

/// A factor on what each kept unit adds to the residual stream: 1 leaves it, 0 takes it away.
struct VitGates {
  std::vector<torch::Tensor> heads, neurons;  ///< per kept block, (kept units), float32
};

/// How many of the kept units of each block take part, from the first on: a narrower model inside of this
/// one.
struct VitWidth {
  std::int64_t heads = 0, neurons = 0;  ///< at least 1, at most those kept
};

/// A Transformer encoder for images (ViT) or texts (BERT-type) with any subset of the full model's blocks,
/// heads and neurons, and the exit heads of its kept blocks. The parameters of a segment are views into one
/// flat, contiguous tensor (the submodel's layout of that segment), so that a segment is sent and received
/// without gathering tensors, and writing to the flat tensor changes the model.
///
/// Pre-LayerNorm blocks (epsilon kLayerNormEpsilon), GELU with the error function, exit heads of LayerNorm
/// and a linear layer on the class token. In the deepest kept block only the class token's row is computed
/// where nothing else is read.
class Vit {
 public:
  /// Values start as zeros; fill flat(). The table must live as long as the model. The deepest kept block
  /// must have an exit.
  Vit(const SegmentTable& table, VitShape shape, torch::Device device);

  const VitShape& shape() const { return shape_; }
  const SegmentTable& table() const { return table_; }
  torch::Device device() const { return device_; }
  /// Segments this model holds, in table order; and those of them that train.
  const std::vector<SegmentId>& segments() const { return segments_; }
  std::vector<SegmentId> trained_segments() const;
  bool trains(SegmentId id) const;
  /// Kept units; an empty set for segments without units.
  const UnitSet& units(SegmentId id) const;
  /// The flat values of a segment, (numel_with(kept)), float32, on the model's device.
  torch::Tensor flat(SegmentId id) const;
  /// One tensor of a segment in its stored shape, axis 0 shortened to the kept units: a leaf, a view into
  /// flat().
  torch::Tensor tensor(SegmentId id, const std::string& name) const;
  /// Trainable leaf tensors, in table order.
  std::vector<torch::Tensor> parameters() const;

  /// From now on every forward pass leaves out the values of the blocks' matrices that are smaller than
  /// `threshold` at that moment (model/weight_mask.hpp).
  void mask_below(float threshold) { threshold_ = threshold; }

  /// input -> logits (B, K) at each exit of the kept blocks, shallow to deep. Images: (B, C, H, W), float32.
  /// Texts: ids of word pieces (B, T), int32, T up to the longest, negative where a text has ended; how much
  /// padding a batch has changes nothing but the time. In evaluation (training = false) kept units are not
  /// scaled: with all units kept both are the full model. Gradients exist where the caller's gradient mode is
  /// on. With `gates`, frozen blocks too pass gradients on, to the gates of blocks before them. With `width`,
  /// the other units are not computed and get a gradient of 0. `features` gets what each exit reads, before
  /// its norm: class tokens (B, D). Throws Error(internal) for input of another shape.
  std::vector<torch::Tensor> forward(const torch::Tensor& input, bool training,
                                     const VitGates* gates = nullptr, const VitWidth* width = nullptr,
                                     std::vector<torch::Tensor>* features = nullptr) const;
  /// The block after which each logits tensor of forward() is read.
  const std::vector<int>& exit_blocks() const { return exit_blocks_; }

 private:
  torch::Tensor embed(const torch::Tensor& input) const;
  torch::Tensor run_block(int block, torch::Tensor x, bool training, const torch::Tensor& lengths,
                          const VitGates* gates, const VitWidth* width, torch::Tensor& exit_input) const;
  torch::Tensor run_exit(SegmentId exit, const torch::Tensor& class_token) const;

  /// A matrix of a block as the forward pass reads it.
  torch::Tensor matrix(SegmentId id, const std::string& name) const;

  const SegmentTable& table_;
  VitShape shape_;
  std::optional<float> threshold_;
  torch::Device device_;
  UnitSet no_units_;
  std::vector<SegmentId> segments_;
  std::vector<int> exit_blocks_;
  std::map<int, torch::Tensor> flat_;                            // by segment id
  std::map<int, std::map<std::string, torch::Tensor>> tensors_;  // leaves, by segment id and tensor name
};

}  // namespace cos2p
