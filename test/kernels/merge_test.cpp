#include <boost/test/unit_test.hpp>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include "cos2p/kernels/merge.hpp"
#include "cos2p/support/random.hpp"

using namespace cos2p;

namespace {

SegmentTable small_table() {
  ModelOptions options;
  options.image_height = options.image_width = 8;
  options.patch = 4;
  options.dim = 24;
  options.blocks = 2;
  options.heads = 4;
  options.feed_forward = 37;
  options.validate();
  return SegmentTable(options);
}

UnitSet random_units(std::int64_t total, Rng& rng) {
  std::vector<std::int32_t> kept;
  for (std::int32_t u = 0; u < total; ++u) {
    if (rng.uniform() < 0.6) kept.push_back(u);
  }
  if (kept.empty() && total > 0) kept.push_back(0);
  return total > 0 ? UnitSet(total, kept) : UnitSet();
}

std::vector<float> random_values(std::int64_t count, Rng& rng) {
  std::vector<float> values(static_cast<std::size_t>(count));
  for (float& v : values) v = static_cast<float>(rng.normal());
  return values;
}

/// Updates of one segment with everything they borrow.
struct Updates {
  std::vector<UnitSet> units;
  std::vector<std::vector<float>> values;
  std::vector<MergeInput> inputs;
};

Updates random_updates(const Segment& segment, int count, Rng& rng) {
  Updates u;
  for (int i = 0; i < count; ++i) {
    u.units.push_back(random_units(segment.units, rng));
    u.values.push_back(random_values(segment.numel_with(u.units.back().size()), rng));
  }
  for (int i = 0; i < count; ++i) {
    const auto k = static_cast<std::size_t>(i);
    const double weight = quantize_weight(0.01 + 0.99 * rng.uniform());
    u.inputs.push_back({u.values[k], &u.units[k], weight, quantize_weight(weight * rng.uniform())});
  }
  return u;
}

Anchor random_anchor(const Segment& segment, Rng& rng) {
  Anchor anchor;
  for (std::int64_t i = 0; i < segment.units; ++i) anchor.units.push_back(quantize_weight(rng.uniform()));
  anchor.shared = quantize_weight(rng.uniform());
  return anchor;
}

/// The rule as it is written, value by value: the plainest program that can be right.
std::vector<float> naive_merge(const Segment& segment, const Updates& u, const Anchor& anchor,
                               std::vector<float> values) {
  for (const TensorSpec& tensor : segment.tensors) {
    for (std::int64_t i = 0; i < tensor.numel(); ++i) {
      const std::int64_t unit = tensor.per_unit ? i / tensor.row() : -1;
      double total = unit >= 0 ? (anchor.units.empty() ? 0 : anchor.units[static_cast<std::size_t>(unit)])
                               : anchor.shared;
      double discounted = 0, sum = 0;
      bool any = false;
      for (std::size_t k = 0; k < u.inputs.size(); ++k) {
        std::int64_t offset = 0;  // of the tensor in this update
        for (const TensorSpec& before : segment.tensors) {
          if (&before == &tensor) break;
          offset += before.per_unit ? before.row() * u.units[k].size() : before.numel();
        }
        if (unit >= 0) {
          const auto& kept = u.units[k].kept();
          const auto found = std::find(kept.begin(), kept.end(), static_cast<std::int32_t>(unit));
          if (found == kept.end()) continue;
          offset += (found - kept.begin()) * tensor.row() + i % tensor.row();
        } else {
          offset += i;
        }
        any = true;
        total += u.inputs[k].weight;
        discounted += u.inputs[k].discounted;
        sum += u.inputs[k].discounted * static_cast<double>(u.values[k][static_cast<std::size_t>(offset)]);
      }
      float& value = values[static_cast<std::size_t>(tensor.offset + i)];
      if (any) value = static_cast<float>((sum + (total - discounted) * static_cast<double>(value)) / total);
    }
  }
  return values;
}

/// Merges a segment in parts of `part` values.
void merge(const Segment& segment, Span<const MergeInput> inputs, const PartialSums* sums,
           const Anchor& anchor, std::vector<float>& values, std::size_t part = 1 << 20) {
  const MergeKernel kernel(segment, inputs, sums, anchor);
  for (std::size_t begin = 0; begin < values.size(); begin += part) {
    kernel.merge(static_cast<std::int64_t>(begin),
                 {values.data() + begin, std::min(part, values.size() - begin)});
  }
}

}  // namespace

