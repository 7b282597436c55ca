// Whole fleets: coverage, kinds of submodels, batches in pieces, reports.
#include "cos2p/plan/planner.hpp"

#include <cmath>
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "cos2p/support/bytes.hpp"
#include "plan_fixture.hpp"

using namespace cos2p;
using namespace cos2p::test;

BOOST_AUTO_TEST_CASE(fleets_take_budgets_in_turn_and_count_trainers) {
  const SegmentTable table = preset_table("micro");
  const FleetPlan plan =
      plan_fleet(table, {}, {share(table, "1"), share(table, "0.4")}, 5, {BalanceKind::balanced, 0});
  BOOST_REQUIRE(plan.assignments.size() == 5U);
  BOOST_TEST((plan.assignments[0] == full_assignment(table.options())));
  BOOST_TEST((plan.assignments[3] == plan.assignments[1]));
  BOOST_TEST(plan.assignments[1].kept_blocks < 6);
  BOOST_TEST(plan.trainers[0] == 5);
  BOOST_TEST(plan.trainers[static_cast<std::size_t>(table.attention(5).value())] == 3);
  BOOST_TEST(plan.least_trainers() == 3);
  BOOST_TEST(plan.notes.empty());
  expect_error(ExitCode::usage, {"0 clients"}, [&] {
    plan_fleet(table, {}, {share(table, "1")}, 0, {BalanceKind::balanced, 0});
  });
  expect_error(ExitCode::usage, {"0 budgets"}, [&] {
    plan_fleet(table, {}, {}, 2, {BalanceKind::balanced, 0});
  });
}

BOOST_AUTO_TEST_CASE(uncovered_segments_are_given_a_trainer_where_that_is_possible) {
  const SegmentTable table = preset_table("micro");
  const auto budgets = {share(table, "0.35"), share(table, "0.45")};
  const FleetPlan deep = plan_fleet(table, {}, budgets, 4, {BalanceKind::balanced, 0});
  BOOST_TEST(deep.least_trainers() >= 1);
  BOOST_TEST(deep.notes.size() == 1U);
  BOOST_TEST(deep.assignments[1].kept_blocks == 6);  // the one with more memory was changed
  BOOST_TEST(deep.notes[0].find("client 1") != std::string::npos);
  for (std::size_t c = 0; c < 4; ++c) BOOST_TEST(deep.costs[c].memory.total() <= deep.budgets[c].memory);

  const FleetPlan thawed = plan_fleet(table, {}, {share(table, "1")}, 3, {BalanceKind::balanced, 2});
  BOOST_TEST(thawed.least_trainers() == 1);
  BOOST_TEST(thawed.assignments[0].frozen_blocks == 0);
  BOOST_TEST(thawed.assignments[1].frozen_blocks == 2);
}

BOOST_AUTO_TEST_CASE(a_fleet_that_cannot_cover_the_model_is_refused_by_segment) {
  const SegmentTable table = preset_table("micro");
  ClientBudget budget = share(table, "1");
  budget.memory = needed(table, {6, 0, 1, 1}) - 1;  // deep enough for nobody
  expect_error(ExitCode::usage,
               {"block_05/attention", "3 clients", "more memory",
                format_bytes(static_cast<double>(needed(table, {6, 0, 1, 1})))},
               [&] {
                 plan_fleet(table, {}, {budget}, 3, {BalanceKind::balanced, 0});
               });
}

