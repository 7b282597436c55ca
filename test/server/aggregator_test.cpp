#include "cos2p/server/aggregator.hpp"

#include <boost/test/unit_test.hpp>
#include <limits>

#include "server/updates.hpp"

using namespace cos2p;
using namespace cos2p::test;

namespace {

struct Fixture {
  SegmentTable table = tiny_table();
  ModelStore store{table};
  std::string reason;
  Fixture() { zero(store, table); }

  std::vector<Trainer> trainers(int count) const {
    std::vector<Trainer> result;
    for (int c = 0; c < count; ++c)
      result.push_back({100.0 * (c + 1), full_assignment(table.options()), true});
    return result;
  }
  const Segment& attention() const { return table[table.attention(0)]; }
  float value() const { return store.values(table.attention(0))[0]; }
};

}  // namespace

BOOST_FIXTURE_TEST_SUITE(aggregator, Fixture)

BOOST_AUTO_TEST_CASE(sync_waits_for_all_trainers_and_takes_their_weighted_mean) {
  Aggregator a(table, store, policy_of(PolicyKind::sync), trainers(3), 1);
  for (int c = 0; c < 3; ++c) {
    BOOST_TEST(a.merge_ready(0).empty());
    BOOST_TEST((a.add(constant_update(attention(), c, 0, 0, static_cast<float>(c)), 0, reason) ==
                UpdateVerdict::accepted));
  }
  const auto merges = a.merge_ready(0);
  BOOST_REQUIRE(merges.size() == 1U);
  BOOST_TEST(merges[0].updates == 3);
  BOOST_TEST(merges[0].version == 1U);
  BOOST_TEST(value() == (0 * 100 + 1 * 200 + 2 * 300) / 600.0F, boost::test_tools::tolerance(1e-5F));
  BOOST_TEST(a.records()[static_cast<std::size_t>(attention().id.value())].trainers == 3);
}

BOOST_AUTO_TEST_CASE(uniform_weighting_counts_every_client_the_same) {
  PolicyOptions policy = policy_of(PolicyKind::sync);
  policy.weighting = WeightingKind::uniform;
  Aggregator a(table, store, policy, trainers(2), 1);
  a.add(constant_update(attention(), 0, 0, 0, 1), 0, reason);
  a.add(constant_update(attention(), 1, 0, 0, 4), 0, reason);
  a.merge_ready(0);
  BOOST_TEST(value() == 2.5F);
}

BOOST_AUTO_TEST_CASE(in_lockstep_a_client_that_was_drawn_more_often_counts_no_less) {
  PolicyOptions policy = policy_of(PolicyKind::sync);
  policy.weighting = WeightingKind::uniform;
  policy.pace_correction = true;
  Aggregator a(table, store, policy, trainers(2), 1);
  a.add(constant_update(attention(), 0, 3, 0, 1), 0, reason);
  a.add(constant_update(attention(), 1, 0, 0, 4), 0, reason);
  a.merge_ready(0);
  BOOST_TEST(value() == 2.5F);
}

BOOST_AUTO_TEST_CASE(narrow_clients_count_less_where_asked) {
  PolicyOptions policy = policy_of(PolicyKind::sync);
  policy.weighting = WeightingKind::uniform;
  policy.width_exponent = 2;
  std::vector<Trainer> two = trainers(2);
  const ModelOptions& model = table.options();
  two[1].assignment.heads = model.heads / 2;
  two[1].assignment.neurons = model.feed_forward / 2;  // half of the units: a quarter of the weight
  Aggregator a(table, store, policy, two, 1);
  const Segment& embedding = table[table.embedding()];
  a.add(constant_update(embedding, 0, 0, 0, 1), 0, reason);
  a.add(constant_update(embedding, 1, 0, 0, 6), 0, reason);
  a.merge_ready(0);
  BOOST_TEST(store.values(embedding.id)[0] == (1 + 6 * 0.25F) / 1.25F, boost::test_tools::tolerance(1e-5F));
}

