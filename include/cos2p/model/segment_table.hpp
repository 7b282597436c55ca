#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "cos2p/model/model_options.hpp"
#include "cos2p/support/typed_id.hpp"

namespace cos2p {

/// What is versioned, sent and aggregated as one.
enum class SegmentKind { embedding, attention, feed_forward, exit_head };
std::string to_string(SegmentKind kind);

/// One tensor of a segment. Where `per_unit`, axis 0 is the unit (attention head or feed-forward neuron), so
/// that the values of one unit are one contiguous row and pruning a unit drops that row.
struct TensorSpec {
  std::string name;                 ///< "qkv.weight"
  std::vector<std::int64_t> shape;  ///< of the full model
  std::vector<std::string> axes;    ///< names of the axes: {"head", "qkv", "head_dim", "dim"}
  bool per_unit = false;
  std::int64_t offset = 0;  ///< floats from the start of the full segment
  std::int64_t numel() const;
  std::int64_t row() const;  ///< floats of one unit (per_unit only)
  /// qkv, out, fc1 and fc2: what a block multiplies by.
  bool is_block_matrix() const { return per_unit && shape.size() > 1 && axes.back() == "dim"; }
};

/// A segment of the full model: its tensors lie one after another in one contiguous float32 array.
struct Segment {
  SegmentId id;
  SegmentKind kind = SegmentKind::embedding;
  int block = -1;  ///< -1 for the embedding
  /// "embedding", "block_03/attention", "block_03/feed_forward", "block_03/exit_head"; "linear"
  std::string name;
  std::int64_t units = 0;  ///< heads or neurons; 0 where nothing can be pruned
  std::vector<TensorSpec> tensors;
  std::int64_t numel = 0;           ///< floats of the full segment
  std::int64_t numel_per_unit = 0;  ///< floats that one unit owns
  std::int64_t numel_shared() const { return numel - units * numel_per_unit; }
  /// Floats of the segment with `kept` of its units: same tensors in the same order, shorter along axis 0.
  std::int64_t numel_with(std::int64_t kept) const { return numel_shared() + kept * numel_per_unit; }
  std::int64_t bytes() const { return numel * static_cast<std::int64_t>(sizeof(float)); }
};

/// Names all segments of a model, once. Order: embedding, then per block attention, feed-forward, exit head
/// (if any).
///
/// Tensors (D dim, H heads, d head_dim, F feed-forward, P patch values, T tokens, V vocabulary, K classes):
///   embedding     images: patch.weight (D, P = C*p*p)   patch.bias (D)   class_token (D)   position (T, D)
///                 texts: token (V, D)   position (T, D)   norm.weight (D)   norm.bias (D)
///   attention     norm.weight (D)  norm.bias (D)  qkv.weight (H, 3, d, D)*  qkv.bias (H, 3, d)*  out.weight
///   (H, d, D)*  out.bias (D) feed_forward  norm.weight (D)  norm.bias (D)  fc1.weight (F, D)*  fc1.bias (F)*
///   fc2.weight (F, D)*  fc2.bias (D) exit_head     norm.weight (D)  norm.bias (D)  linear.weight (K, D)
///   linear.bias (K)
/// A linear model is one segment, an exit head of block 0:
///   linear        weight (K, C*H*W)   bias (K)
/// * per unit. out.weight and fc2.weight are stored transposed (input first) so that a unit's values are one
/// row.
class SegmentTable {
 public:
  explicit SegmentTable(const ModelOptions& options);  ///< options must be validated

  const ModelOptions& options() const { return options_; }
  int size() const { return static_cast<int>(segments_.size()); }
  const Segment& operator[](SegmentId id) const;
  const Segment* find(const std::string& name) const;  ///< null where there is none
  SegmentId embedding() const { return SegmentId(0); }
  SegmentId attention(int block) const;
  SegmentId feed_forward(int block) const;
  SegmentId exit_head(int block) const;  ///< invalid id where the block has no exit
  std::vector<Segment>::const_iterator begin() const { return segments_.begin(); }
  std::vector<Segment>::const_iterator end() const { return segments_.end(); }
  std::int64_t parameters() const;       ///< floats of the full model
  std::int64_t largest_segment() const;  ///< floats

 private:
  ModelOptions options_;
  std::vector<Segment> segments_;
  std::vector<int> attention_of_block_, feed_forward_of_block_, exit_of_block_;
};

}  // namespace cos2p
