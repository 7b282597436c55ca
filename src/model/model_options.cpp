#include "cos2p/model/model_options.hpp"

#include <fmt/ranges.h>

#include <algorithm>
#include <numeric>
#include <tuple>

#include "cos2p/support/error.hpp"

namespace cos2p {
namespace {

struct Preset {
  const char* name;
  int dim, blocks, heads, feed_forward;
  int vocabulary = 0, max_length = 0;
};
// tiny, small and base are the widths of ViT-Ti, ViT-S and ViT-B; micro trains in seconds on one core.
constexpr Preset kPresets[] = {{"micro", 64, 6, 4, 128},
                               {"tiny", 192, 6, 3, 768},
                               {"small", 384, 12, 6, 1536},
                               {"base", 768, 12, 12, 3072},
                               {"bert-base", 768, 12, 12, 3072, 30522, 512},
                               {"linear", 0, 1, 0, 0}};

constexpr int kLargest = 1 << 15;  // of any one size; keeps every product of up to four sizes inside 64 bits
constexpr std::int64_t kMostValues = 1 << 30;  // of an image that a linear model reads
constexpr int kLargestVocabulary = 1 << 20;    // only dim multiplies it

void require_size(int value, const char* option, int least = 1, int most = kLargest) {
  if (value < least || value > most) {
    fail(ExitCode::usage, "{} is {} (it must be between {} and {}), choose another value", option, value,
         least, most);
  }
}

void require_divides(int part, int whole, const char* part_name, const char* whole_name) {
  if (whole % part != 0) {
    fail(ExitCode::usage, "{} {} does not divide {} {} (a remainder of {} is left), choose a divisor of {}",
         part_name, part, whole_name, whole, whole % part, whole);
  }
}

}  // namespace

bool ModelOptions::operator==(const ModelOptions& o) const {
  const auto tied = [](const ModelOptions& m) {
    return std::tie(m.image_height, m.image_width, m.channels, m.patch, m.vocabulary, m.max_length, m.dim,
                    m.blocks, m.heads, m.feed_forward, m.classes, m.exits);
  };
  return tied(*this) == tied(o);
}

void ModelOptions::validate() {
  require_size(classes, "number of classes");
  if (linear() && reads_texts()) {
    fail(ExitCode::usage,
         "--model linear cannot read texts (it weighs pixels), choose another model or a data set of images");
  }
  if (linear()) {
    require_size(image_height, "image height");
    require_size(image_width, "image width");
    require_size(channels, "image channels");
    if (image_values() > kMostValues) {
      fail(ExitCode::usage,
           "images of {} values are too large for --model linear (at most {}), choose another",
           image_values(), kMostValues);
    }
    patch = max_length = heads = feed_forward = 0;
    blocks = 1;
    exits = {0};
    return;
  }
  if (reads_texts()) {
    require_size(vocabulary, "the vocabulary's size", 1, kLargestVocabulary);
    require_size(max_length, "--max-length", 2);
    image_height = image_width = channels = patch = 0;
  } else {
    require_size(image_height, "image height");
    require_size(image_width, "image width");
    require_size(channels, "image channels");
    require_size(patch, "--patch");
    require_divides(patch, image_height, "--patch", "image height");
    require_divides(patch, image_width, "--patch", "image width");
    max_length = 0;
  }
  require_size(dim, "--dim");
  require_size(blocks, "--blocks");
  require_size(heads, "--heads");
  require_size(feed_forward, "--feed-forward");
  require_divides(heads, dim, "--heads", "--dim");
  if (exits.empty()) {
    exits.resize(static_cast<std::size_t>(blocks));
    std::iota(exits.begin(), exits.end(), 0);
  }
  for (int exit : exits) {
    if (exit < 0 || exit >= blocks) {
      fail(ExitCode::usage, "--exits names block {} (the model has blocks 0 to {}), remove it", exit,
           blocks - 1);
    }
  }
  std::sort(exits.begin(), exits.end());
  exits.erase(std::unique(exits.begin(), exits.end()), exits.end());
  if (exits.back() != blocks - 1) exits.push_back(blocks - 1);
}

ModelOptions model_preset(const std::string& name) {
  std::vector<std::string> names;
  for (const Preset& preset : kPresets) {
    if (name == preset.name) {
      ModelOptions options;
      options.dim = preset.dim;
      options.blocks = preset.blocks;
      options.heads = preset.heads;
      options.feed_forward = preset.feed_forward;
      options.vocabulary = preset.vocabulary;
      options.max_length = preset.max_length;
      return options;
    }
    names.emplace_back(preset.name);
  }
  fail(ExitCode::usage, "--model '{}' is unknown (known: {}), choose one of them", name,
       fmt::join(names, ", "));
}

std::string describe_shape(const ModelOptions& m) {
  if (m.linear()) return fmt::format("linear, {} values to {} classes", m.image_values(), m.classes);
  return fmt::format("dim {}, {} blocks, {} heads, feed-forward {}", m.dim, m.blocks, m.heads,
                     m.feed_forward);
}

}  // namespace cos2p
