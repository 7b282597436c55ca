// The built-in image set: stripes of ten kinds seen through a round window.
//
// The class is the kind of stripes: five directions times two widths. Everything else is drawn anew for each
// image: where the window is and how large, the phase of the stripes (so bright and dark change places, and
// the mean image of every class is the same grey), their contrast, the brightness behind and the noise over
// all. A linear model of the pixels therefore sees next to nothing, while a model that compares neighbouring
// pixels and gathers over patches learns it. All arithmetic is on integers: the bytes are the same on every
// machine.
#include <algorithm>
#include <array>
#include <cstdlib>

#include "cos2p/support/error.hpp"
#include "cos2p/support/random.hpp"
#include "readers.hpp"

namespace cos2p::data {
namespace {

constexpr int side = 28, classes = 10;
constexpr std::int64_t largest_set = 10'000'000;
enum Purpose : std::uint64_t { image_stream = 0x51, label_stream = 0x52 };

/// Stripe direction times 1000, at angles of 0, 36, 72, 108 and 144 degrees.
constexpr std::array<std::array<int, 2>, 5> directions = {
    {{1000, 0}, {809, 588}, {309, 951}, {-309, 951}, {-809, 588}}};
/// Stripes per 1024 pixels.
constexpr std::array<int, 2> frequencies = {252, 126};

int between(Rng& rng, int low, int high) {  // both included
  return low + static_cast<int>(rng.below(static_cast<std::uint64_t>(high - low) + 1));
}

/// A triangle wave of period 1024 with values in [-256, 256].
int triangle(int phase) {
  const int p = ((phase % 1024) + 1024) % 1024;
  return std::abs(p - 512) - 256;
}

/// Bell-shaped noise from four uniform bytes: mean 0, deviation about 148.
int noise(Rng& rng) {
  const std::uint64_t bits = rng();
  return static_cast<int>((bits & 255) + ((bits >> 8) & 255) + ((bits >> 16) & 255) + ((bits >> 24) & 255)) -
         510;
}

void draw_image(Rng rng, int label, std::uint8_t* pixels) {
  const auto& direction = directions[static_cast<std::size_t>(label % 5)];
  const int frequency = frequencies[static_cast<std::size_t>(label / 5)] * between(rng, 230, 282) / 256;
  const int fx = frequency * direction[0], fy = frequency * direction[1];  // per 1024 * 1000 pixels
  const int phase = between(rng, 0, 1023);
  const int radius = between(rng, 6, 13);
  const int centre_x = between(rng, 7, side - 8), centre_y = between(rng, 7, side - 8);
  const int background = between(rng, 96, 160);
  const int contrast = between(rng, 32, 104);
  const int grain = between(rng, 8, 32);
  for (int y = 0; y < side; ++y) {
    for (int x = 0; x < side; ++x) {
      const int dx = x - centre_x, dy = y - centre_y;
      int value = background + noise(rng) * grain / 148;
      if (dx * dx + dy * dy <= radius * radius) {
        value += contrast * triangle(phase + (fx * dx + fy * dy) / 1000) / 256;
      }
      pixels[y * side + x] = static_cast<std::uint8_t>(std::clamp(value, 0, 255));
    }
  }
}

/// Image i depends on (seed, part, i) alone; each run of ten holds every class once, so any first n are
/// balanced too.
ImageSet make_part(std::uint64_t seed, std::uint64_t part, std::int64_t count) {
  ImageSet set;
  set.name = to_string(DatasetKind::synthetic);
  set.height = set.width = side;
  set.channels = 1;
  set.classes = classes;
  set.pixels.resize(static_cast<std::size_t>(count * set.image_bytes()));
  std::vector<std::int32_t> order(classes);
  for (std::int64_t i = 0; i < count; ++i) {
    const auto place = static_cast<std::size_t>(i % classes);
    if (place == 0) {
      for (int c = 0; c < classes; ++c) order[static_cast<std::size_t>(c)] = c;
      Rng(seed, {label_stream, part, static_cast<std::uint64_t>(i / classes)}).shuffle(order);
    }
    set.labels.push_back(order[place]);
    draw_image(Rng(seed, {image_stream, part, static_cast<std::uint64_t>(i)}), order[place],
               set.pixels.data() + i * set.image_bytes());
  }
  return set;
}

void check_count(std::int64_t count, const char* option) {
  if (count < 1 || count > largest_set) {
    fail(ExitCode::usage, "{} {} is not possible (1 to {} images are), choose another number", option, count,
         largest_set);
  }
}

}  // namespace

Dataset make_synthetic(const DatasetOptions& options) {
  check_count(options.synthetic_train, "--synthetic-train");
  check_count(options.synthetic_test, "--synthetic-test");
  return {make_part(options.seed, 0, options.synthetic_train),
          make_part(options.seed, 1, options.synthetic_test)};
}

}  // namespace cos2p::data
