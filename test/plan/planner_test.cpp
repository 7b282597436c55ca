#include "cos2p/plan/planner.hpp"

#include <cmath>
#include <cstdlib>

#include "cos2p/support/bytes.hpp"
#include "plan_fixture.hpp"

using namespace cos2p;
using namespace cos2p::test;

BOOST_AUTO_TEST_CASE(budgets_are_shares_sizes_or_devices) {
  const SegmentTable table = preset_table("micro");
  const std::int64_t full = needed(table, full_assignment(table.options()));
  BOOST_TEST(share(table, "1").memory == full);
  BOOST_TEST(share(table, "0.5").memory == std::llround(0.5 * static_cast<double>(full)));
  BOOST_TEST(share(table, ".25").memory == std::llround(0.25 * static_cast<double>(full)));
  BOOST_TEST(share(table, "2GiB").memory == std::int64_t{2} << 30);
  BOOST_TEST(share(table, "4096").memory == 4096);
  BOOST_TEST(share(table, "2GiB").device.name == "cpu");
  const ClientBudget nano = share(table, "jetson-nano");
  BOOST_TEST(nano.device.name == "jetson-nano");
  BOOST_TEST(static_cast<double>(nano.memory) == (0.9 * 4 - 1.5) * (1 << 30),
             boost::test_tools::tolerance(1e-6));
}

BOOST_AUTO_TEST_CASE(budgets_that_say_nothing_are_refused) {
  const SegmentTable table = preset_table("micro");
  const auto refused = [&](const std::string& text, const std::vector<std::string>& words) {
    expect_error(ExitCode::usage, words, [&] { share(table, text); });
  };
  refused("1.5", {"--budgets '1.5'", "at most 1"});
  refused("0", {"--budgets '0'"});
  refused("0.0", {"above 0"});
  refused("orin", {"--budgets 'orin'", "orin-nano"});
  refused("2GX", {"--budgets"});
  refused("-1", {"--budgets"});
  refused("", {"--budgets"});
}

BOOST_AUTO_TEST_CASE(all_profiles_are_complete_and_findable) {
  for (const char* name :
       {"jetson-nano", "tx2", "xavier-nx", "agx-xavier", "orin-nano", "orin-nx", "agx-orin", "cpu"}) {
    const DeviceProfile& p = find_device_profile(name);
    BOOST_TEST(p.flops > 1e10, name);
    BOOST_TEST(p.memory >= std::uint64_t{1} << 30, name);
    BOOST_TEST(p.bandwidth > 1e10, name);
    BOOST_TEST(p.link > 1e8, name);
    BOOST_TEST(usable_memory(p) < p.memory, name);
    BOOST_TEST(!p.description.empty());
  }
  expect_error(ExitCode::usage, {"'pi'", "jetson-nano", "cpu"}, [] { find_device_profile("pi"); });
}

BOOST_AUTO_TEST_CASE(a_measured_profile_is_a_file_and_a_word) {
  const DeviceProfile measured{"board-7", "a board", 1.5e10, 8000000000, 2e10, 1.1e8};
  write_device_profile("board-7.json", measured);
  const std::string word = resolve_profile_file("board-7.json");
  BOOST_TEST(word.find(',') == std::string::npos);  // lists are split there
  const DeviceProfile read = find_device_profile(word);
  BOOST_TEST(read.name == "board-7");
  BOOST_TEST(read.flops == measured.flops);
  BOOST_TEST(read.memory == measured.memory);
  BOOST_TEST(read.bandwidth == measured.bandwidth);
  BOOST_TEST(read.link == measured.link);
  BOOST_TEST(resolve_profile_file("orin-nano") == "orin-nano");
  const SegmentTable table = preset_table("micro");
  const ClientBudget budget = parse_budget(word, table, {}, "--budgets");
  BOOST_TEST(budget.text == "board-7");
  BOOST_TEST(budget.memory == static_cast<std::int64_t>(usable_memory(measured)));
  expect_error(ExitCode::usage, {"cannot be read", "four numbers"},
               [] { find_device_profile("a:flops=1e9;memory=-5;bandwidth=1;link=1"); });
  for (const char* wrong :
       {"a:flops=inf;memory=5e9;bandwidth=1;link=1", "a:flops=1;memory=5e9;bandwidth=1;link=1GB"})
    expect_error(ExitCode::usage, {wrong, "four numbers"}, [wrong] { find_device_profile(wrong); });
  expect_error(ExitCode::usage, {"nothing.json cannot be read", "doctor --calibrate"},
               [] { resolve_profile_file("nothing.json"); });
}