BOOST_AUTO_TEST_CASE(kept_units_are_whole_at_any_moment) {
  std::vector<Trainer> two = trainers(2);
  two[1].assignment.frozen_blocks = 1;
  Aggregator a(table, store, policy_of(PolicyKind::async), two, 1);
  const std::int64_t heads = table.options().heads, neurons = table.options().feed_forward;
  BOOST_TEST(a.kept_units(ClientId(0), SegmentKind::attention).empty());
  BOOST_TEST(a.kept_units(ClientId(0), SegmentKind::feed_forward).empty());
  a.add(constant_update(table[table.attention(1)], 0, 0, 0, 1), 0, reason);  // the first of its round
  a.add(constant_update(table[table.feed_forward(1)], 1, 0, 0, 1), 0, reason);
  const auto sizes = [&](int client, SegmentKind kind, std::int64_t total) {
    std::vector<std::int64_t> kept;
    for (const UnitSet& units : a.kept_units(ClientId(client), kind)) {
      BOOST_TEST(units.total() == total);
      kept.push_back(units.size());
    }
    return kept;
  };
  BOOST_TEST((sizes(0, SegmentKind::attention, heads) == std::vector<std::int64_t>{0, heads}));
  BOOST_TEST((sizes(0, SegmentKind::feed_forward, neurons) == std::vector<std::int64_t>{0, 0}));
  BOOST_TEST((sizes(1, SegmentKind::attention, heads) == std::vector<std::int64_t>{heads, 0}), "frozen: all");
  BOOST_TEST((sizes(1, SegmentKind::feed_forward, neurons) == std::vector<std::int64_t>{neurons, neurons}));
}

BOOST_AUTO_TEST_CASE(semi_async_merges_at_the_minimum_or_at_the_deadline) {
  PolicyOptions policy = policy_of(PolicyKind::semi_async);
  policy.min_updates = 2;
  policy.deadline_s = 10;
  Aggregator a(table, store, policy, trainers(3), 1);
  a.add(constant_update(attention(), 0, 0, 0, 1), 5, reason);
  BOOST_TEST(a.open_since_s() == 5);
  BOOST_TEST(a.merge_ready(14.9).empty());
  BOOST_TEST(a.merge_ready(15).size() == 1U);
  a.add(constant_update(attention(), 1, 0, 1, 1), 16, reason);
  BOOST_TEST(a.merge_ready(16).empty());
  a.add(constant_update(attention(), 2, 0, 1, 1), 16, reason);
  BOOST_TEST(a.merge_ready(16).size() == 1U);
}

BOOST_AUTO_TEST_CASE(absent_trainers_hold_the_present_value_where_asked) {
  PolicyOptions policy = policy_of(PolicyKind::async);
  policy.normalize = NormalizeKind::trainers;
  policy.weighting = WeightingKind::uniform;
  Aggregator a(table, store, policy, trainers(4), 1);
  a.add(constant_update(attention(), 0, 0, 0, 1), 0, reason);
  BOOST_TEST(a.merge_ready(0).size() == 1U);
  BOOST_TEST(value() == 0.25F);
}

BOOST_AUTO_TEST_CASE(a_stale_update_moves_the_value_less_and_past_the_bound_not_at_all) {
  PolicyOptions policy = policy_of(PolicyKind::async);
  policy.discount = DiscountKind::polynomial;
  policy.discount_a = 1;
  policy.staleness_bound = 1;
  Aggregator a(table, store, policy, trainers(2), 1);
  a.add(constant_update(attention(), 0, 0, 0, 0), 0, reason);
  a.merge_ready(0);
  a.add(constant_update(attention(), 1, 0, 0, 1), 0, reason);  // one version old: counts half
  const auto merges = a.merge_ready(0);
  BOOST_REQUIRE(merges.size() == 1U);
  BOOST_TEST(merges[0].staleness[0] == 1);
  BOOST_TEST(value() == 0.5F);
  BOOST_TEST((a.add(constant_update(attention(), 0, 1, 0, 1), 0, reason) == UpdateVerdict::stale));
  BOOST_TEST(reason.find("2 versions old (bound 1)") != std::string::npos);
  // To be slow is no fault, to repeat oneself is: also where the repeat has become too old.
  BOOST_TEST((a.add(constant_update(attention(), 0, 0, 0, 1), 0, reason) == UpdateVerdict::duplicate));
}

BOOST_AUTO_TEST_CASE(a_fast_client_counts_less_each_time) {
  PolicyOptions policy = policy_of(PolicyKind::async);
  policy.pace_correction = true;
  Aggregator a(table, store, policy, trainers(2), 1);
  a.add(constant_update(attention(), 1, 0, 0, 0), 0, reason);
  a.merge_ready(0);
  a.add(constant_update(attention(), 0, 0, 1, 0), 0, reason);
  a.merge_ready(0);
  a.add(constant_update(attention(), 0, 1, 2, 1), 0,
        reason);  // its second, while the other has delivered once
  a.merge_ready(0);
  BOOST_TEST(value() == 0.5F);
}