BOOST_AUTO_TEST_CASE(merge_equals_the_rule_written_out) {
  const SegmentTable table = small_table();
  for (int seed = 0; seed < 20; ++seed) {
    Rng rng(static_cast<std::uint64_t>(seed));
    for (const Segment& segment : table) {
      const Updates updates = random_updates(segment, 1 + seed % 5, rng);
      const Anchor anchor = seed % 2 == 0 ? Anchor{} : random_anchor(segment, rng);
      std::vector<float> values = random_values(segment.numel, rng);
      const std::vector<float> expected = naive_merge(segment, updates, anchor, values);
      merge(segment, updates.inputs, nullptr, anchor, values,
            seed % 3 == 0 ? 1 : 7 + 100 * static_cast<std::size_t>(seed));
      for (std::size_t i = 0; i < values.size(); ++i) BOOST_REQUIRE_SMALL(values[i] - expected[i], 2e-6F);
    }
  }
}

BOOST_AUTO_TEST_CASE(packed_updates_merge_as_what_they_stand_for) {
  const SegmentTable table = small_table();
  for (int seed = 0; seed < 20; ++seed) {
    Rng rng(static_cast<std::uint64_t>(seed));
    for (const Segment& segment : table) {
      Updates updates = random_updates(segment, 1 + seed % 7, rng);
      std::vector<std::vector<std::byte>> packed;
      std::vector<MergeInput> inputs = updates.inputs;
      for (std::size_t k = 0; k < inputs.size(); ++k) {
        std::vector<float>& values = updates.values[k];
        const auto count = static_cast<std::int64_t>(values.size());
        const ValueType type = k % 2 == 0 ? ValueType::int8 : ValueType::bf16;
        std::vector<std::uint16_t> lost(values.size(), 0);
        packed.emplace_back(static_cast<std::size_t>(packed_bytes(type, count)));
        pack_values(type, values, lost, packed.back());
        inputs[k].values = {type, packed.back().data(), count};
        unpack_values(inputs[k].values, 0, values);
      }
      std::vector<float> expected = random_values(segment.numel, rng), values = expected, folded = expected;
      merge(segment, updates.inputs, nullptr, {}, expected);
      merge(segment, inputs, nullptr, {}, values, 1 + 100 * static_cast<std::size_t>(seed));
      BOOST_TEST(values == expected);
      PartialSums sums;
      accumulate_segment(segment, inputs, sums, 2);
      merge(segment, std::vector<MergeInput>{}, &sums, {}, folded);
      BOOST_TEST(folded == expected);
    }
  }
}

BOOST_AUTO_TEST_CASE(order_of_arrival_and_folding_do_not_change_a_bit) {
  const SegmentTable table = small_table();
  for (int seed = 0; seed < 20; ++seed) {
    Rng rng(100 + static_cast<std::uint64_t>(seed));
    for (const Segment& segment : table) {
      const Updates updates = random_updates(segment, 6, rng);
      const Anchor anchor = random_anchor(segment, rng);
      const std::vector<float> before = random_values(segment.numel, rng);
      std::vector<float> in_order = before, shuffled = before, folded = before;
      merge(segment, updates.inputs, nullptr, anchor, in_order);

      std::vector<MergeInput> other = updates.inputs;
      rng.shuffle(other);
      merge(segment, other, nullptr, anchor, shuffled, 33);
      BOOST_TEST((in_order == shuffled));

      PartialSums sums;
      accumulate_segment(segment, {other.data(), 2}, sums, 1);
      accumulate_segment(segment, {other.data() + 2, 1}, sums, 2);
      BOOST_TEST(sums.updates == 3);
      merge(segment, {other.data() + 3, 3}, &sums, anchor, folded);
      BOOST_TEST((in_order == folded));
    }
  }
}

BOOST_AUTO_TEST_CASE(units_nobody_trained_keep_their_value) {
  const SegmentTable table = small_table();
  const Segment& segment = table[table.feed_forward(0)];
  Rng rng(5);
  const UnitSet units(segment.units, {3});
  const std::vector<float> update = random_values(segment.numel_with(1), rng);
  std::vector<float> values = random_values(segment.numel, rng);
  const std::vector<float> before = values;
  merge(segment, std::vector<MergeInput>{{update, &units, 1, 1}}, nullptr, {}, values);
  for (const TensorSpec& tensor : segment.tensors) {
    for (std::int64_t i = 0; i < tensor.numel(); ++i) {
      const bool trained = !tensor.per_unit || i / tensor.row() == 3;
      const auto at = static_cast<std::size_t>(tensor.offset + i);
      BOOST_TEST((values[at] == before[at]) == !trained);
    }
  }
}

