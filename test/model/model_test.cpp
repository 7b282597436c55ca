#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <functional>
#include <numeric>
#include <string>
#include <vector>

#include "cos2p/model/initial_values.hpp"
#include "cos2p/model/model_options.hpp"
#include "cos2p/model/segment_table.hpp"
#include "cos2p/model/unit_set.hpp"
#include "cos2p/support/error.hpp"
#include "cos2p/support/random.hpp"

using namespace cos2p;

namespace {

void expect_error(ExitCode code, const std::vector<std::string>& words, const std::function<void()>& action) {
  try {
    action();
    BOOST_ERROR("nothing was thrown");
  } catch (const Error& error) {
    BOOST_TEST(static_cast<int>(error.code()) == static_cast<int>(code));
    for (const std::string& word : words) {
      BOOST_TEST(std::string(error.what()).find(word) != std::string::npos, error.what()
                                                                                << " lacks '" << word << "'");
    }
  }
}

ModelOptions valid(ModelOptions options) {
  options.validate();
  return options;
}

void expect_refused(const std::vector<std::string>& words, const std::function<void(ModelOptions&)>& change) {
  ModelOptions options;
  change(options);
  expect_error(ExitCode::usage, words, [&] { options.validate(); });
}

}  // namespace

BOOST_AUTO_TEST_CASE(options_refuse_shapes_that_cannot_be) {
  expect_refused({"--patch 5", "image height 28", "remainder of 3"}, [](ModelOptions& o) { o.patch = 5; });
  expect_refused({"--patch 7", "image width 30"}, [](ModelOptions& o) { o.image_width = 30; });
  expect_refused({"--heads 5", "--dim 64"}, [](ModelOptions& o) { o.heads = 5; });
  expect_refused({"--blocks is 0"}, [](ModelOptions& o) { o.blocks = 0; });
  expect_refused({"--dim is -4"}, [](ModelOptions& o) { o.dim = -4; });
  expect_refused({"--feed-forward is 0"}, [](ModelOptions& o) { o.feed_forward = 0; });
  expect_refused({"number of classes is 2000000"}, [](ModelOptions& o) { o.classes = 2000000; });
  expect_refused({"--exits names block 6", "0 to 5"}, [](ModelOptions& o) { o.exits = {6}; });
  expect_refused({"--exits names block -1"}, [](ModelOptions& o) { o.exits = {-1}; });
  expect_error(ExitCode::usage, {"--model 'huge'", "micro, tiny, small, base"}, [] { model_preset("huge"); });
}

