// Which units each rule keeps, worked out by hand, and what holds for any sizes.
#include "cos2p/method/width_rule.hpp"

#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <limits>
#include <numeric>
#include <set>

using namespace cos2p;

namespace {

Segment feed_forward_segment() {
  ModelOptions options;
  options.image_height = options.image_width = 8;
  options.patch = 4;
  options.dim = 12;
  options.blocks = 1;
  options.heads = 3;
  options.feed_forward = 10;
  options.validate();
  const SegmentTable table(options);
  return table[table.feed_forward(0)];
}

}  // namespace

BOOST_AUTO_TEST_CASE(a_prefix_is_the_first_units) {
  BOOST_TEST((prefix_units(5, 2) == UnitSet(5, {0, 1})));
  BOOST_TEST((prefix_units(5, 0) == UnitSet(5, {})));
  BOOST_TEST((prefix_units(5, 5) == UnitSet::all(5)));
}

BOOST_AUTO_TEST_CASE(a_rolling_window_moves_by_one_unit) {
  // {(j - t) mod 5 : j = 0, 1}
  BOOST_TEST((rolling_units(5, 2, 0) == UnitSet(5, {0, 1})));
  BOOST_TEST((rolling_units(5, 2, 1) == UnitSet(5, {0, 4})));
  BOOST_TEST((rolling_units(5, 2, 2) == UnitSet(5, {3, 4})));
  BOOST_TEST((rolling_units(5, 2, 4) == UnitSet(5, {1, 2})));
  BOOST_TEST((rolling_units(5, 2, 5) == UnitSet(5, {0, 1})));
  BOOST_TEST((rolling_units(3, 3, 7) == UnitSet::all(3)));
}

BOOST_AUTO_TEST_CASE(in_d_choices_a_rolling_window_holds_every_unit_equally_often) {
  for (const std::int64_t total : {1, 4, 7, 64}) {
    for (std::int64_t count = 1; count <= total; ++count) {
      std::vector<int> seen(static_cast<std::size_t>(total), 0);
      for (std::int64_t t = 100; t < 100 + total; ++t) {
        const UnitSet units = rolling_units(total, count, t);
        BOOST_REQUIRE(units.size() == count);
        for (const std::int32_t unit : units.kept()) ++seen[static_cast<std::size_t>(unit)];
      }
      for (const int times : seen) BOOST_TEST(times == count);
    }
  }
}

BOOST_AUTO_TEST_CASE(a_random_draw_is_named_by_its_stream_and_fair) {
  Rng a(7, {2, 3, 0}), same(7, {2, 3, 0}), other(7, {2, 4, 0});
  const UnitSet first = random_units(64, 20, a);
  BOOST_TEST(first.size() == 20);
  BOOST_TEST((first == random_units(64, 20, same)));
  BOOST_TEST((first != random_units(64, 20, other)));
  BOOST_TEST((first != random_units(64, 20, a)));  // a later draw of the same stream
  // 4000 draws of 3 from 10: each unit 1200 times, give or take 4 standard deviations (29 each).
  std::vector<int> seen(10, 0);
  Rng rng(1);
  for (int draw = 0; draw < 4000; ++draw) {
    const UnitSet drawn = random_units(10, 3, rng);
    for (const std::int32_t unit : drawn.kept()) ++seen[static_cast<std::size_t>(unit)];
  }
  for (const int times : seen) BOOST_TEST(std::abs(times - 1200) < 4 * 29);
}