// FedAsync: w <- w + a s(d) (w_n - w), whatever the client weighs.
BOOST_AUTO_TEST_CASE(fedasync_goes_a_discounted_part_of_the_way) {
  PolicyOptions policy = policy_of(PolicyKind::fedasync);
  policy.discount = DiscountKind::polynomial;
  policy.discount_a = 1;
  policy.server_rate = 0.5;
  Aggregator a(table, store, policy, trainers(2), 1);
  a.add(constant_update(attention(), 0, 0, 0, 4), 0, reason);
  BOOST_TEST(a.merge_ready(0).size() == 1U);
  BOOST_TEST(value() == 2);
  a.add(constant_update(attention(), 1, 0, 0, 4), 0, reason);  // one version old: s = 1/2
  a.merge_ready(0);
  BOOST_TEST(value() == 2.5F);
}

// FedBuff: w <- w + eta_g / K sum s(d) delta_n.
BOOST_AUTO_TEST_CASE(fedbuff_adds_the_mean_delta_of_a_full_buffer) {
  PolicyOptions policy = policy_of(PolicyKind::fedbuff);
  policy.merge = MergeKind::deltas;
  policy.weighting = WeightingKind::uniform;
  policy.discount = DiscountKind::polynomial;
  policy.discount_a = 1;
  policy.min_updates = 2;
  policy.deadline_s = 0;
  policy.server_rate = 2;
  Aggregator a(table, store, policy, trainers(3), 1);
  a.add(constant_update(attention(), 0, 0, 0, 1), 0, reason);
  BOOST_TEST(a.merge_ready(1000).empty());
  a.add(constant_update(attention(), 1, 0, 0, 2), 0, reason);
  BOOST_TEST(a.merge_ready(1000).size() == 1U);
  BOOST_TEST(value() == 3);                                    // 2 / 2 (1 + 2)
  a.add(constant_update(attention(), 2, 0, 0, 4), 0, reason);  // one version old: s = 1/2
  a.add(constant_update(attention(), 0, 1, 1, -1), 0, reason);
  a.merge_ready(1000);
  BOOST_TEST(value() == 4);  // 3 + 2 / 2 (4 / 2 - 1)
}

BOOST_AUTO_TEST_CASE(absent_trainers_count_as_deltas_of_zero_where_asked) {
  PolicyOptions policy = policy_of(PolicyKind::async);
  policy.merge = MergeKind::deltas;
  policy.normalize = NormalizeKind::trainers;
  policy.weighting = WeightingKind::uniform;
  Aggregator a(table, store, policy, trainers(4), 1);
  a.add(constant_update(attention(), 0, 0, 0, 1), 0, reason);
  a.merge_ready(0);
  BOOST_TEST(value() == 0.25F);
  a.add(constant_update(attention(), 1, 0, 1, 1), 0, reason);
  a.merge_ready(0);
  BOOST_TEST(value() == 0.5F);
}

BOOST_AUTO_TEST_CASE(who_changed_nothing_does_not_count_where_asked) {
  PolicyOptions policy = policy_of(PolicyKind::sync);
  policy.merge = MergeKind::deltas;
  policy.normalize = NormalizeKind::changed;
  policy.weighting = WeightingKind::uniform;
  policy.server_rate = 0.5;
  Aggregator a(table, store, policy, trainers(3), 1);
  a.add(constant_update(attention(), 0, 0, 0, 1), 0, reason);
  a.add(constant_update(attention(), 1, 0, 0, 0), 0, reason);
  a.fold_largest();
  a.add(constant_update(attention(), 2, 0, 0, 4), 0, reason);
  a.merge_ready(0);
  BOOST_TEST(value() == 1.25F);  // 0.5 (1 + 4) / 2
}