BOOST_AUTO_TEST_CASE(every_segment_has_the_trainers_asked_for_and_no_budget_is_exceeded) {
  const SegmentTable table = preset_table("micro");
  const char* texts[] = {"1", "0.7", "0.5", "0.4", "0.35", "0.3"};
  int planned = 0, refused = 0;
  for (std::uint64_t seed = 0; seed < 120; ++seed) {
    Rng rng(seed);
    std::vector<ClientBudget> budgets;
    for (std::uint64_t n = 1 + rng.below(6); n > 0; --n) budgets.push_back(share(table, texts[rng.below(6)]));
    const int clients = static_cast<int>(budgets.size() + rng.below(5));
    FleetRules rules;
    rules.balance = static_cast<BalanceKind>(rng.below(2));  // balanced or deep: both have a narrow shape
    rules.frozen_blocks = static_cast<int>(rng.below(3));
    rules.min_trainers = 1 + static_cast<int>(rng.below(static_cast<std::uint64_t>(clients)));
    try {
      const FleetPlan plan = plan_fleet(table, {}, budgets, clients, rules);
      ++planned;
      BOOST_TEST(plan.least_trainers() >= rules.min_trainers);
      for (const Segment& segment : table) {
        int trainers = 0;
        for (const Assignment& a : plan.assignments) trainers += trains(table, a, segment) ? 1 : 0;
        BOOST_TEST(trainers == plan.trainers[static_cast<std::size_t>(segment.id.value())]);
      }
      for (std::size_t c = 0; c < plan.costs.size(); ++c)
        BOOST_TEST(plan.costs[c].memory.total() <= plan.budgets[c].memory);
    } catch (const Error& error) {
      ++refused;
      BOOST_TEST(std::string(error.what()).find("would be trained by") != std::string::npos, error.what());
      // Refused only where too few clients can hold the narrowest model of full
      // depth.
      const std::int64_t least = needed(table, {6, 0, 1, 1});
      int able = 0;
      for (int c = 0; c < clients; ++c)
        able += budgets[static_cast<std::size_t>(c) % budgets.size()].memory >= least ? 1 : 0;
      BOOST_TEST(able < rules.min_trainers);
    }
  }
  BOOST_TEST(planned > 20);
  BOOST_TEST_MESSAGE(planned << " planned, " << refused << " refused");
}

BOOST_AUTO_TEST_CASE(who_is_left_covers_what_others_trained_until_they_are_back) {
  const SegmentTable table = preset_table("micro");
  const FleetRules rules{BalanceKind::balanced, 0};
  const FleetPlan start =
      plan_fleet(table, {}, {share(table, "1"), share(table, "0.5"), share(table, "0.4")}, 3, rules);
  const FleetPlan left = plan_present(table, {}, start, {false, true, true}, {}, rules);
  BOOST_TEST(left.least_trainers() == 1);
  BOOST_TEST(left.assignments[1].kept_blocks == 6);  // as deep as the one that has gone, and narrower
  BOOST_TEST(left.costs[1].memory.total() <= start.budgets[1].memory);
  BOOST_TEST((left.assignments[2] == start.assignments[2]));
  BOOST_TEST((left.assignments[0] == start.assignments[0]));  // for whoever takes its place
  BOOST_REQUIRE(left.notes.size() == 1U);
  BOOST_TEST(left.notes[0].find("client 1 trains 6 blocks") != std::string::npos);

  // As far as it can be.
  ClientBudget small = share(table, "0.4");
  small.memory = needed(table, {6, 0, 1, 1}) - 1;
  const FleetPlan weak = plan_fleet(table, {}, {share(table, "1"), small}, 2, rules);
  const FleetPlan uncovered = plan_present(table, {}, weak, {false, true}, {}, rules);
  BOOST_TEST(uncovered.least_trainers() == 0);
  BOOST_TEST(uncovered.assignments[1].kept_blocks > weak.assignments[1].kept_blocks);
  BOOST_TEST(uncovered.assignments[1].kept_blocks < 6);
  BOOST_TEST(uncovered.costs[1].memory.total() <= small.memory);

  const FleetPlan back = plan_present(table, {}, start, {true, true, true}, {}, rules);
  BOOST_TEST((back.assignments == start.assignments));
  BOOST_TEST(back.trainers == start.trainers, boost::test_tools::per_element());
  BOOST_TEST(
      (plan_present(table, {}, start, {false, false, false}, {}, rules).assignments == start.assignments));
}

