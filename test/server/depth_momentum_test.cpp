#include "depth_momentum.hpp"

#include <boost/test/unit_test.hpp>

#include "server/updates.hpp"

using namespace cos2p;
using namespace cos2p::test;

namespace {

/// Two blocks; client 0 keeps the first, clients 1 and 2 keep both.
struct Classes {
  SegmentTable table = tiny_table();
  ModelStore store{table};
  std::string reason;
  PolicyOptions policy = policy_of(PolicyKind::sync);
  std::vector<Trainer> fleet;

  Classes() {
    zero(store, table);
    policy.merge = MergeKind::deltas;
    policy.weighting = WeightingKind::uniform;
    policy.depth_momentum = 0.25;
    for (const int blocks : {1, 2, 2}) {
      Assignment a = full_assignment(table.options());
      a.kept_blocks = blocks;
      fleet.push_back({100, a, true});
    }
  }
  float value(int block) const { return store.values(table.attention(block))[0]; }
  float play_round(Aggregator& a, int round) {
    const auto base = static_cast<std::uint64_t>(round);
    for (const int block : {0, 1}) {
      for (int client = block; client < 3; ++client) {
        const float delta = client == 0 ? 1.0F : (block == 0 ? 4.0F : 8.0F) * static_cast<float>(client);
        // In lockstep clients push values.
        const float pushed = value(block) + delta;
        a.add(constant_update(table[table.attention(block)], client, round, base, pushed), 0, reason);
        a.merge_ready(0);
      }
    }
    return value(0);
  }
};

}  // namespace

BOOST_FIXTURE_TEST_SUITE(depth_momentum, Classes)

// The deltas of block 0 are 1 (small client), 4 and 8, those of block 1 are 8 and 16, in both rounds.
BOOST_AUTO_TEST_CASE(the_last_block_of_a_small_class_learns_from_the_next_larger_class) {
  Aggregator a(table, store, policy, fleet, 1);
  BOOST_TEST(play_round(a, 0) == 13.0F / 3);  // block 1 was not merged yet: the plain mean
  BOOST_TEST(value(1) == 12);
  // The class of two blocks moved block 0 by 6 and block 1 by 12 in the mean: 9. The small client's 1 counts
  // as 0.75 * 1 + 0.25 * 9 = 3.
  BOOST_TEST(play_round(a, 1) == (13.0F + 15.0F) / 3, boost::test_tools::tolerance(1e-6F));
  BOOST_TEST(value(1) == 24);  // of the largest class: as it is
}

BOOST_AUTO_TEST_CASE(a_restored_server_goes_on_with_the_same_deltas) {
  Aggregator a(table, store, policy, fleet, 1);
  play_round(a, 0);
  Checkpoint checkpoint;
  a.save(checkpoint);
  BOOST_TEST(checkpoint.state.class_deltas.size() == 2U);
  for (const Trainer& trainer : fleet) {
    ClientRecord record;
    record.assignment = trainer.assignment;
    record.rounds = 1;
    checkpoint.clients.push_back(record);
  }
  Aggregator b(table, store, policy, fleet, 1);
  b.restore(checkpoint);
  BOOST_TEST(play_round(b, 1) == (13.0F + 15.0F) / 3, boost::test_tools::tolerance(1e-6F));
}

BOOST_AUTO_TEST_CASE(narrow_clients_are_of_no_class) {
  fleet[0].assignment.heads = 1;
  fleet[0].assignment.kept_blocks = 2;
  fleet[1].assignment.kept_blocks = 1;
  DepthMomentum momentum(table, {fleet[0].assignment, fleet[2].assignment}, 0.25);
  const Segment& segment = table[table.attention(0)];
  const UnitSet all = UnitSet::all(segment.units);
  const std::vector<float> delta(static_cast<std::size_t>(segment.numel), 1.0F);
  std::vector<MergeInput> inputs{{delta, &all, 1, 1}};
  momentum.learn(segment, {0}, inputs);
  momentum.distil(segment, {0}, inputs);
  BOOST_TEST(inputs.size() == 1U);
  BOOST_TEST(inputs[0].discounted == 1);
  BOOST_TEST(momentum.save().empty());
}

BOOST_AUTO_TEST_SUITE_END()