// In lockstep clients push values, of which the server takes off what they were trained from.
BOOST_AUTO_TEST_CASE(in_lockstep_the_server_forms_the_deltas) {
  PolicyOptions policy = policy_of(PolicyKind::sync);
  policy.merge = MergeKind::deltas;
  policy.normalize = NormalizeKind::changed;
  policy.weighting = WeightingKind::uniform;
  BOOST_TEST((pushed_kind(policy, ValueType::float32) == MergeKind::values));
  BOOST_TEST((pushed_kind(policy, ValueType::bf16) == MergeKind::deltas));
  BOOST_TEST((pushed_kind(policy_of(PolicyKind::sync), ValueType::bf16) == MergeKind::values));
  Aggregator a(table, store, policy, trainers(2), 1);
  for (const int client : {0, 1}) a.add(constant_update(attention(), client, 0, 0, 1), 0, reason);
  a.merge_ready(0);
  BOOST_TEST(value() == 1);
  a.add(constant_update(attention(), 0, 1, 1, 1), 0, reason);  // as it was: no change, which does not count
  a.add(constant_update(attention(), 1, 1, 1, 3), 0, reason);
  a.merge_ready(0);
  BOOST_TEST(value() == 3);
  BOOST_TEST((a.add(constant_update(attention(), 0, 2, 1, 5), 0, reason) == UpdateVerdict::stale));
  BOOST_TEST(reason.find("is not known any more") != std::string::npos);
  // Two values in range may be too far from each other.
  const float far = 0.9F * static_cast<float>(kValueLimit);
  for (const int client : {0, 1}) a.add(constant_update(attention(), client, 2, 2, -far), 0, reason);
  a.merge_ready(0);
  BOOST_TEST(value() == -far);
  BOOST_TEST((a.add(constant_update(attention(), 0, 3, 3, far), 0, reason) == UpdateVerdict::not_finite));
  // Elsewhere clients push deltas themselves.
  policy.kind = PolicyKind::async;
  BOOST_TEST((pushed_kind(policy, ValueType::float32) == MergeKind::deltas));
}

BOOST_AUTO_TEST_CASE(the_velocity_goes_on_after_a_restore) {
  PolicyOptions policy = policy_of(PolicyKind::async);
  policy.merge = MergeKind::deltas;
  policy.server_momentum = 0.5;
  Aggregator a(table, store, policy, trainers(1), 1);
  a.add(constant_update(attention(), 0, 0, 0, 1), 0, reason);
  a.merge_ready(0);
  BOOST_TEST(value() == 1);
  Checkpoint checkpoint;
  a.save(checkpoint);
  BOOST_REQUIRE(checkpoint.state.velocity.size() == static_cast<std::size_t>(table.size()));
  Aggregator b(table, store, policy, trainers(1), 1);
  b.restore(checkpoint);
  b.add(constant_update(attention(), 0, 1, 1, 1), 0, reason);
  b.merge_ready(0);
  BOOST_TEST(value() == 2.5F);  // v = 0.5 * 1 + 1
}

BOOST_AUTO_TEST_CASE(bad_updates_are_dropped_and_named) {
  Aggregator a(table, store, policy_of(PolicyKind::async), trainers(2), 1);
  const float nan = std::numeric_limits<float>::quiet_NaN(),
              infinity = std::numeric_limits<float>::infinity();
  BOOST_TEST((a.add(constant_update(attention(), 0, 0, 0, nan), 0, reason) == UpdateVerdict::not_finite));
  BOOST_TEST(reason.find("block_00/attention") != std::string::npos);
  BOOST_TEST(
      (a.add(constant_update(attention(), 0, 0, 0, infinity), 0, reason) == UpdateVerdict::not_finite));
  BOOST_TEST((a.add(constant_update(attention(), 0, 0, 7, 1), 0, reason) ==
              UpdateVerdict::malformed));  // from the future
  BOOST_TEST(
      (a.add(constant_update(attention(), 9, 0, 0, 1), 0, reason) == UpdateVerdict::malformed));  // nobody
  Message unknown = constant_update(attention(), 0, 0, 0, 1);
  unknown.header.segment = 1000;
  BOOST_TEST((a.add(std::move(unknown), 0, reason) == UpdateVerdict::malformed));
  Message wrong_size = constant_update(attention(), 0, 0, 0, 1);
  wrong_size.header.body_bytes -= 4;
  BOOST_TEST((a.add(std::move(wrong_size), 0, reason) == UpdateVerdict::malformed));
  Message wrong_bitmap = constant_update(attention(), 0, 0, 0, 1);
  wrong_bitmap.body.data()[0] = std::byte{0xff};
  BOOST_TEST((a.add(std::move(wrong_bitmap), 0, reason) == UpdateVerdict::malformed));
  BOOST_TEST(a.merge_ready(0).empty());
  BOOST_TEST(value() == 0);
  BOOST_TEST((a.add(constant_update(attention(), 0, 0, 0, 1), 0, reason) == UpdateVerdict::accepted));
  BOOST_TEST((a.add(constant_update(attention(), 0, 0, 0, 1), 0, reason) == UpdateVerdict::duplicate));
}