BOOST_AUTO_TEST_CASE(clients_whose_devices_give_less_get_smaller_submodels) {
  const SegmentTable table = preset_table("micro");
  const FleetRules rules{BalanceKind::balanced, 0};
  const FleetPlan start = plan_fleet(table, {}, {share(table, "1"), share(table, "0.5")}, 4, rules);
  const auto with_limit = [&](std::size_t client, const MeasuredLimit& limit,
                              const std::vector<bool>& present = {true, true, true, true}) {
    std::vector<MeasuredLimit> limits(4);
    limits[client] = limit;
    return plan_present(table, {}, start, present, limits, rules);
  };
  const auto smaller = [](const Assignment& a, const Assignment& b) {
    return a.kept_blocks < b.kept_blocks && a.heads <= b.heads && a.neurons < b.neurons;
  };
  MeasuredLimit slow;
  slow.step_flops = 0.4 * start.costs[2].step_flops;
  const FleetPlan slower = with_limit(2, slow);
  BOOST_TEST(smaller(slower.assignments[2], start.assignments[2]));
  BOOST_TEST(slower.costs[2].step_flops <= slow.step_flops);
  BOOST_TEST(slower.costs[2].step_flops > 0.5 * slow.step_flops);
  for (const std::size_t other : {0U, 1U, 3U})
    BOOST_TEST((slower.assignments[other] == start.assignments[other]));
  BOOST_REQUIRE(slower.notes.size() == 1U);
  BOOST_TEST(slower.notes[0].find("client 2 trains ") == 0U);
  BOOST_TEST(slower.notes[0].find("computes more slowly") != std::string::npos);

  MeasuredLimit tight;
  tight.memory = start.costs[2].memory.total() / 2;
  const FleetPlan less = with_limit(2, tight);
  BOOST_TEST(smaller(less.assignments[2], start.assignments[2]));
  BOOST_TEST(less.costs[2].memory.total() <= tight.memory);
  BOOST_REQUIRE(less.notes.size() == 1U);
  BOOST_TEST(less.notes[0].find("of free memory") != std::string::npos);

  // Limits that everything is within change nothing.
  MeasuredLimit wide;
  wide.step_flops = start.costs[2].step_flops * 1.01;
  wide.memory = start.costs[2].memory.total();
  BOOST_TEST((with_limit(2, wide).assignments == start.assignments));

  // Below the smallest of all: the smallest.
  MeasuredLimit none;
  none.memory = 1;
  BOOST_TEST((with_limit(2, none).assignments[2] == smallest_submodel(table, BalanceKind::balanced, 0)));

  // The last who trains the deepest block goes on with it slowly; what it has no memory for it cannot.
  const std::vector<bool> without_client_2{true, true, false, true};
  slow.step_flops = 0.4 * start.costs[0].step_flops;
  const FleetPlan alone = with_limit(0, slow, without_client_2);
  BOOST_TEST(alone.least_trainers() == 1);
  tight.memory = needed(table, {6, 0, 1, 1}) - 1;
  BOOST_TEST(with_limit(0, tight, without_client_2).assignments[0].kept_blocks < 6);
}

BOOST_AUTO_TEST_CASE(more_trainers_change_as_few_clients_as_needed) {
  const SegmentTable table = preset_table("micro");
  const auto budgets = {share(table, "1"), share(table, "0.5"), share(table, "0.4")};
  FleetRules rules{BalanceKind::balanced, 0};
  const FleetPlan one = plan_fleet(table, {}, budgets, 3, rules);
  BOOST_TEST(one.least_trainers() == 1);
  BOOST_TEST(one.notes.empty());
  rules.min_trainers = 2;
  const FleetPlan two = plan_fleet(table, {}, budgets, 3, rules);
  BOOST_TEST(two.least_trainers() == 2);
  BOOST_REQUIRE(two.notes.size() == 1U);
  BOOST_TEST(two.notes[0].find("client 1 ") != std::string::npos);
  BOOST_TEST(two.notes[0].find("2 trainers") != std::string::npos);
  BOOST_TEST((two.assignments[2] == one.assignments[2]));
  rules.min_trainers = 0;  // as many as the budgets allow
  const FleetPlan most = plan_fleet(table, {}, budgets, 3, rules);
  BOOST_TEST(most.least_trainers() == 3);
  BOOST_TEST(most.least_trainers() == most_trainers(table, {}, budgets, 3));
  for (std::size_t c = 0; c < 3; ++c) BOOST_TEST(most.costs[c].memory.total() <= most.budgets[c].memory);
  rules.min_trainers = 4;
  expect_error(ExitCode::usage, {"--min-trainers 4 cannot be reached", "there are 3 clients"},
               [&] { plan_fleet(table, {}, budgets, 3, rules); });
}

