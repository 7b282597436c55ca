#include "cos2p/plan/submodel_plan.hpp"

#include <limits>
#include <numeric>
#include <set>

#include "plan_fixture.hpp"

using namespace cos2p;
using namespace cos2p::test;

namespace {

// Gathers a segment the obvious way: tensor by tensor, row by row, from an array that holds its own indices.
std::vector<std::int64_t> gather(const Segment& segment, const UnitSet& units) {
  std::vector<std::int64_t> full(static_cast<std::size_t>(segment.numel));
  std::iota(full.begin(), full.end(), 0);
  std::vector<std::int64_t> kept;
  for (const TensorSpec& tensor : segment.tensors) {
    const auto begin = full.begin() + tensor.offset;
    if (!tensor.per_unit) {
      kept.insert(kept.end(), begin, begin + tensor.numel());
      continue;
    }
    for (std::int32_t unit : units.kept())
      kept.insert(kept.end(), begin + unit * tensor.row(), begin + (unit + 1) * tensor.row());
  }
  return kept;
}

}  // namespace

BOOST_AUTO_TEST_CASE(index_map_is_injective_and_agrees_with_gathering) {
  const SegmentTable table(small_options());
  for (std::uint64_t seed = 0; seed < 60; ++seed) {
    Rng rng(seed);
    const SubmodelPlan plan = random_plan(rng, table);
    for (SegmentId id : plan.held_segments()) {
      const auto expected = gather(table[id], plan.units(id));
      BOOST_REQUIRE(static_cast<std::int64_t>(expected.size()) ==
                    table[id].numel_with(plan.units(id).size()));
      std::set<std::int64_t> seen;
      for (std::size_t i = 0; i < expected.size(); ++i) {
        const std::int64_t index = plan.full_index(id, static_cast<std::int64_t>(i));
        BOOST_REQUIRE(index == expected[i]);
        BOOST_REQUIRE(seen.insert(index).second);
      }
      expect_error(ExitCode::internal, {table[id].name},
                   [&] { (void)plan.full_index(id, static_cast<std::int64_t>(expected.size())); });
      expect_error(ExitCode::internal, {"index -1"}, [&] { (void)plan.full_index(id, -1); });
    }
  }
}

BOOST_AUTO_TEST_CASE(full_plan_maps_every_index_to_itself) {
  const SegmentTable table(small_options());
  const SubmodelPlan plan = SubmodelPlan::full(table);
  BOOST_TEST(plan.held_segments().size() == static_cast<std::size_t>(table.size()));
  for (const Segment& segment : table) {
    for (std::int64_t i = 0; i < segment.numel; ++i) BOOST_REQUIRE(plan.full_index(segment.id, i) == i);
  }
}

BOOST_AUTO_TEST_CASE(plans_are_equal_if_and_only_if_they_train_the_same) {
  const SegmentTable table(small_options()), twin(small_options());
  const auto trained = [&](const SubmodelPlan& plan) {  // everything that a plan decides, written out
    std::vector<std::vector<std::int64_t>> all;
    for (SegmentId id : plan.held_segments()) {
      all.push_back({plan.trains(id) ? 1 : 0});
      for (std::int64_t i = 0; i < table[id].numel_with(plan.units(id).size()); ++i)
        all.back().push_back(plan.full_index(id, i));
    }
    return all;
  };
  int equal = 0;
  for (std::uint64_t seed = 0; seed < 40; ++seed) {
    Rng first(seed), again(seed), other(seed / 2 + 1000);
    const SubmodelPlan a = random_plan(first, table), same = random_plan(again, twin),
                       b = random_plan(other, table);
    BOOST_TEST((a == same));
    Rng third((seed ^ 1) / 2 + 1000);
    const SubmodelPlan c = random_plan(third, table);
    BOOST_TEST((b == c) == (trained(b) == trained(c)));
    BOOST_TEST((a == b) == (trained(a) == trained(b)));
    equal += b == c ? 1 : 0;
  }
  BOOST_TEST(equal == 40);  // seed and seed ^ 1 halve to the same number
  const auto all = [&](std::int64_t total) { return std::vector<UnitSet>(3, UnitSet::all(total)); };
  BOOST_TEST((SubmodelPlan(table, 3, 0, all(3), all(10)) != SubmodelPlan(table, 3, 1, all(3), all(10))));
}