BOOST_AUTO_TEST_CASE(one_full_weight_update_replaces_the_value) {
  const SegmentTable table = small_table();
  Rng rng(9);
  for (const Segment& segment : table) {
    const UnitSet all = segment.units > 0 ? UnitSet::all(segment.units) : UnitSet();
    const std::vector<float> update = random_values(segment.numel, rng);
    std::vector<float> values(static_cast<std::size_t>(segment.numel),
                              std::numeric_limits<float>::quiet_NaN());
    merge(segment, std::vector<MergeInput>{{update, &all, 1, 1}}, nullptr, {}, values);
    for (std::size_t i = 0; i < values.size(); ++i) BOOST_REQUIRE_SMALL(values[i] - update[i], 1e-8F);
  }
}

BOOST_AUTO_TEST_CASE(values_that_are_no_numbers_are_found_wherever_they_stand) {
  const auto in_range = [](const std::vector<float>& values) {
    return values_in_range(ValueType::float32, PackedValues(values).deciding());
  };
  for (std::size_t at : {0, 1023, 1024, 4999}) {
    for (float bad :
         {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(), -kValueLimit}) {
      std::vector<float> values(5000, 1.0F);
      BOOST_TEST(in_range(values));
      values[at] = bad;
      BOOST_TEST(!in_range(values));
    }
  }
  BOOST_TEST(in_range({}));
}

BOOST_AUTO_TEST_CASE(gather_takes_the_rows_of_the_kept_units) {
  const SegmentTable table = small_table();
  Rng rng(11);
  for (const Segment& segment : table) {
    const UnitSet units = random_units(segment.units, rng);
    std::vector<float> full(static_cast<std::size_t>(segment.numel));
    std::iota(full.begin(), full.end(), 0.0F);
    std::vector<float> part(static_cast<std::size_t>(segment.numel_with(units.size())));
    gather_segment(segment, units, full, part);
    std::size_t next = 0;
    for (const TensorSpec& tensor : segment.tensors) {
      for (std::int64_t i = 0; i < tensor.numel(); ++i) {
        const auto& kept = units.kept();
        if (tensor.per_unit && std::find(kept.begin(), kept.end(), i / tensor.row()) == kept.end()) continue;
        BOOST_REQUIRE_EQUAL(part[next++], static_cast<float>(tensor.offset + i));
      }
    }
    BOOST_TEST(next == part.size());
  }
}

namespace {

/// A feed-forward segment of two units and its values, all `value`.
struct TwoUnits {
  SegmentTable table;
  const Segment& segment;
  std::vector<float> values, velocity;
  TwoUnits() : table(two_unit_table()), segment(table[table.feed_forward(0)]) {
    values.assign(static_cast<std::size_t>(segment.numel), 1.0F);
    velocity.assign(values.size(), 0.0F);
  }
  static SegmentTable two_unit_table() {
    ModelOptions options;
    options.image_height = options.image_width = 8;
    options.patch = 4;
    options.dim = 8;
    options.blocks = 1;
    options.heads = 1;
    options.feed_forward = 2;
    options.validate();
    return SegmentTable(options);
  }
  std::vector<float> constant(const UnitSet& units, float value) const {
    return std::vector<float>(static_cast<std::size_t>(segment.numel_with(units.size())), value);
  }
  /// First value of the unit's row in the first tensor that has units; -1: of a shared tensor.
  std::size_t at(std::int64_t unit) const {
    for (const TensorSpec& tensor : segment.tensors) {
      if (tensor.per_unit == (unit >= 0))
        return static_cast<std::size_t>(tensor.offset + (unit >= 0 ? unit * tensor.row() : 0));
    }
    return 0;
  }
};

MergeStep step_of(bool deltas, double rate, double momentum, std::vector<float>& velocity) {
  MergeStep step;
  step.deltas = deltas;
  step.rate = rate;
  step.momentum = momentum;
  step.velocity = velocity.data();
  return step;
}

}  // namespace

// Client A (weight 1, counts half) trained unit 0 by +0.5, client B (weight 1/2) both units by -0.25; a
// third, of weight 1/2, has not delivered its shared tensors.
BOOST_AUTO_TEST_CASE(deltas_are_added_by_their_weight) {
  TwoUnits t;
  const UnitSet first(2, {0}), both = UnitSet::all(2);
  const std::vector<float> a = t.constant(first, 0.5F), b = t.constant(both, -0.25F);
  const std::vector<MergeInput> inputs{{a, &first, 1, 0.5}, {b, &both, 0.5, 0.5}};
  Anchor anchor;
  anchor.shared = 0.5;
  MergeKernel(t.segment, inputs, nullptr, anchor, step_of(true, 2, 0, t.velocity)).merge(0, t.values);
  // unit 0: (0.5 * 0.5 - 0.5 * 0.25) / 1.5; unit 1: -0.125 / 0.5; shared: 0.125 / 2; each twice, as the rate
  // is 2
  BOOST_TEST(t.values[t.at(0)] == static_cast<float>(1 + 2 * 0.125 / 1.5));
  BOOST_TEST(t.values[t.at(1)] == 0.5F);
  BOOST_TEST(t.values[t.at(-1)] == 1.125F);
}