BOOST_AUTO_TEST_CASE(plans_fit_their_budget_and_the_next_step_would_not) {
  for (const char* preset : {"micro", "tiny"}) {
    const SegmentTable table = preset_table(preset);
    for (const BalanceKind balance :
         {BalanceKind::balanced, BalanceKind::deep, BalanceKind::wide, BalanceKind::shallow}) {
      std::int64_t previous = 0;
      for (const char* text : {"0.6", "0.65", "0.7", "0.8", "0.9", "1"}) {
        const ClientBudget budget = share(table, text);
        const Assignment a = plan_client(table, {}, budget, balance, 0);
        const std::int64_t memory = needed(table, a);
        BOOST_TEST(memory <= budget.memory);
        BOOST_TEST(memory >= previous);  // more budget, no smaller plan
        previous = memory;
        if (balance == BalanceKind::deep) BOOST_TEST(a.kept_blocks == table.options().blocks);
        if (balance == BalanceKind::wide) BOOST_TEST(a.heads == table.options().heads);
        if (balance == BalanceKind::wide && a.kept_blocks < table.options().blocks) {
          BOOST_TEST(needed(table, {a.kept_blocks + 1, 0, a.heads, a.neurons}) > budget.memory);
        }
        if (balance != BalanceKind::wide && a.neurons < table.options().feed_forward) {
          BOOST_TEST(static_cast<double>(memory) > 0.5 * static_cast<double>(budget.memory));
        }
      }
      BOOST_TEST((plan_client(table, {}, share(table, "1"), balance, 0) == full_assignment(table.options())));
    }
  }
}

BOOST_AUTO_TEST_CASE(balanced_shrinks_depth_and_width_alike) {
  const SegmentTable table = preset_table("small");
  const Assignment a = plan_client(table, {}, share(table, "0.3"), BalanceKind::balanced, 0);
  const double depth = a.kept_blocks / 12.0, neurons = a.neurons / 1536.0, heads = a.heads / 6.0;
  BOOST_TEST(depth < 0.9);
  BOOST_TEST(std::abs(depth - neurons) < 0.1);
  BOOST_TEST(std::abs(heads - neurons) < 0.1);
}

BOOST_AUTO_TEST_CASE(windows_end_at_exits_and_outlast_what_is_frozen) {
  ModelOptions options = model_preset("micro");
  options.exits = {2, 5};
  options.validate();
  const SegmentTable table(options);
  for (const char* text : {"0.6", "0.7", "0.9", "1"}) {
    const int kept = plan_client(table, {}, share(table, text), BalanceKind::wide, 0).kept_blocks;
    BOOST_TEST((kept == 3 || kept == 6));
  }
  BOOST_TEST(plan_client(table, {}, share(table, "0.6"), BalanceKind::balanced, 3).kept_blocks == 6);
  expect_error(ExitCode::usage, {"--frozen-blocks 6", "between 0 and 5"},
               [&] { plan_client(table, {}, share(table, "1"), BalanceKind::balanced, 6); });
}