BOOST_AUTO_TEST_CASE(windows_say_what_is_held_and_trained) {
  const SegmentTable table(small_options());
  const std::vector<UnitSet> heads(3, UnitSet(3, {1})), neurons(3, UnitSet(10, {2, 5}));
  const SubmodelPlan plan(table, 3, 2, heads, neurons);
  for (const Segment& segment : table) {
    BOOST_TEST(plan.holds(segment.id) == (segment.block < 3), segment.name);
    BOOST_TEST(plan.trains(segment.id) == (segment.block == 2), segment.name);
  }
  BOOST_TEST(plan.units(table.attention(2)).size() == 1);
  BOOST_TEST(plan.units(table.feed_forward(0)).size() == 2);
  BOOST_TEST(plan.units(table.embedding()).size() == 0);
  expect_error(ExitCode::internal, {"block_03/attention"}, [&] { (void)plan.units(table.attention(3)); });
}

BOOST_AUTO_TEST_CASE(plans_that_do_not_fit_the_model_are_refused) {
  const SegmentTable table(small_options());
  const auto sets = [](int count, std::int64_t total) {
    return std::vector<UnitSet>(static_cast<std::size_t>(count), UnitSet::all(total));
  };
  const auto refused = [&](std::vector<std::string> words, int kept, int frozen, std::vector<UnitSet> heads,
                           std::vector<UnitSet> neurons) {
    expect_error(ExitCode::usage, words, [&] { SubmodelPlan(table, kept, frozen, heads, neurons); });
  };
  refused({"keeps 5 blocks", "has 4"}, 5, 0, sets(5, 3), sets(5, 10));
  refused({"keeps 0 blocks"}, 0, 0, {}, {});
  refused({"freezes 2 of 2", "between 0 and 1"}, 2, 2, sets(2, 3), sets(2, 10));
  refused({"freezes -1"}, 2, -1, sets(2, 3), sets(2, 10));
  refused({"after block 0", "--exits"}, 1, 0, sets(1, 3), sets(1, 10));
  refused({"1 sets of heads", "keeps 2 blocks"}, 2, 0, sets(1, 3), sets(2, 10));
  refused({"among 4 heads", "has 3"}, 2, 0, sets(2, 4), sets(2, 10));
  refused({"keeps 0 neurons", "between 1 and 10"}, 2, 0, sets(2, 3), {UnitSet(10, {}), UnitSet::all(10)});
  expect_error(ExitCode::usage, {"keeps 4 heads", "has 3"}, [&] { estimate_cost(table, {4, 0, 4, 10}, {}); });
}

BOOST_AUTO_TEST_CASE(assignments_whose_windows_cannot_be_are_refused) {
  const SegmentTable table(small_options());
  Assignment assignment = full_assignment(table.options());
  for (const int rolling : {0, 1}) {
    assignment.rolling = rolling;
    BOOST_CHECK_NO_THROW(check_assignment(table, assignment));
  }
  for (const int rolling : {-1, std::numeric_limits<int>::min(), 2, std::numeric_limits<int>::max()}) {
    assignment.rolling = rolling;
    expect_error(ExitCode::usage, {"windows", std::to_string(rolling), "begin with 1"},
                 [&] { check_assignment(table, assignment); });
  }
  assignment.rolling = 0;
  for (const int way : {-1, 3}) {
    assignment.width_balance = static_cast<WidthBalance>(way);
    expect_error(ExitCode::usage, {"spreads its width in way", std::to_string(way)},
                 [&] { check_assignment(table, assignment); });
  }
}