BOOST_AUTO_TEST_CASE(submodel_kinds_give_what_they_say) {
  const SegmentTable table = preset_table("micro");
  const auto budgets = {share(table, "1"), share(table, "0.5"), share(table, "0.4")};
  const Assignment full = full_assignment(table.options());
  FleetRules rules;
  const FleetPlan fit = plan_fleet(table, {}, budgets, 4, rules);
  rules.submodel = SubmodelKind::full;
  const FleetPlan all = plan_fleet(table, {}, budgets, 4, rules);
  for (const Assignment& a : all.assignments) BOOST_TEST((a == full));
  BOOST_REQUIRE(all.notes.size() == 1U);
  BOOST_TEST(all.notes[0] == "clients 1, 2: trained beyond the budget (--submodel full)");

  rules.submodel = SubmodelKind::smallest;
  const FleetPlan small = plan_fleet(table, {}, budgets, 4, rules);
  for (const Assignment& a : small.assignments) BOOST_TEST((a == fit.assignments[2]));
  BOOST_TEST(small.notes.at(0).find("clients 0, 1, 3: less than the budget holds") == 0U);
  rules.balance = BalanceKind::wide;  // the smallest is shallow, and so is the model then
  const FleetPlan shallow = plan_fleet(table, {}, budgets, 4, rules);
  BOOST_TEST(shallow.deepest() == shallow.assignments[0].kept_blocks);
  BOOST_TEST(shallow.deepest() < table.options().blocks);
  BOOST_TEST(shallow.notes.back().find(fmt::format("has {} of the 6 blocks", shallow.deepest())) !=
             std::string::npos);

  rules = {};
  rules.submodel = SubmodelKind::drop;
  const FleetPlan dropped = plan_fleet(table, {}, budgets, 4, rules);
  for (std::size_t c = 0; c < 4; ++c) {
    BOOST_TEST(dropped.assignments[c].takes_part() == (c % 3 == 0));
    BOOST_TEST(dropped.costs[c].parameters == (c % 3 == 0 ? table.parameters() : 0));
  }
  for (const int trainers : dropped.trainers) BOOST_TEST(trainers == 2);
  BOOST_TEST(dropped.notes.at(0).find("clients 1, 2: no part in training") == 0U);
  BOOST_TEST(fleet_table(table, dropped).find("embedding .. block_05/exit_head: 2") != std::string::npos);
  expect_error(ExitCode::usage, {"--submodel drop leaves no client", "--submodel fit"},
               [&] { plan_fleet(table, {}, {share(table, "0.5")}, 4, rules); });
}

BOOST_AUTO_TEST_CASE(clients_too_small_for_any_submodel_are_refused_or_dropped) {
  const SegmentTable table = preset_table("micro");
  const std::vector<ClientBudget> budgets{share(table, "1"), share(table, "0.1")};
  FleetRules rules;
  rules.balance = BalanceKind::wide;
  expect_error(ExitCode::usage, {"budget '0.1' is too small"},
               [&] { plan_fleet(table, {}, budgets, 4, rules); });
  rules.drop_too_small = true;
  const FleetPlan plan = plan_fleet(table, {}, budgets, 4, rules);
  for (std::size_t c = 0; c < 4; ++c) BOOST_TEST(plan.assignments[c].takes_part() == (c % 2 == 0));
  for (const int trainers : plan.trainers) BOOST_TEST(trainers == 2);
  BOOST_TEST(plan.notes.at(0).find("clients 1, 3: no part in training, the budget holds no wide") == 0U);
  expect_error(ExitCode::usage, {"trained by nobody"},
               [&] { plan_fleet(table, {}, {share(table, "0.1")}, 2, rules); });
}