BOOST_AUTO_TEST_CASE(packed_updates_are_checked_as_they_come_and_when_they_are_there) {
  const float nan = std::numeric_limits<float>::quiet_NaN(),
              infinity = std::numeric_limits<float>::infinity();
  for (const ValueType type : {ValueType::bf16, ValueType::int8}) {
    Aggregator a(table, store, policy_of(PolicyKind::async), trainers(2), 1);
    const auto verdict = [&](Message message) { return a.add(std::move(message), 0, reason); };
    const auto update = [&](float value) { return constant_update(attention(), 0, 0, 0, value, type); };
    const auto in_range = [&](const Message& message, std::int64_t piece) {
      bool result = true;
      for (std::int64_t at = 0; at < message.header.body_bytes; at += piece) {
        const std::int64_t size = std::min(piece, message.header.body_bytes - at);
        result = result && part_in_range(message.header, at,
                                         {message.body.data() + at, static_cast<std::size_t>(size)});
      }
      return result;
    };
    for (const float bad : {nan, infinity, -infinity, 5000.0F, -5000.0F}) {
      BOOST_TEST(!in_range(update(bad), 64));
      BOOST_TEST(!in_range(update(bad), 1 << 20));
      BOOST_TEST((verdict(update(bad)) == UpdateVerdict::not_finite));
    }
    for (const float good : {0.0F, -1.0F, 1e-30F, 4000.0F}) {
      BOOST_TEST(in_range(update(good), 64));
      BOOST_TEST(in_range(update(good), 4096));
    }
    for (const std::int64_t bytes : {-4, -2, -1, 1, 2, 4, 1000}) {
      Message wrong = update(1);
      wrong.body = buffer_of(static_cast<std::size_t>(wrong.header.body_bytes + bytes));
      std::memcpy(wrong.body.data(), update(1).body.data(), 64);  // the units
      wrong.header.body_bytes += bytes;
      BOOST_TEST((verdict(std::move(wrong)) == UpdateVerdict::malformed), bytes << ": " << reason);
    }
    // What was packed one way is no update of another, or of one that nobody knows.
    for (const auto other : {ValueType::float32, type == ValueType::bf16 ? ValueType::int8 : ValueType::bf16,
                             static_cast<ValueType>(3), static_cast<ValueType>(65535)}) {
      Message wrong = update(1);
      wrong.header.value_type = other;
      BOOST_TEST((verdict(std::move(wrong)) == UpdateVerdict::malformed));
    }
    BOOST_TEST(value() == 0);
    BOOST_TEST((verdict(update(0.5F)) == UpdateVerdict::accepted));
    // What waits stands in a checkpoint as the numbers that it means.
    Checkpoint checkpoint;
    a.save(checkpoint);
    BOOST_REQUIRE(checkpoint.state.pending.size() == 1U);
    BOOST_TEST(checkpoint.state.pending[0].values ==
               std::vector<float>(static_cast<std::size_t>(attention().numel), 0.5F));
    BOOST_TEST(a.merge_ready(0).size() == 1U);
    BOOST_TEST(value() == 0.5F);
    zero(store, table);
  }
}