BOOST_AUTO_TEST_CASE(costs_count_what_plans_hold_and_train) {
  const SegmentTable table(small_options());
  const Assignment assignment{3, 1, 2, 4};
  std::vector<UnitSet> heads(3, UnitSet(3, {0, 2})), neurons(3, UnitSet(10, {1, 3, 5, 7}));
  heads[0] = UnitSet::all(3);  // what is frozen is whole
  neurons[0] = UnitSet::all(10);
  const SubmodelPlan plan(table, 3, 1, heads, neurons);
  std::int64_t held = 0, trained = 0, pulled = 0;
  for (SegmentId id : plan.held_segments()) {
    const std::int64_t numel = table[id].numel_with(plan.units(id).size());
    held += numel;
    trained += plan.trains(id) ? numel : 0;
    pulled += table[id].bytes();
  }
  const PlanCost cost = estimate_cost(table, assignment, {});
  BOOST_TEST(cost.parameters == held);
  BOOST_TEST(cost.trained_parameters == trained);
  BOOST_TEST(cost.pull_bytes == pulled);
  BOOST_TEST(cost.push_bytes == 4 * trained);
  BOOST_TEST(cost.memory.weights == 4 * held);
  TrainingShape packed;
  packed.push_dtype = ValueType::bf16;
  const PlanCost of_bf16 = estimate_cost(table, assignment, packed);
  BOOST_TEST(of_bf16.push_bytes == 2 * trained);
  BOOST_TEST(of_bf16.pull_bytes == pulled);
  BOOST_TEST(of_bf16.memory.weights == 4 * held + 4 * ((trained + 1) / 2));  // and what rounding took
  packed.push_dtype = ValueType::int8;
  const PlanCost of_int8 = estimate_cost(table, assignment, packed);
  BOOST_TEST(of_int8.push_bytes > trained);
  BOOST_TEST(of_int8.push_bytes < trained + trained / 8);
  BOOST_TEST(of_int8.memory.weights == of_bf16.memory.weights);
  BOOST_TEST(cost.memory.optimizer == 4 * trained);
  BOOST_TEST(estimate_cost(table, assignment, {32, OptimizerKind::adamw, true}).memory.optimizer ==
             8 * trained);
  BOOST_TEST(estimate_cost(table, assignment, {32, OptimizerKind::sgd, false}).memory.optimizer == 0);
}

BOOST_AUTO_TEST_CASE(base_has_the_published_size_and_work) {
  ModelOptions options = model_preset("base");
  options.image_height = options.image_width = 224;
  options.channels = 3;
  options.patch = 16;
  options.classes = 1000;
  options.exits = {11};
  options.validate();
  const SegmentTable table(options);
  const PlanCost cost = estimate_cost(table, full_assignment(options), {1, OptimizerKind::sgd, true});
  BOOST_TEST(cost.parameters == 86567656);
  // 17.5 G multiply-adds are published for ViT-B/16; the deepest block's feed-forward part and output product
  // are for one token.
  const double saved = 2.0 * 196 * 768.0 * (2 * 3072 + 768) + 2 * 2 * 12 * 196.0 * 197 * 64;
  BOOST_TEST(cost.forward_flops + saved == 2 * 17.56e9, boost::test_tools::tolerance(0.005));
  BOOST_TEST(cost.step_flops / cost.forward_flops > 2.9);
  BOOST_TEST(cost.step_flops / cost.forward_flops < 3.1);
}

BOOST_AUTO_TEST_CASE(less_of_anything_costs_less) {
  const SegmentTable table(small_options());
  const TrainingShape training;
  const auto memory = [&](Assignment a) { return estimate_cost(table, a, training).memory.total(); };
  const auto flops = [&](Assignment a) { return estimate_cost(table, a, training).step_flops; };
  const Assignment full = full_assignment(table.options());
  for (const Assignment& less :
       {Assignment{3, 0, 3, 10}, Assignment{4, 1, 3, 10}, Assignment{4, 0, 2, 10}, Assignment{4, 0, 3, 9}}) {
    BOOST_TEST(memory(less) < memory(full));
    BOOST_TEST(flops(less) < flops(full));
  }
}