BOOST_AUTO_TEST_CASE(a_budget_that_is_too_small_says_by_how_much) {
  const SegmentTable table = preset_table("micro");
  for (const BalanceKind balance :
       {BalanceKind::balanced, BalanceKind::deep, BalanceKind::wide, BalanceKind::shallow}) {
    const Assignment smallest =
        balance == BalanceKind::wide ? Assignment{1, 0, 4, 128} : Assignment{1, 0, 1, 1};
    const std::int64_t least = needed(table, smallest);
    ClientBudget budget = share(table, "100kB");
    const auto missing = static_cast<double>(least - budget.memory);
    expect_error(ExitCode::usage,
                 {"budget '100kB'", to_string(balance), "needs " + format_bytes(static_cast<double>(least)),
                  format_bytes(missing) + " more", "--batch-size"},
                 [&] { plan_client(table, {}, budget, balance, 0); });
    budget.memory = least;
    BOOST_TEST((plan_client(table, {}, budget, balance, 0) == smallest));
  }
}

BOOST_AUTO_TEST_CASE(deep_gives_up_a_block_only_where_the_narrowest_does_not_fit) {
  const SegmentTable table = preset_table("micro");
  ClientBudget budget = share(table, "1");
  for (int blocks = 6; blocks >= 1; --blocks) {
    budget.memory = needed(table, {blocks, 0, 1, 1});
    const Assignment a = plan_client(table, {}, budget, BalanceKind::deep, 0);
    BOOST_TEST(a.kept_blocks == blocks);
    BOOST_TEST(needed(table, a) <= budget.memory);
  }
}

BOOST_AUTO_TEST_CASE(percentages_are_shares_of_the_parameters) {
  const SegmentTable table = preset_table("tiny");
  for (const BalanceKind balance :
       {BalanceKind::balanced, BalanceKind::deep, BalanceKind::wide, BalanceKind::shallow}) {
    for (const char* text : {"25%", "50%", "99%"}) {
      const ClientBudget budget = share(table, text);
      BOOST_TEST(budget.parameters ==
                 std::llround(std::atoi(text) * 0.01 * static_cast<double>(table.parameters())));
      const std::int64_t parameters =
          estimate_cost(table, plan_client(table, {}, budget, balance, 0), {}).parameters;
      BOOST_TEST(parameters <= budget.parameters);
      BOOST_TEST(static_cast<double>(parameters) > 0.6 * static_cast<double>(budget.parameters), text);
    }
    BOOST_TEST(
        (plan_client(table, {}, share(table, "100%"), balance, 0) == full_assignment(table.options())));
  }
  expect_error(ExitCode::usage, {"budget '1%'", "parameters"},
               [&] { plan_client(table, {}, share(table, "1%"), BalanceKind::wide, 0); });
  expect_error(ExitCode::usage, {"--budgets '120%'", "100 %"}, [&] { share(table, "120%"); });
  expect_error(ExitCode::usage, {"--budgets '0%'"}, [&] { share(table, "0%"); });
}

BOOST_AUTO_TEST_CASE(balance_names) {
  for (const BalanceKind kind :
       {BalanceKind::balanced, BalanceKind::deep, BalanceKind::wide, BalanceKind::shallow}) {
    BOOST_TEST((parse_balance_kind(to_string(kind)) == kind));
  }
  expect_error(ExitCode::usage, {"--balance 'flat'", "balanced, deep, wide"},
               [] { parse_balance_kind("flat"); });
}

