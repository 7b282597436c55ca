#include "cos2p/plan/fleet_watch.hpp"

#include "plan_fixture.hpp"

using namespace cos2p;
using namespace cos2p::test;

namespace {

/// Two clients, of which the second is watched.
struct Watched {
  explicit Watched(double speed_change)
      : start(plan_fleet(table, training, {share(table, "1"), share(table, "0.5")}, 2, rules)),
        assignment(start.assignments[1]),
        watch(table, training, start, speed_change) {}

  /// Rounds of a device of this speed, four seconds each, until the limit changes, at most `most`; how many
  /// there were.
  int rounds(double flops, std::int64_t free_memory, int most = 30) {
    for (int round = 1; round <= most; ++round) {
      const double step_flops = estimate_cost(table, assignment, training).step_flops;
      // One round in four is disturbed: medians take no notice.
      const double disturbed = round % 4 == 0 ? 10 : 1;
      time_s += round_s;
      if (watch.observe({ClientId(1), round, time_s, 8, disturbed * 8 * step_flops / flops, free_memory}))
        return round;
    }
    return 0;
  }
  /// As the server does when the limit has changed.
  void plan_anew() {
    assignment = plan_present(table, training, start, {true, true}, watch.limits(), rules).assignments[1];
    watch.begin_plan({start.assignments[0], assignment});
  }
  double step_flops() const { return estimate_cost(table, assignment, training).step_flops; }

  const SegmentTable table = preset_table("micro");
  const TrainingShape training;
  const FleetRules rules{BalanceKind::balanced, 0};
  const FleetPlan start;
  Assignment assignment;
  FleetWatch watch;
  double time_s = 0, round_s = 4;
};

constexpr std::int64_t kPlenty = std::int64_t{1} << 40;

}  // namespace

BOOST_AUTO_TEST_CASE(a_client_that_gets_slower_gets_fewer_flops_until_it_is_back) {
  Watched w(2);
  BOOST_TEST(w.rounds(1e9, kPlenty) == 0);
  BOOST_TEST(w.rounds(0.7e9, kPlenty) == 0);  // within the factor
  BOOST_TEST(w.rounds(1e9, kPlenty) == 0);

  const int until = w.rounds(0.25e9, kPlenty);
  BOOST_TEST(until > 0);
  BOOST_TEST(until <= static_cast<int>(FleetWatch::kRounds));
  const double full = w.step_flops();
  BOOST_CHECK_CLOSE(w.watch.limits()[1].step_flops, 0.25 * full, 1);
  BOOST_TEST((w.watch.limits()[0] == MeasuredLimit{}));
  w.plan_anew();
  BOOST_TEST(w.step_flops() <= 0.25 * full);

  // Narrow submodels do fewer FLOP/s on the same device: that is no change of the device.
  BOOST_TEST(w.rounds(0.1e9, kPlenty) == 0);
  // Back at about its old speed.
  BOOST_TEST(w.rounds(0.38e9, kPlenty) > 0);
  BOOST_TEST(w.watch.limits()[1].step_flops > 0.9 * full);
  w.plan_anew();
  BOOST_TEST(w.rounds(1e9, kPlenty) == 0);
}

BOOST_AUTO_TEST_CASE(a_client_that_is_fast_again_at_once_is_not_left_with_little) {
  Watched w(2);
  BOOST_TEST(w.rounds(1e9, kPlenty) == 0);
  BOOST_TEST(w.rounds(0.2e9, kPlenty) > 0);
  w.plan_anew();
  BOOST_TEST(w.rounds(0.9e9, kPlenty) > 0);
  w.plan_anew();
  BOOST_TEST(w.step_flops() > 0.8 * w.start.costs[1].step_flops);
}