BOOST_AUTO_TEST_CASE(a_client_cannot_write_what_its_plan_does_not_train) {
  auto fleet = trainers(1);
  fleet[0].assignment.kept_blocks = 1;
  Aggregator a(table, store, policy_of(PolicyKind::async), fleet, 1);
  BOOST_TEST(
      (a.add(constant_update(table[table.attention(1)], 0, 0, 0, 1), 0, reason) == UpdateVerdict::malformed));
  BOOST_TEST(reason.find("does not train block_01/attention") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(with_another_assignment_a_client_may_still_deliver_what_it_trained_before) {
  auto fleet = trainers(2);
  fleet[0].assignment.kept_blocks = 1;
  Aggregator a(table, store, policy_of(PolicyKind::sync), fleet, 1);
  const Segment& deep = table[table.attention(1)];
  BOOST_TEST(a.active_trainers(deep.id) == 1);
  a.set_assignment(ClientId(0), full_assignment(table.options()), 1);
  BOOST_TEST(a.active_trainers(deep.id) == 2);
  const Message update = constant_update(deep, 0, 0, 0, 1);
  BOOST_TEST((a.check_shape(update.header, reason) == UpdateVerdict::accepted));
  BOOST_TEST((a.add(constant_update(deep, 0, 0, 0, 1), 0, reason) == UpdateVerdict::accepted));
  a.set_assignment(ClientId(0), fleet[0].assignment, 2);
  BOOST_TEST(a.active_trainers(deep.id) == 1);
  BOOST_TEST((a.add(constant_update(deep, 0, 1, 0, 1), 0, reason) == UpdateVerdict::accepted));
  // As does a server that starts from a checkpoint with it, and with the plan of the start.
  Checkpoint checkpoint;
  a.save(checkpoint);
  BOOST_REQUIRE(checkpoint.state.pending.size() == 2U);
  checkpoint.clients.resize(2);
  Aggregator b(table, store, policy_of(PolicyKind::sync), fleet, 1);
  b.restore(checkpoint);
  BOOST_TEST(b.active_trainers(deep.id) == 1);
  Checkpoint again;
  b.save(again);
  BOOST_TEST(again.state.pending.size() == 2U);
}

BOOST_AUTO_TEST_CASE(an_update_weighs_what_the_plan_that_it_was_trained_under_says) {
  PolicyOptions policy = policy_of(PolicyKind::sync);
  policy.weighting = WeightingKind::uniform;
  policy.width_exponent = 2;
  const Segment& embedding = table[table.embedding()];
  Assignment narrow = full_assignment(table.options());
  narrow.heads /= 2;
  narrow.neurons /= 2;  // a quarter of the weight
  for (const int server_round : {4, 5}) {
    zero(store, table);
    Aggregator a(table, store, policy, trainers(2), 1);
    a.set_assignment(ClientId(1), narrow, 5);
    Message update = constant_update(embedding, 1, 0, store.version(embedding.id), 6);
    update.header.server_round = server_round;
    a.add(std::move(update), 0, reason);
    a.add(constant_update(embedding, 0, 0, store.version(embedding.id), 1), 0, reason);
    a.merge_ready(0);
    const float weight = server_round < 5 ? 1 : 0.25F;
    BOOST_TEST(store.values(embedding.id)[0] == (1 + 6 * weight) / (1 + weight),
               boost::test_tools::tolerance(1e-5F));
  }
}

BOOST_AUTO_TEST_CASE(who_begins_to_train_a_segment_does_not_slow_the_others_down) {
  PolicyOptions policy = policy_of(PolicyKind::async);
  policy.pace_correction = true;
  auto fleet = trainers(2);
  fleet[1].assignment.kept_blocks = 1;
  Aggregator a(table, store, policy, fleet, 1);
  const Segment& deep = table[table.attention(1)];
  const auto deliver = [&](int round, float value) {
    a.add(constant_update(deep, 0, round, store.version(deep.id), value), 0, reason);
    a.merge_ready(0);
  };
  deliver(8, 0);
  a.set_round(ClientId(1), 9);
  a.set_assignment(ClientId(1), full_assignment(table.options()), 1);
  deliver(9, 10);  // its tenth round, in which the other one is too: nine are behind both
  BOOST_TEST(store.values(deep.id)[0] == 9, boost::test_tools::tolerance(0.01F));
}

BOOST_AUTO_TEST_CASE(a_client_that_goes_is_no_longer_waited_for) {
  Aggregator a(table, store, policy_of(PolicyKind::sync), trainers(2), 1);
  a.add(constant_update(attention(), 0, 0, 0, 3), 0, reason);
  BOOST_TEST(a.merge_ready(0).empty());
  a.set_active(ClientId(1), false);
  BOOST_TEST(a.merge_ready(0).size() == 1U);
  BOOST_TEST(value() == 3);
}

BOOST_AUTO_TEST_CASE(folding_under_memory_pressure_changes_nothing) {
  Aggregator a(table, store, policy_of(PolicyKind::sync), trainers(3), 1);
  a.add(constant_update(attention(), 2, 0, 0, 2), 0, reason);
  a.fold_largest();
  a.add(constant_update(attention(), 1, 0, 0, 1), 0, reason);
  a.fold_largest();
  a.fold_largest();  // nothing left to fold
  a.add(constant_update(attention(), 0, 0, 0, 0), 0, reason);
  const auto merges = a.merge_ready(0);
  BOOST_REQUIRE(merges.size() == 1U);
  BOOST_TEST(merges[0].updates == 3);
  BOOST_TEST(value() == (1 * 200 + 2 * 300) / 600.0F, boost::test_tools::tolerance(1e-5F));
}

BOOST_AUTO_TEST_SUITE_END()
