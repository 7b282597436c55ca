// What rounding took from a client's updates, through changes of what the client trains.
#include "error_feedback.hpp"

#include <boost/test/unit_test.hpp>
#include <cmath>

#include "cos2p/kernels/merge.hpp"
#include "cos2p/model/tensor_memory.hpp"
#include "cos2p/support/random.hpp"
#include "model/vit_fixture.hpp"

using namespace cos2p;
using namespace cos2p::test;

namespace {

struct Fixture {
  SegmentTable table{small_model(2)};
  const Segment& segment = table[table.feed_forward(0)];
  ErrorFeedback feedback{ValueType::int8};
  Rng rng{1};

  /// A full segment's values of which each unit and each shared value has its own.
  std::vector<float> random_segment() {
    std::vector<float> values(static_cast<std::size_t>(segment.numel));
    for (float& value : values) value = static_cast<float>(rng.normal());
    return values;
  }
  std::vector<float> of_units(const std::vector<float>& full, const UnitSet& units) const {
    std::vector<float> kept(static_cast<std::size_t>(segment.numel_with(units.size())));
    gather_segment(segment, units, full, kept);
    return kept;
  }
  /// What the server reads.
  std::vector<float> pushed(int client, const UnitSet& units, const std::vector<float>& values) {
    const std::vector<std::byte> packed = feedback.pack(client, segment, units, values);
    std::vector<float> read(values.size());
    unpack_values({ValueType::int8, packed.data(), static_cast<std::int64_t>(values.size())}, 0, read);
    return read;
  }
};

}  // namespace

BOOST_FIXTURE_TEST_SUITE(error_feedback, Fixture)

BOOST_AUTO_TEST_CASE(what_was_lost_stays_with_its_unit) {
  // Each round keeps other units. A unit that was in the round before gets back what that took from it, and
  // none what was taken from another.
  const std::vector<float> values = random_segment();
  std::vector<double> lost(values.size(),
                           0);  // as it should be, per value of the full segment; NaN = nothing
  UnitSet before(segment.units, {});
  for (int round = 0; round < 30; ++round) {
    std::vector<std::int32_t> kept;
    for (std::int32_t unit = 0; unit < segment.units; ++unit) {
      if (rng.uniform() < 0.5) kept.push_back(unit);
    }
    const UnitSet units(segment.units, kept);
    const std::vector<float> read = pushed(0, units, of_units(values, units));
    std::size_t at = 0;
    for (const TensorSpec& tensor : segment.tensors) {
      for (std::int64_t i = 0; i < tensor.numel(); ++i) {
        const auto unit = static_cast<std::int32_t>(tensor.per_unit ? i / tensor.row() : 0);
        const auto in = [unit](const UnitSet& set) {
          return std::binary_search(set.kept().begin(), set.kept().end(), unit);
        };
        double& owed = lost[static_cast<std::size_t>(tensor.offset + i)];
        if (tensor.per_unit && !in(units)) continue;
        if (tensor.per_unit && !in(before)) owed = 0;
        const double meant = static_cast<double>(values[static_cast<std::size_t>(tensor.offset + i)]) + owed;
        owed = meant - static_cast<double>(read[at++]);
        // With an error of another value added it would be further away.
        BOOST_REQUIRE_LE(std::fabs(owed), 4.0 / 254 + 1e-4);
      }
    }
    BOOST_TEST(at == read.size());
    before = units;
  }
}

BOOST_AUTO_TEST_CASE(clients_and_segments_have_their_own) {
  const UnitSet all = UnitSet::all(segment.units);
  const std::vector<float> values = random_segment();
  const std::vector<float> first = pushed(0, all, values);
  BOOST_TEST(pushed(1, all, values) == first);
  const std::vector<float> second = pushed(0, all, values);
  BOOST_TEST(second != first);
  BOOST_TEST(pushed(1, all, values) == second);
  // What is not trained any more is forgotten.
  feedback.keep_only(0, {table.embedding()});
  BOOST_TEST(pushed(0, all, values) == first);
}

BOOST_AUTO_TEST_CASE(its_memory_is_two_bytes_a_value_and_is_measured) {
  tensor_memory::install();
  const std::int64_t before = tensor_memory::current();
  BOOST_TEST(feedback.bytes(0) == 0);
  pushed(0, UnitSet::all(segment.units), random_segment());
  BOOST_TEST(feedback.bytes(0) == 2 * segment.numel);
  BOOST_TEST(feedback.bytes(1) == 0);
  BOOST_TEST(tensor_memory::current() - before >= 2 * segment.numel);
  const UnitSet one(segment.units, {1});
  pushed(0, one, of_units(random_segment(), one));
  BOOST_TEST(feedback.bytes(0) == 2 * segment.numel_with(1));
  feedback.keep_only(0, {});
  BOOST_TEST(feedback.bytes(0) == 0);
  BOOST_TEST(tensor_memory::current() == before);
}

BOOST_AUTO_TEST_SUITE_END()