BOOST_AUTO_TEST_CASE(what_a_device_showed_is_not_held_against_the_next_one) {
  Watched w(2);
  BOOST_TEST(w.rounds(1e9, kPlenty) == 0);
  BOOST_TEST(w.rounds(0.2e9, w.start.costs[1].memory.total() / 2) > 0);
  BOOST_TEST(!(w.watch.limits()[1] == MeasuredLimit{}));
  w.watch.forget(ClientId(1));
  BOOST_TEST((w.watch.limits()[1] == MeasuredLimit{}));
  w.plan_anew();
  BOOST_TEST((w.assignment == w.start.assignments[1]));
  BOOST_TEST(w.rounds(0.2e9, kPlenty) == 0);  // its own measure
}

BOOST_AUTO_TEST_CASE(a_moment_is_not_enough) {
  Watched w(2);
  w.round_s = 0.11;
  BOOST_TEST(w.rounds(1e9, kPlenty, 2000) == 0);
  BOOST_TEST(w.rounds(0.1e9, kPlenty, 25) == 0);
  BOOST_TEST(w.rounds(1e9, kPlenty, 2000) == 0);
  BOOST_TEST(w.rounds(0.1e9, kPlenty, 2000) > 25);
}

BOOST_AUTO_TEST_CASE(speed_counts_only_where_it_was_asked_for) {
  Watched w(0);
  BOOST_TEST(w.rounds(1e9, kPlenty) == 0);
  BOOST_TEST(w.rounds(1e6, kPlenty) == 0);
}

BOOST_AUTO_TEST_CASE(a_client_short_of_memory_gets_a_submodel_that_fits_until_there_is_more) {
  Watched w(0);
  const std::int64_t needs = w.start.costs[1].memory.total();
  BOOST_TEST(w.rounds(1e9, needs) == 0);
  BOOST_TEST(w.rounds(1e9, 0) == 0);  // not known
  BOOST_TEST(w.rounds(1e9, needs * 6 / 10) > 0);
  BOOST_TEST(w.watch.limits()[1].memory == needs * 6 / 10 * 9 / 10);
  w.plan_anew();
  BOOST_TEST(needed(w.table, w.assignment) < needs * 6 / 10);
  BOOST_TEST(w.rounds(1e9, needs * 6 / 10) == 0);
  BOOST_TEST(w.rounds(1e9, needs * 7 / 10) == 0);  // not enough more to be worth another plan
  BOOST_TEST(w.rounds(1e9, needs * 2) > 0);
  w.plan_anew();
  BOOST_TEST((w.assignment == w.start.assignments[1]));

  // A moment of less is not held against a machine that never has much more than is needed.
  BOOST_TEST(w.rounds(1e9, needs * 95 / 100) > 0);
  w.plan_anew();
  BOOST_TEST(w.rounds(1e9, needs * 115 / 100) > 0);
  w.plan_anew();
  BOOST_TEST((w.assignment == w.start.assignments[1]));
  BOOST_TEST(w.rounds(1e9, needs * 115 / 100) == 0);
}

BOOST_AUTO_TEST_CASE(a_device_that_got_slower_under_another_submodel_is_found_out_under_that_of_the_start) {
  Watched w(2);
  BOOST_TEST(w.rounds(1e9, kPlenty) == 0);
  const Assignment start = w.assignment;
  w.assignment.heads = w.assignment.neurons = 1;  // it covers for somebody
  w.watch.begin_plan({w.start.assignments[0], w.assignment});
  BOOST_TEST(w.rounds(0.2e9, kPlenty) == 0);
  w.assignment = start;
  w.watch.begin_plan({w.start.assignments[0], start});
  BOOST_TEST(w.rounds(0.2e9, kPlenty) > 0);
  BOOST_CHECK_CLOSE(w.watch.limits()[1].step_flops, 0.2 * w.step_flops(), 1);
}

BOOST_AUTO_TEST_CASE(reports_that_say_nothing_change_nothing) {
  Watched w(2);
  for (int round = 0; round < 20; ++round) {
    BOOST_TEST(!w.watch.observe({ClientId(1), round, 4.0 * round, 0, 1, kPlenty}));
    BOOST_TEST(!w.watch.observe({ClientId(1), round, 4.0 * round, 8, std::nan(""), kPlenty}));
    BOOST_TEST(!w.watch.observe({ClientId(1), round, 4.0 * round, 8, 0, -1}));
  }
}