BOOST_AUTO_TEST_CASE(a_rolling_window_moves_from_the_shallowest_exit_to_the_deepest_and_again) {
  ModelOptions options = model_preset("micro");  // 6 blocks, an exit after each
  options.validate();
  const SegmentTable table(options);
  const Assignment two{6, 4, 4, 128, 1};
  BOOST_TEST(window_count(table, two) == 5);
  const int kept[] = {2, 3, 4, 5, 6, 2}, frozen[] = {0, 1, 2, 3, 4, 0};
  for (int round = 0; round < 6; ++round) {
    const Assignment window = window_at(table, two, round);
    BOOST_TEST((window == Assignment{kept[round], frozen[round], 4, 128, 0}), "round " << round);
  }
  options.exits = {1, 3, 5};
  const SegmentTable sparse(options);
  BOOST_TEST(window_count(sparse, two) == 3);
  BOOST_TEST((window_at(sparse, two, 1) == Assignment{4, 2, 4, 128, 0}));
  const Assignment three{6, 3, 4, 128, 1};
  BOOST_TEST((window_at(sparse, three, 0) == Assignment{2, 0, 4, 128, 0}));
  BOOST_TEST((window_at(sparse, three, 1) == Assignment{4, 1, 4, 128, 0}));
  BOOST_TEST((window_at(sparse, three, 5) == Assignment{6, 3, 4, 128, 0}));
  const Assignment fixed{4, 1, 4, 128, 0};
  BOOST_TEST((window_at(sparse, fixed, 7) == fixed));
  // A client without blocks has no windows to choose from, whatever a file says of them.
  const Assignment nothing{0, 0, 4, 128, 23};
  BOOST_TEST((window_at(sparse, nothing, 3) == nothing));
  BOOST_TEST(window_count(sparse, fixed) == 1);
}

BOOST_AUTO_TEST_CASE(in_one_turn_of_its_windows_a_rolling_client_trains_everything) {
  for (std::uint64_t seed = 0; seed < 60; ++seed) {
    Rng rng(seed);
    ModelOptions options = small_options();
    options.blocks = 2 + static_cast<int>(rng.below(7));
    options.exits.clear();
    int last = -1, gap = 0;
    for (int block = 0; block < options.blocks; ++block) {
      if (block + 1 != options.blocks && rng.below(2) == 0) continue;
      options.exits.push_back(block);
      gap = std::max(gap, block - last);
      last = block;
    }
    options.validate();
    const SegmentTable table(options);
    for (int length = gap; length < options.blocks; ++length) {
      const Assignment rolling{options.blocks, options.blocks - length, 2, 5, 1};
      for (const Segment& segment : table) {
        int times = 0;
        for (int round = 0; round < window_count(table, rolling); ++round) {
          const Assignment window = window_at(table, rolling, round);
          check_assignment(table, window);
          BOOST_TEST(window.kept_blocks - window.frozen_blocks <= length);
          times += trains(table, window, segment) ? 1 : 0;
        }
        BOOST_TEST(times >= 1, "seed " << seed << ", length " << length << ", " << segment.name);
        BOOST_TEST(trains(table, rolling, segment));
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(ordered_dropout_draws_from_the_widths_below_a_clients_own_and_its_own) {
  ModelOptions model;
  model.heads = 4;
  model.feed_forward = 10;
  const Assignment full = full_assignment(model);
  const int b = model.blocks;
  // ceil(i/5 * 4) heads, ceil(i/5 * 10) neurons
  BOOST_TEST((dropout_ladder(model, full, 5) ==
              std::vector<Assignment>{{b, 0, 1, 2}, {b, 0, 2, 4}, {b, 0, 3, 6}, {b, 0, 4, 8}, full}));
  const Assignment narrow{2, 1, 2, 5};
  BOOST_TEST(
      (dropout_ladder(model, narrow, 5) == std::vector<Assignment>{{2, 1, 1, 2}, {2, 1, 2, 4}, narrow}));
  const Assignment narrowest{2, 0, 1, 1};
  BOOST_TEST((dropout_ladder(model, narrowest, 5) == std::vector<Assignment>{narrowest}));
  BOOST_TEST((dropout_ladder(model, full, 1) == std::vector<Assignment>{full}));
  BOOST_TEST((dropout_ladder(model, full, 0) == std::vector<Assignment>{full}));
}