BOOST_AUTO_TEST_CASE(exits_are_completed) {
  BOOST_TEST(valid({}).exits == (std::vector<int>{0, 1, 2, 3, 4, 5}), boost::test_tools::per_element());
  ModelOptions options;
  options.exits = {3, 1, 3};
  BOOST_TEST(valid(options).exits == (std::vector<int>{1, 3, 5}), boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(base_is_vit_b_16) {
  ModelOptions options = model_preset("base");
  options.image_height = options.image_width = 224;
  options.channels = 3;
  options.patch = 16;
  options.classes = 1000;
  options.exits = {11};
  const SegmentTable table(valid(options));
  BOOST_TEST(options.tokens() == 197);
  BOOST_TEST(table.parameters() == 86567656);  // torchvision's vit_b_16
}

BOOST_AUTO_TEST_CASE(table_names_segments_once_and_lays_tensors_end_to_end) {
  ModelOptions options;
  options.exits = {2, 5};
  const SegmentTable table(valid(options));
  BOOST_TEST(table.size() == 1 + 6 * 2 + 2);
  std::int64_t sum = 0;
  for (const Segment& segment : table) {
    BOOST_TEST(table.find(segment.name) == &segment);
    BOOST_TEST(&table[segment.id] == &segment);
    std::int64_t offset = 0, unit_floats = 0;
    for (const TensorSpec& tensor : segment.tensors) {
      BOOST_TEST(tensor.offset == offset);
      BOOST_TEST(tensor.shape.size() == tensor.axes.size());
      if (tensor.per_unit) {
        BOOST_TEST(tensor.shape[0] == segment.units);
        unit_floats += tensor.row();
      }
      offset += tensor.numel();
    }
    BOOST_TEST(segment.numel == offset);
    BOOST_TEST(segment.numel_per_unit == unit_floats);
    BOOST_TEST(segment.numel_with(segment.units) == segment.numel);
    sum += segment.numel;
  }
  BOOST_TEST(table.parameters() == sum);
  BOOST_TEST(table[table.attention(3)].name == "block_03/attention");
  BOOST_TEST(table[table.feed_forward(5)].name == "block_05/feed_forward");
  BOOST_TEST(table[table.exit_head(2)].name == "block_02/exit_head");
  BOOST_TEST(!table.exit_head(3).valid());
  BOOST_TEST(table.find("block_06/attention") == nullptr);
}

BOOST_AUTO_TEST_CASE(unit_sets_survive_their_bitmap) {
  Rng rng(7);
  for (int round = 0; round < 200; ++round) {
    const auto total = static_cast<std::int64_t>(1 + rng.below(70));
    std::vector<std::int32_t> kept;
    for (std::int32_t u = 0; u < total; ++u) {
      if (rng.below(2) == 1) kept.push_back(u);
    }
    const UnitSet units(total, kept);
    const auto bits = units.bitmap();
    BOOST_TEST(static_cast<std::int64_t>(bits.size()) == UnitSet::bitmap_bytes(total));
    BOOST_TEST((UnitSet::from_bitmap(total, bits) == units));
    BOOST_TEST(units.full() == (units == UnitSet::all(total)));
  }
}

BOOST_AUTO_TEST_CASE(unit_sets_refuse_what_is_not_a_subset) {
  expect_error(ExitCode::internal, {"unit 3 after 3"}, [] { UnitSet(5, {3, 3}); });
  expect_error(ExitCode::internal, {"unit 5", "of 5 units"}, [] { UnitSet(5, {1, 5}); });
  expect_error(ExitCode::internal, {"unit -1"}, [] { UnitSet(5, {-1}); });
  expect_error(ExitCode::internal, {"2 bytes", "expected 1 for 5"}, [] {
    UnitSet::from_bitmap(5, std::vector<std::uint8_t>{1, 0});
  });
  expect_error(ExitCode::internal, {"unit 5"},
               [] { UnitSet::from_bitmap(5, std::vector<std::uint8_t>{32}); });
}

BOOST_AUTO_TEST_CASE(initial_values_follow_their_distribution_and_their_key) {
  const SegmentTable table(valid({}));
  const Segment& segment = table[table.attention(2)];
  const auto values = initial_values(segment, 5);
  BOOST_TEST(values == initial_values(segment, 5), boost::test_tools::per_element());
  BOOST_TEST((values != initial_values(segment, 6)));
  BOOST_TEST((values != initial_values(table[table.attention(3)], 5)));
  for (const TensorSpec& tensor : segment.tensors) {
    const float* begin = values.data() + tensor.offset;
    const auto n = static_cast<double>(tensor.numel());
    const double mean = std::accumulate(begin, begin + tensor.numel(), 0.0) / n;
    const double square = std::inner_product(begin, begin + tensor.numel(), begin, 0.0) / n;
    if (tensor.name == "qkv.weight") {
      BOOST_TEST(std::abs(mean) < 1e-3);
      BOOST_TEST(std::sqrt(square) == 0.02 * 0.8796,
                 boost::test_tools::tolerance(0.02));  // truncation at 2 deviations
      for (std::int64_t i = 0; i < tensor.numel(); ++i) BOOST_REQUIRE(std::abs(begin[i]) <= 0.04F);
    } else {
      BOOST_TEST(mean == (tensor.name == "norm.weight" ? 1.0 : tensor.name == "out.weight" ? mean : 0.0));
    }
  }
}

BOOST_AUTO_TEST_CASE(a_linear_model_is_one_segment) {
  ModelOptions options = model_preset("linear");
  options.image_height = 5;
  options.channels = 3;
  options.validate();
  BOOST_TEST(options.linear());
  BOOST_TEST(options.blocks == 1);
  BOOST_TEST(options.exits == std::vector<int>{0}, boost::test_tools::per_element());
  BOOST_TEST(describe_shape(options) == "linear, 420 values to 10 classes");
  const SegmentTable table(options);
  BOOST_TEST(table.size() == 1);
  const Segment& segment = *table.find("linear");
  BOOST_TEST((segment.id == table.exit_head(0)));
  BOOST_TEST(!table.attention(0).valid());
  BOOST_TEST(!table.feed_forward(0).valid());
  BOOST_TEST(segment.units == 0);
  BOOST_TEST(segment.tensors.at(0).shape == (std::vector<std::int64_t>{10, 420}),
             boost::test_tools::per_element());
  BOOST_TEST(segment.tensors.at(1).shape == (std::vector<std::int64_t>{10}),
             boost::test_tools::per_element());
  BOOST_TEST(table.parameters() == 4210);
  const std::vector<float> values = initial_values(segment, 1);
  BOOST_TEST(std::count(values.begin(), values.begin() + 4200, 0.0F) < 10);
  BOOST_TEST(std::count(values.begin() + 4200, values.end(), 0.0F) == 10);
}

BOOST_AUTO_TEST_CASE(a_linear_model_refuses_what_it_cannot_read) {
  const auto linear = [](auto change) {
    return [change] {
      ModelOptions options = model_preset("linear");
      change(options);
      options.validate();
    };
  };
  expect_error(ExitCode::usage, {"--model linear cannot read texts"},
               linear([](ModelOptions& o) { o.vocabulary = 100; }));
  expect_error(ExitCode::usage, {"image width is 0"}, linear([](ModelOptions& o) { o.image_width = 0; }));
  expect_error(ExitCode::usage, {"number of classes is 0"}, linear([](ModelOptions& o) { o.classes = 0; }));
  expect_error(ExitCode::usage, {"too large for --model linear"},
               linear([](ModelOptions& o) { o.image_width = o.image_height = o.channels = 30000; }));
}