BOOST_AUTO_TEST_CASE(clients_that_cover_share_an_order_and_begin_where_the_one_before_ends) {
  // 2, 3 and 4 of 5 units: positions 0 1 | 2 3 4 | 0 1 2 3 of the order
  const auto units = [](std::int64_t count, std::int64_t start) {
    Rng order(3, {1});
    return covering_units(5, count, start, order);
  };
  const UnitSet first = units(2, 0), second = units(3, 2), third = units(4, 5);
  std::vector<int> held(5, 0);
  for (const UnitSet& set : {first, second, third})
    for (const std::int32_t unit : set.kept()) ++held[static_cast<std::size_t>(unit)];
  BOOST_TEST((std::multiset<int>(held.begin(), held.end()) == std::multiset<int>{1, 2, 2, 2, 2}));
  BOOST_TEST((third == units(4, 0)));  // the order is a circle
  for (const std::int32_t unit : first.kept()) {
    BOOST_TEST(std::count(second.kept().begin(), second.kept().end(), unit) == 0);
    BOOST_TEST(std::count(third.kept().begin(), third.kept().end(), unit) == 1);
  }
  Rng next(3, {2});
  BOOST_TEST((covering_units(64, 20, 0, next) != covering_units(64, 20, 0, next)));
}

BOOST_AUTO_TEST_CASE(clients_that_cover_hold_every_unit_as_evenly_as_can_be) {
  Rng rng(11);
  for (int fleet = 0; fleet < 300; ++fleet) {
    const auto total = static_cast<std::int64_t>(1 + rng.below(40));
    const auto clients = static_cast<int>(1 + rng.below(12));
    std::vector<std::int64_t> held(static_cast<std::size_t>(total), 0);
    std::int64_t sum = 0;
    for (int c = 0; c < clients; ++c) {
      const auto count = static_cast<std::int64_t>(rng.below(static_cast<std::uint64_t>(total + 1)));
      Rng order(7, {static_cast<std::uint64_t>(fleet)});
      const UnitSet units = covering_units(total, count, sum, order);
      BOOST_REQUIRE(units.size() == count);
      for (const std::int32_t unit : units.kept()) ++held[static_cast<std::size_t>(unit)];
      sum += count;
    }
    for (const std::int64_t times : held) {
      BOOST_TEST(times >= sum / total);
      BOOST_TEST(times <= (sum + total - 1) / total);
    }
  }
}

BOOST_AUTO_TEST_CASE(top_units_breaks_ties_by_index_and_puts_nan_last) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  BOOST_TEST((top_units(std::vector<double>{1, 3, 2, 3}, 2) == UnitSet(4, {1, 3})));
  BOOST_TEST((top_units(std::vector<double>{1, 1, 1, 1}, 3) == UnitSet(4, {0, 1, 2})));
  BOOST_TEST((top_units(std::vector<double>{nan, -5, nan, -9}, 2) == UnitSet(4, {1, 3})));
  BOOST_TEST((top_units(std::vector<double>{nan, nan}, 2) == UnitSet::all(2)));
}

BOOST_AUTO_TEST_CASE(a_units_magnitude_is_the_norm_of_all_its_values) {
  const Segment segment = feed_forward_segment();
  std::vector<float> values(static_cast<std::size_t>(segment.numel), 0.0F);
  for (const TensorSpec& tensor : segment.tensors) {
    for (std::int64_t i = 0; i < tensor.numel(); ++i) {
      // Shared values count for nobody; unit u's values are all u + 1.
      values[static_cast<std::size_t>(tensor.offset + i)] =
          tensor.per_unit ? static_cast<float>(i / tensor.row() + 1) : 1000.0F;
    }
  }
  const std::vector<double> norms = unit_magnitudes(segment, values);
  BOOST_REQUIRE(norms.size() == 10U);
  for (std::size_t unit = 0; unit < 10; ++unit) {
    // fc1.weight (12), fc1.bias (1), fc2.weight (12)
    BOOST_TEST(norms[unit] == static_cast<double>(unit + 1) * 5.0, boost::test_tools::tolerance(1e-12));
  }
}

BOOST_AUTO_TEST_CASE(choices_are_counted_from_the_first_round) {
  WidthOptions options;
  options.reselect_every = 3;
  BOOST_TEST(options.choice_of(0) == 0);
  BOOST_TEST(options.choice_of(2) == 0);
  BOOST_TEST(options.choice_of(3) == 1);
  options.reselect_every = 0;
  BOOST_TEST(options.choice_of(100) == 0);
}
