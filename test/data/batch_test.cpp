#include "cos2p/data/batch.hpp"

#include <algorithm>
#include <cmath>
#include <map>

#include "data/data_test_files.hpp"

using namespace cos2p;
using data_test::check_error;

namespace {

/// Two images of 2 x 3 pixels and 2 channels; image i, row y, column x, channel c holds 100 i + 20 y + 4 x +
/// c + 1.
ImageSet small_set() {
  ImageSet set;
  set.height = 2;
  set.width = 3;
  set.channels = 2;
  set.classes = 5;
  set.labels = {4, 2};
  for (int i = 0; i < 2; ++i) {
    for (int y = 0; y < 2; ++y) {
      for (int x = 0; x < 3; ++x) {
        for (int c = 0; c < 2; ++c)
          set.pixels.push_back(static_cast<std::uint8_t>(100 * i + 20 * y + 4 * x + c + 1));
      }
    }
  }
  return set;
}

/// With mean 0 and deviation 1/255 the output is the byte itself.
const Normalization bytes_as_they_are{{0, 0}, {1.0F / 255, 1.0F / 255}};

std::vector<int> filled(const ImageSet& set, const AugmentOptions& augment, std::int64_t index, Rng* rng) {
  const BatchMaker maker(set, bytes_as_they_are, augment);
  std::vector<float> out(12);
  const std::vector<std::int64_t> indices{index};
  maker.fill(indices, rng, out);
  std::vector<int> rounded;
  for (const float v : out) rounded.push_back(static_cast<int>(std::lround(v)));
  return rounded;
}

/// What image 0 must look like after a shift and a mirror, from the definition.
std::vector<int> expected(int shift_x, int shift_y, bool mirrored) {
  std::vector<int> out;
  for (int c = 0; c < 2; ++c) {
    for (int y = 0; y < 2; ++y) {
      for (int x = 0; x < 3; ++x) {
        const int from_x = (mirrored ? 2 - x : x) + shift_x, from_y = y + shift_y;
        const bool inside = from_x >= 0 && from_x < 3 && from_y >= 0 && from_y < 2;
        out.push_back(inside ? 20 * from_y + 4 * from_x + c + 1 : 0);
      }
    }
  }
  return out;
}

}  // namespace

BOOST_AUTO_TEST_CASE(the_normalisation_of_a_hand_made_set_is_exact) {
  ImageSet set;
  set.height = 1;
  set.width = 2;
  set.channels = 2;
  set.classes = 1;
  set.labels = {0, 0};
  set.pixels = {0, 51, 255, 51, 0, 51, 255, 51};
  const Normalization n = measure_normalization(set);
  BOOST_TEST(n.mean[0] == 0.5F);
  BOOST_TEST(n.deviation[0] == 0.5F);
  BOOST_TEST(n.mean[1] == 0.2F);
  BOOST_TEST(n.deviation[1] == 1.0F);  // a constant channel
}

BOOST_AUTO_TEST_CASE(a_normalised_set_has_mean_zero_and_deviation_one) {
  const ImageSet set = small_set();
  const BatchMaker maker(set, measure_normalization(set), {});
  std::vector<float> out(24);
  const std::vector<std::int64_t> indices{0, 1};
  maker.fill(indices, nullptr, out);
  for (const std::size_t c : {0U, 1U}) {
    double sum = 0, squares = 0;
    for (const std::size_t i : {0U, 1U}) {
      for (std::size_t p = 0; p < 6; ++p) {
        const double v = out[i * 12 + c * 6 + p];
        sum += v;
        squares += v * v;
      }
    }
    BOOST_TEST(std::abs(sum / 12) < 1e-6);
    BOOST_TEST(std::abs(squares / 12 - 1) < 1e-5);
  }
}

BOOST_AUTO_TEST_CASE(evaluation_neither_crops_nor_flips) {
  const ImageSet set = small_set();
  AugmentOptions augment;
  augment.crop_padding = 2;
  augment.flip = true;
  for (int i = 0; i < 20; ++i) {
    BOOST_TEST(filled(set, augment, 0, nullptr) == expected(0, 0, false), boost::test_tools::per_element());
  }
}

BOOST_AUTO_TEST_CASE(crops_and_flips_are_all_and_only_the_possible_ones) {
  const ImageSet set = small_set();
  AugmentOptions augment;
  augment.crop_padding = 1;
  augment.flip = true;
  std::map<std::vector<int>, int> possible;
  for (const int dx : {-1, 0, 1}) {
    for (const int dy : {-1, 0, 1}) {
      for (const bool mirrored : {false, true}) possible[expected(dx, dy, mirrored)] = 0;
    }
  }
  BOOST_TEST_REQUIRE(possible.size() == 18U);
  Rng rng(5);
  for (int i = 0; i < 3600; ++i) {
    const auto found = possible.find(filled(set, augment, 0, &rng));
    BOOST_TEST_REQUIRE((found != possible.end()));
    ++found->second;
  }
  for (const auto& [image, times] : possible)
    BOOST_TEST((times > 130 && times < 270));  // 200 expected, deviation 14
}

BOOST_AUTO_TEST_CASE(the_same_stream_makes_the_same_batch) {
  const ImageSet set = small_set();
  AugmentOptions augment;
  augment.crop_padding = 2;
  Rng a(9, {1}), b(9, {1});
  for (int i = 0; i < 10; ++i)
    BOOST_TEST((filled(set, augment, i % 2, &a) == filled(set, augment, i % 2, &b)));
}

BOOST_AUTO_TEST_CASE(an_absurd_padding_is_refused) {
  const ImageSet set = small_set();
  for (const int padding : {-1, 1 << 30}) {
    AugmentOptions augment;
    augment.crop_padding = padding;
    check_error(ExitCode::usage, {"--crop-padding " + std::to_string(padding)},
                [&] { const BatchMaker maker(set, bytes_as_they_are, augment); });
  }
}
