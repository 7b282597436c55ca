#pragma once

#include <cstdint>
#include <vector>

#include "cos2p/data/dataset.hpp"
#include "cos2p/support/random.hpp"

namespace cos2p {

struct AugmentOptions {
  int crop_padding = 0;  ///< random crop after padding with black (byte 0) by so many pixels; 0 = none
  bool flip = false;     ///< horizontal flip with probability 1/2
};

/// Mean and deviation of each channel, of pixels scaled to [0, 1]. The deviation of a constant channel is
/// given as 1.
struct Normalization {
  std::vector<float> mean, deviation;
};
Normalization measure_normalization(const ImageSet& images);

/// Turns indices of images into network input. Stateless: the caller gives the random engine.
class BatchMaker {
 public:
  /// `images` must outlive this object. Throws Error(usage) for a padding that is negative or absurd.
  BatchMaker(const ImageSet& images, Normalization normalization, AugmentOptions augment);

  /// Writes normalised images to `out`, (B, C, H, W) float32, B = indices.size(). With `rng` (training)
  /// images are cropped and flipped as the options say; without (evaluation) they are not.
  void fill(Span<const std::int64_t> indices, Rng* rng, Span<float> out) const;

 private:
  void fill_image(Span<const std::uint8_t> image, int shift_x, int shift_y, bool mirrored, float* out) const;

  const ImageSet& images_;
  Normalization normalization_;
  AugmentOptions augment_;
  std::vector<float> values_;  // (C, 256): the normalised value of each byte
};

}  // namespace cos2p