BOOST_AUTO_TEST_CASE(micro_batches_make_room_for_larger_submodels) {
  const SegmentTable table = preset_table("micro");
  TrainingShape shape;
  shape.optimizer = OptimizerKind::adamw;
  FleetRules rules;
  rules.balance = BalanceKind::wide;
  rules.drop_too_small = true;
  std::vector<ClientBudget> budgets;
  for (const char* text : {"1", "0.7", "0.5", "0.35"})
    budgets.push_back(parse_budget(text, table, shape, "--budgets"));
  const FleetPlan whole = plan_fleet(table, shape, budgets, 4, rules);
  shape.micro_batch = 4;
  // A share is one of the whole batch's memory.
  BOOST_TEST(parse_budget("0.5", table, shape, "--budgets").memory == budgets[2].memory);
  const FleetPlan parts = plan_fleet(table, shape, budgets, 4, rules);
  BOOST_TEST(whole.micro_batches == std::vector<int>(4, 0), boost::test_tools::per_element());
  BOOST_TEST(parts.micro_batches[0] == 0);  // there is room
  int deeper = 0;
  for (std::size_t c = 0; c < 4; ++c) {
    BOOST_TEST(parts.assignments[c].kept_blocks >= whole.assignments[c].kept_blocks);
    deeper += parts.assignments[c].kept_blocks - whole.assignments[c].kept_blocks;
    BOOST_TEST(parts.costs[c].memory.total() <= budgets[c].memory);
    const int piece = parts.micro_batches[c];
    if (piece == 0) continue;
    BOOST_TEST((piece == 4 || piece == 8 || piece == 16));
    TrainingShape larger = shape;
    larger.micro_batch = 2 * piece;  // as large as can be
    BOOST_TEST(largest_cost(table, parts.assignments[c], larger).memory.total() > budgets[c].memory);
  }
  BOOST_TEST(deeper >= 3);
  BOOST_TEST(fleet_table(table, parts).find("micro-batch") != std::string::npos);
  BOOST_TEST(fleet_table(table, whole).find("micro-batch") == std::string::npos);
}

// Of few samples the gradients of all pieces together are larger than what pieces save.
BOOST_AUTO_TEST_CASE(who_holds_the_whole_batch_gets_the_full_model_whatever_pieces_would_take) {
  const SegmentTable table = preset_table("micro");
  for (const int batch_size : {2, 4, 32}) {
    TrainingShape shape;
    shape.batch_size = batch_size;
    shape.micro_batch = batch_size / 2;
    const ClientBudget all = parse_budget("1", table, shape, "--budgets");
    for (const SubmodelKind submodel : {SubmodelKind::fit, SubmodelKind::drop}) {
      FleetRules rules;
      rules.submodel = submodel;
      const FleetPlan plan = plan_fleet(table, shape, {all}, 1, rules);
      BOOST_TEST((plan.assignments[0] == full_assignment(table.options())));
      BOOST_TEST(plan.micro_batches[0] == 0);
    }
  }
}

BOOST_AUTO_TEST_CASE(reports_hold_every_client_and_segment) {
  const SegmentTable table = preset_table("micro");
  const FleetPlan plan =
      plan_fleet(table, {}, {share(table, "1"), share(table, "orin-nano"), share(table, "0.4")}, 3,
                 {BalanceKind::balanced, 0});
  const std::string text = fleet_table(table, plan);
  for (const char* word : {"client", "orin-nano", "0.4", "6/6", "GFLOP/step", "at least 2 of 3"}) {
    BOOST_TEST(text.find(word) != std::string::npos, text << "lacks " << word);
  }
  const auto json = nlohmann::json::parse(fleet_json(table, plan));
  BOOST_TEST(json["clients"].size() == 3U);
  BOOST_TEST(json["segments"].size() == static_cast<std::size_t>(table.size()));
  BOOST_TEST(json["least_trainers"].get<int>() == 2);
  BOOST_TEST(json["model"]["parameters"].get<std::int64_t>() == table.parameters());
  BOOST_TEST(json["clients"][1]["device"].get<std::string>() == "orin-nano");
  BOOST_TEST(json["clients"][0]["memory_bytes"]["total"].get<std::int64_t>() == plan.costs[0].memory.total());
  BOOST_TEST(json["clients"][2]["neurons"].get<int>() == plan.assignments[2].neurons);
}