// A delta without a weight of its own stands for a part of others'; nobody trained unit 1.
BOOST_AUTO_TEST_CASE(a_unit_of_which_there_is_only_a_stand_in_keeps_its_value) {
  TwoUnits t;
  const UnitSet first(2, {0}), both = UnitSet::all(2);
  const std::vector<float> a = t.constant(first, 0.5F), mean = t.constant(both, 1);
  const std::vector<MergeInput> inputs{{a, &first, 1, 0.75}, {mean, &both, 0, 0.25}};
  MergeKernel(t.segment, inputs, nullptr, {}, step_of(true, 1, 0, t.velocity)).merge(0, t.values);
  BOOST_TEST(t.values[t.at(0)] == 1 + 0.75F * 0.5F + 0.25F);
  BOOST_TEST(t.values[t.at(1)] == 1.0F);
}

BOOST_AUTO_TEST_CASE(the_rate_goes_a_part_of_the_way_to_the_mean_of_values) {
  TwoUnits t;
  const UnitSet both = UnitSet::all(2);
  const std::vector<float> a = t.constant(both, 3);
  MergeKernel(t.segment, std::vector<MergeInput>{{a, &both, 1, 0.5}}, nullptr, {},
              step_of(false, 0.5, 0, t.velocity))
      .merge(0, t.values);
  BOOST_TEST(t.values[t.at(0)] == 1.5F);  // 1 + 0.5 * 0.5 * (3 - 1)
}

// v <- 0.5 v + g, w <- w + 0.25 v. Unit 0 is trained three times, unit 1 only in the second merge.
BOOST_AUTO_TEST_CASE(velocity_of_units_nobody_trained_stands_still) {
  for (const bool deltas : {true, false}) {
    TwoUnits t;
    const UnitSet first(2, {0}), both = UnitSet::all(2);
    double w = 1, v = 0, w1 = 1, v1 = 0;
    for (int round = 0; round < 3; ++round) {
      const UnitSet& units = round == 1 ? both : first;
      const std::vector<float> update = t.constant(units, 2);
      MergeKernel(t.segment, std::vector<MergeInput>{{update, &units, 1, 1}}, nullptr, {},
                  step_of(deltas, 0.25, 0.5, t.velocity))
          .merge(0, t.values);
      v = 0.5 * v + (deltas ? 2 : 2 - w);
      w += 0.25 * v;
      if (round == 1) {
        v1 = deltas ? 2 : 2 - w1;
        w1 += 0.25 * v1;
      }
      BOOST_TEST(t.values[t.at(0)] == static_cast<float>(w));
      BOOST_TEST(t.velocity[t.at(0)] == static_cast<float>(v));
      BOOST_TEST(t.values[t.at(1)] == static_cast<float>(w1));
      BOOST_TEST(t.velocity[t.at(1)] == static_cast<float>(v1));
    }
  }
}

// Of four values, A (weight 1) changed the first two by 0.5 and B (weight 1/2) the second and third by -0.25.
BOOST_AUTO_TEST_CASE(each_value_is_averaged_over_the_updates_that_changed_it) {
  const UnitSet both = UnitSet::all(2);
  for (const bool folded : {false, true}) {
    for (const double momentum : {0.0, 0.5}) {
      TwoUnits t;
      std::vector<float> a = t.constant(both, 0), b = a;
      a[0] = a[1] = 0.5F;
      b[1] = b[2] = -0.25F;
      const std::vector<MergeInput> inputs{{a, &both, 1, 1}, {b, &both, 0.5, 0.5}};
      MergeStep step = step_of(true, 1, momentum, t.velocity);
      step.changed = true;
      PartialSums sums;
      if (folded) accumulate_segment(t.segment, {inputs.data(), 1}, sums, 1, true);
      const std::size_t first = folded ? 1 : 0;
      MergeKernel(t.segment, {inputs.data() + first, 2 - first}, &sums, {}, step).merge(0, t.values);
      BOOST_TEST(t.values[0] == 1.5F);
      BOOST_TEST(t.values[1] == 1.25F);  // (1 * 0.5 - 0.5 * 0.25) / 1.5
      BOOST_TEST(t.values[2] == 0.75F);
      BOOST_TEST(t.values[3] == 1.0F);
      BOOST_TEST(t.velocity[0] == (momentum > 0 ? 0.5F : 0.0F));
      BOOST_TEST(t.velocity[3] == 0.0F);
    }
  }
}
