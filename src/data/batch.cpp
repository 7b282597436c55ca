#include "cos2p/data/batch.hpp"

#include <array>
#include <cmath>
#include <utility>

#include "cos2p/support/error.hpp"

namespace cos2p {

Normalization measure_normalization(const ImageSet& images) {
  COS2P_ASSERT(images.size() > 0 && images.channels > 0);
  const auto channels = static_cast<std::size_t>(images.channels);
  // Counting the 256 values first makes the sums exact integers, whatever the number of pixels.
  std::vector<std::array<std::int64_t, 256>> counts(channels);
  for (std::size_t i = 0; i < images.pixels.size(); i += channels) {
    for (std::size_t c = 0; c < channels; ++c) ++counts[c][images.pixels[i + c]];
  }
  const auto pixels = static_cast<double>(images.pixels.size()) / static_cast<double>(channels);
  Normalization result;
  for (const auto& histogram : counts) {
    double mean = 0, variance = 0;
    for (std::size_t v = 0; v < 256; ++v) mean += static_cast<double>(histogram[v]) * static_cast<double>(v);
    mean /= pixels;
    for (std::size_t v = 0; v < 256; ++v) {
      const double distance = static_cast<double>(v) - mean;
      variance += static_cast<double>(histogram[v]) * distance * distance;
    }
    variance /= pixels;
    result.mean.push_back(static_cast<float>(mean / 255));
    // A channel of one value carries nothing; dividing by 1 keeps it finite.
    result.deviation.push_back(variance > 0 ? static_cast<float>(std::sqrt(variance) / 255) : 1.0F);
  }
  return result;
}

BatchMaker::BatchMaker(const ImageSet& images, Normalization normalization, AugmentOptions augment)
    : images_(images), normalization_(std::move(normalization)), augment_(augment) {
  COS2P_ASSERT(normalization_.mean.size() == static_cast<std::size_t>(images.channels) &&
               normalization_.deviation.size() == normalization_.mean.size());
  constexpr int largest_padding = 4096;
  if (augment_.crop_padding < 0 || augment_.crop_padding > largest_padding) {
    fail(ExitCode::usage,
         "--crop-padding {} is not possible (0 to {} pixels are), give 0 for none or 4 for small images",
         augment_.crop_padding, largest_padding);
  }
  for (std::size_t c = 0; c < normalization_.mean.size(); ++c) {
    const float mean = normalization_.mean[c], scale = 1.0F / normalization_.deviation[c];
    for (int v = 0; v < 256; ++v) values_.push_back((static_cast<float>(v) / 255.0F - mean) * scale);
  }
}

void BatchMaker::fill(Span<const std::int64_t> indices, Rng* rng, Span<float> out) const {
  const auto image_size = static_cast<std::size_t>(images_.image_bytes());
  COS2P_ASSERT(out.size() == indices.size() * image_size);
  for (std::size_t b = 0; b < indices.size(); ++b) {
    COS2P_ASSERT(indices[b] >= 0 && indices[b] < images_.size());
    int shift_x = 0, shift_y = 0;
    bool mirrored = false;
    if (rng != nullptr && augment_.crop_padding > 0) {
      const std::uint64_t places = 2 * static_cast<std::uint64_t>(augment_.crop_padding) + 1;
      shift_y = static_cast<int>(rng->below(places)) - augment_.crop_padding;
      shift_x = static_cast<int>(rng->below(places)) - augment_.crop_padding;
    }
    if (rng != nullptr && augment_.flip) mirrored = rng->below(2) == 1;
    fill_image(images_.image(indices[b]), shift_x, shift_y, mirrored, out.data() + b * image_size);
  }
}

void BatchMaker::fill_image(Span<const std::uint8_t> image, int shift_x, int shift_y, bool mirrored,
                            float* out) const {
  const int height = images_.height, width = images_.width, channels = images_.channels;
  if (shift_x == 0 && shift_y == 0 && !mirrored) {
    // As it is: no pixel has to be asked where it lies.
    const auto step = static_cast<std::size_t>(channels);
    for (std::size_t c = 0; c < step; ++c) {
      const float* values = values_.data() + 256 * c;
      for (std::size_t i = c; i < image.size(); i += step) *out++ = values[image[i]];
    }
    return;
  }
  for (int c = 0; c < channels; ++c) {
    const float* values = values_.data() + std::ptrdiff_t{256} * c;
    for (int y = 0; y < height; ++y) {
      const int from_y = y + shift_y;
      const bool row_inside = from_y >= 0 && from_y < height;
      for (int x = 0; x < width; ++x) {
        // The crop is taken first and mirrored afterwards.
        const int from_x = (mirrored ? width - 1 - x : x) + shift_x;
        const bool inside = row_inside && from_x >= 0 && from_x < width;
        const std::ptrdiff_t at = (std::ptrdiff_t{from_y} * width + from_x) * channels + c;
        *out++ = values[inside ? image[static_cast<std::size_t>(at)] : 0];
      }
    }
  }
}

}  // namespace cos2p