BOOST_AUTO_TEST_CASE(rolling_windows_cover_the_model_within_every_budget) {
  const SegmentTable table = preset_table("micro");
  for (const BalanceKind balance : {BalanceKind::wide, BalanceKind::balanced}) {
    for (const char* text : {"0.9", "0.7", "0.5", "0.4"}) {
      FleetRules rules;
      rules.balance = balance;
      rules.rolling_windows = true;
      const ClientBudget budget = share(table, text);
      const FleetPlan plan = plan_fleet(table, {}, {budget}, 2, rules);
      const Assignment& a = plan.assignments[0];
      BOOST_TEST_MESSAGE(text << ": " << a.kept_blocks << " kept, " << a.frozen_blocks << " frozen, "
                              << a.heads << " heads, " << a.neurons << " neurons, rolling " << a.rolling);
      BOOST_TEST(a.kept_blocks == 6);
      BOOST_TEST(plan.least_trainers() == 2);
      BOOST_TEST((a.rolling != 0 || a.frozen_blocks == 0));
      std::int64_t most = 0;
      for (int round = 0; round < window_count(table, a); ++round)
        most = std::max(most, needed(table, window_at(table, a, round)));
      BOOST_TEST(most <= budget.memory);
      BOOST_TEST(plan.costs[0].memory.total() == most);
    }
  }
  FleetRules rules;
  rules.balance = BalanceKind::wide;
  rules.rolling_windows = true;
  const FleetPlan plan = plan_fleet(table, {}, {share(table, "0.7")}, 1, rules);
  BOOST_TEST(plan.assignments[0].rolling == 1);
  BOOST_TEST(plan.assignments[0].neurons == 128);  // wide: all units
  BOOST_TEST(fleet_table(table, plan).find(" in turn") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(a_client_whose_budget_does_not_hold_the_embedding_trains_later_windows) {
  ModelOptions options = model_preset("micro");
  options.image_height = options.image_width = options.channels = options.patch = 0;
  options.vocabulary = 2000;
  options.max_length = 24;
  options.validate();
  const SegmentTable table(options);
  TrainingShape shape;
  shape.micro_batch = 4;
  const ClientBudget budget = share(table, "0.11");
  expect_error(ExitCode::usage, {"is too small"},
               [&] { plan_client(table, shape, budget, BalanceKind::balanced, 0); });
  const Assignment a = plan_rolling_client(table, shape, budget, BalanceKind::balanced);
  BOOST_TEST(a.rolling == 2);
  BOOST_TEST(a.kept_blocks == 6);
  BOOST_TEST(window_count(table, a) == 5);
  for (int round = 0; round < 5; ++round) {
    BOOST_TEST(estimate_cost(table, window_at(table, a, round), shape).memory.total() <= budget.memory);
    BOOST_TEST(window_at(table, a, round).frozen_blocks == round + 1);
  }
  for (const Segment& segment : table) BOOST_TEST(trains(table, a, segment) == (segment.block >= 1));
}

BOOST_AUTO_TEST_CASE(compute_budgets_hold_in_every_step) {
  const SegmentTable table = preset_table("micro");
  const double full = estimate_cost(table, full_assignment(table.options()), {}).step_flops;
  std::vector<ClientBudget> budgets{share(table, "1"), share(table, "0.6")};
  limit_compute(budgets, {}, table, {});
  BOOST_TEST(budgets.size() == 2U);
  limit_compute(budgets, {1, 0.5, 0.25}, table, {});
  BOOST_REQUIRE(budgets.size() == 6U);  // both lists in turn
  for (const BalanceKind balance :
       {BalanceKind::deep, BalanceKind::balanced, BalanceKind::wide, BalanceKind::shallow}) {
    FleetRules rules;
    rules.balance = balance;
    const FleetPlan plan = plan_fleet(table, {}, budgets, 6, rules);
    BOOST_TEST((plan.assignments[0] == full_assignment(table.options())));
    for (std::size_t c = 0; c < 6; ++c) {
      BOOST_TEST(plan.costs[c].step_flops <= (c % 3 == 0 ? 1 : c % 3 == 1 ? 0.5 : 0.25) * full * 1.000001);
      BOOST_TEST(plan.costs[c].memory.total() <= budgets[c].memory);
    }
    BOOST_TEST(plan.costs[4].step_flops > 0.25 * full);  // a full memory budget, and half of the FLOPs
  }
  // A window that moves costs the most FLOPs where it is shallowest or deepest: each must hold.
  FleetRules rules;
  rules.balance = BalanceKind::wide;
  rules.rolling_windows = true;
  std::vector<ClientBudget> slow{share(table, "1")};
  limit_compute(slow, {0.6}, table, {});
  const FleetPlan rolling = plan_fleet(table, {}, slow, 2, rules);
  BOOST_TEST(rolling.assignments[0].rolling == 1);
  for (int round = 0; round < window_count(table, rolling.assignments[0]); ++round)
    BOOST_TEST(estimate_cost(table, window_at(table, rolling.assignments[0], round), {}).step_flops <=
               0.6001 * full);
  std::vector<ClientBudget> none{share(table, "1")};
  limit_compute(none, {0.001}, table, {});
  expect_error(ExitCode::usage, {"compute budget", "--compute-budgets", "FLOPs"},
               [&] { plan_client(table, {}, none[0], BalanceKind::shallow, 0); });
}

BOOST_AUTO_TEST_CASE(width_may_fall_or_rise_with_depth_within_the_same_budget) {
  const SegmentTable table = preset_table("micro");
  const ModelOptions& m = table.options();
  for (const WidthBalance kind : {WidthBalance::even, WidthBalance::falling, WidthBalance::rising}) {
    for (const char* text : {"1", "0.7", "0.5", "0.3"}) {
      const ClientBudget budget = share(table, text);
      const Assignment a = plan_client(table, {}, budget, BalanceKind::balanced, 0, kind);
      BOOST_TEST(needed(table, a) <= budget.memory);
      BOOST_TEST((a.width_balance == kind));
      for (int block = 0; block < a.kept_blocks; ++block) {
        const BlockWidth width = width_in(m, a, block);
        BOOST_TEST((width.heads >= 1 && width.heads <= m.heads));
        BOOST_TEST((width.neurons >= 1 && width.neurons <= m.feed_forward));
        if (kind == WidthBalance::even || std::string(text) == "1") {
          BOOST_TEST((width.heads == a.heads && width.neurons == a.neurons));
        } else if (block > 0) {
          const int before = width_in(m, a, block - 1).neurons;
          BOOST_TEST((kind == WidthBalance::falling ? width.neurons < before : width.neurons > before));
        }
      }
    }
  }
  // Never less where the share grows: a mask phase's candidates hold the kept units.
  Assignment a{6, 0, 1, 1};
  for (a.width_balance = WidthBalance::falling;; a.width_balance = WidthBalance::rising) {
    for (int block = 0; block < 6; ++block) {
      int before = 0;
      for (a.neurons = 1; a.neurons <= m.feed_forward; ++a.neurons) {
        BOOST_TEST(width_in(m, a, block).neurons >= before);
        before = width_in(m, a, block).neurons;
      }
      BOOST_TEST(before == m.feed_forward);
    }
    if (a.width_balance == WidthBalance::rising) break;
  }
}

BOOST_AUTO_TEST_CASE(a_linear_model_is_planned_whole_or_not_at_all) {
  const SegmentTable table = preset_table("linear");
  const Assignment whole = full_assignment(table.options());
  const PlanCost cost = estimate_cost(table, whole, {});
  BOOST_TEST(cost.parameters == 7850);
  BOOST_TEST(cost.trained_parameters == 7850);
  BOOST_TEST(cost.pull_bytes == 7850 * 4);
  BOOST_TEST(cost.push_bytes == 7850 * 4);
  BOOST_TEST(cost.step_flops == 4.0 * 32 * 784 * 10);
  BOOST_TEST(cost.memory.total() == 4 * (3 * 7850 + 32 * (784 + 10)));
  TrainingShape deltas;
  deltas.deltas = true;  // what was received is held, too
  BOOST_TEST(estimate_cost(table, whole, deltas).memory.total() == cost.memory.total() + 4 * 7850);
  for (const BalanceKind balance : {BalanceKind::deep, BalanceKind::balanced, BalanceKind::wide}) {
    const FleetPlan plan = plan_fleet(table, {}, {share(table, "1"), share(table, "1MiB")}, 5, {balance, 0});
    for (const Assignment& assignment : plan.assignments) BOOST_TEST((assignment == whole));
    BOOST_TEST(plan.least_trainers() == 5);
    expect_error(ExitCode::usage, {"budget '0.5' is too small"}, [&] {
      plan_fleet(table, {}, {share(table, "0.5")}, 1, {balance, 0});
    });
  }
  const FleetPlan plan = plan_fleet(table, {}, {share(table, "1")}, 2, {});
  BOOST_TEST(fleet_table(table, plan).find(" -  ") != std::string::npos);
  BOOST_TEST(plan_mask_phase(table, whole, {}).batch_size == 0);
}
