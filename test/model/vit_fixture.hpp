#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <vector>

#include "cos2p/model/vit.hpp"
#include "cos2p/support/random.hpp"

namespace cos2p::test {

/// A model small enough for hundreds of forward passes, with sizes that are no multiples of vector widths.
inline ModelOptions small_model(int blocks = 3) {
  ModelOptions options;
  options.image_height = 12;
  options.image_width = 8;
  options.channels = 2;
  options.patch = 4;
  options.dim = 20;
  options.blocks = blocks;
  options.heads = 4;
  options.feed_forward = 18;
  options.classes = 5;
  options.validate();
  return options;
}

inline ModelOptions small_text_model(int blocks = 3) {
  ModelOptions options = small_model(blocks);
  options.vocabulary = 30;
  options.max_length = 12;
  options.validate();
  return options;
}

/// Texts of the given lengths in a batch `width` wide: any ids, then padding.
inline torch::Tensor texts_for(const ModelOptions& o, const std::vector<std::int64_t>& lengths,
                               std::int64_t width, std::uint64_t seed = 3) {
  torch::manual_seed(seed);
  torch::Tensor ids = torch::full({static_cast<std::int64_t>(lengths.size()), width}, -1, torch::kInt32);
  for (std::size_t b = 0; b < lengths.size(); ++b) {
    ids[static_cast<std::int64_t>(b)].narrow(0, 0, lengths[b]) =
        torch::randint(0, o.vocabulary, {lengths[b]}, torch::kInt32);
  }
  return ids;
}

/// Any non-empty subset of {0 .. total-1}.
inline UnitSet random_units(Rng& rng, std::int64_t total) {
  std::vector<std::int32_t> kept;
  while (kept.empty()) {
    for (std::int32_t u = 0; u < total; ++u) {
      if (rng.below(2) == 1) kept.push_back(u);
    }
  }
  return UnitSet(total, kept);
}

inline void randomize(const Vit& vit, std::uint64_t seed) {
  torch::manual_seed(seed);
  for (SegmentId id : vit.segments()) vit.flat(id).normal_(0.0, 0.3);
}

/// Gives `sub` the values that its rows have in `full`: tensor by tensor, row by row, as the definition says.
inline void copy_kept(const Vit& full, const Vit& sub) {
  const torch::NoGradGuard guard;
  for (SegmentId id : sub.segments()) {
    for (const TensorSpec& spec : full.table()[id].tensors) {
      torch::Tensor to = sub.tensor(id, spec.name);
      const torch::Tensor from = full.tensor(id, spec.name);
      if (!spec.per_unit) {
        to.copy_(from);
        continue;
      }
      const auto& kept = sub.units(id).kept();
      for (std::size_t row = 0; row < kept.size(); ++row)
        to[static_cast<std::int64_t>(row)].copy_(from[kept[row]]);
    }
  }
}

inline torch::Tensor images_for(const ModelOptions& o, std::int64_t batch, std::uint64_t seed = 3) {
  torch::manual_seed(seed);
  return torch::randn({batch, o.channels, o.image_height, o.image_width});
}

inline double largest_difference(const torch::Tensor& a, const torch::Tensor& b) {
  return (a - b).abs().max().item<double>();
}

}  // namespace cos2p::test
