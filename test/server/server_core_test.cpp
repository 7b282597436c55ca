#include "cos2p/server/server_core.hpp"

#include <boost/test/unit_test.hpp>

#include "server/updates.hpp"

using namespace cos2p;
using namespace cos2p::test;

namespace {

struct Run {
  SegmentTable table = tiny_table();
  ModelStore store{table};
  ServerCore core;
  std::vector<RoundRow> closed;
  int dropped = 0;

  Run(const PolicyOptions& policy, int clients, int rounds)
      : core(table, store, setup(table, policy, clients, rounds)) {
    zero(store, table);
    core.on_round_closed = [this](const RoundRow& row) { closed.push_back(row); };
    core.on_dropped = [this](const MessageHeader&, UpdateVerdict, const std::string&) { ++dropped; };
  }
  static ServerCore::Setup setup(const SegmentTable& table, const PolicyOptions& policy, int clients,
                                 int rounds) {
    ServerCore::Setup setup;
    setup.policy = policy;
    setup.rounds = rounds;
    for (int c = 0; c < clients; ++c) {
      ClientRecord record;
      record.samples = 100;
      record.assignment = full_assignment(table.options());
      setup.clients.push_back(record);
    }
    return setup;
  }
  void local_round(int client, int index, float value, double now_s, int server_round = 0) {
    const auto handle = [&](Message message) {
      message.header.server_round = server_round;
      core.handle(std::move(message), now_s);
    };
    for (const Segment& segment : table)
      handle(constant_update(segment, client, index, store.version(segment.id), value));
    handle(round_report(client, index, 100, 0.5 + client));
  }
};

}  // namespace

BOOST_AUTO_TEST_CASE(a_sync_round_closes_when_everybody_reported) {
  Run run(policy_of(PolicyKind::sync), 3, 2);
  run.local_round(0, 0, 1, 1);
  run.local_round(1, 0, 2, 2);
  BOOST_TEST(run.closed.empty());
  run.local_round(2, 0, 3, 3);
  BOOST_REQUIRE(run.closed.size() == 1U);
  const RoundRow& row = run.closed[0];
  BOOST_TEST(row.round == 1);
  BOOST_TEST(row.reports == 3);
  BOOST_TEST(row.n_star == 3);
  BOOST_TEST(row.segments_merged == run.table.size());
  BOOST_TEST(row.segments_total == run.table.size());
  BOOST_TEST(row.updates == 3 * run.table.size());
  BOOST_TEST(row.loss == 1.5, boost::test_tools::tolerance(1e-9));
  BOOST_TEST(row.utilisation == 0.75, boost::test_tools::tolerance(1e-9));
  BOOST_TEST(!run.core.finished());
  for (int c = 0; c < 3; ++c) run.local_round(c, 1, 1, 4);
  BOOST_TEST(run.core.finished());
}

BOOST_AUTO_TEST_CASE(a_semi_async_round_does_not_wait_for_the_slowest) {
  PolicyOptions policy = policy_of(PolicyKind::semi_async);
  policy.min_updates = 2;
  policy.deadline_s = 10;
  Run run(policy, 3, 5);
  run.local_round(0, 0, 1, 1);
  run.local_round(1, 0, 1, 2);
  BOOST_REQUIRE(run.closed.size() == 1U);
  BOOST_TEST(run.closed[0].n_star == 2);
  run.local_round(0, 1, 1, 3);
  BOOST_TEST(run.core.next_deadline_s() == 13);
  run.core.tick(12.9);
  BOOST_TEST(run.closed.size() == 1U);
  run.core.tick(13);
  BOOST_TEST(run.closed.size() == 2U);
  BOOST_TEST(run.closed[1].n_star == 1);
}

BOOST_AUTO_TEST_CASE(a_lost_client_closes_the_round_that_waited_for_it) {
  Run run(policy_of(PolicyKind::sync), 2, 5);
  run.local_round(0, 0, 1, 1);
  BOOST_TEST(run.closed.empty());
  run.core.set_active(ClientId(1), false, 2);
  BOOST_TEST(run.closed.size() == 1U);
}

BOOST_AUTO_TEST_CASE(reports_that_come_twice_or_from_nobody_are_dropped) {
  Run run(policy_of(PolicyKind::async), 1, 9);
  run.local_round(0, 0, 1, 1);
  run.core.handle(round_report(0, 0, 1, 1), 1);
  run.core.handle(round_report(5, 0, 1, 1), 1);
  run.core.handle(round_report(0, kLastRound, 1, 1), 1);  // no checkpoint could hold the round after it
  BOOST_TEST(run.dropped == 3);
  BOOST_TEST(run.closed.size() == 1U);
}

BOOST_AUTO_TEST_CASE(a_restored_core_continues_in_the_middle_of_a_round_to_the_same_bits) {
  PolicyOptions policy = policy_of(PolicyKind::semi_async);
  policy.min_updates = 3;
  policy.deadline_s = 0;
  policy.normalize = NormalizeKind::trainers;
  Run whole(policy, 3, 4), before(policy, 3, 4), after(policy, 3, 4);
  for (Run* run : {&whole, &before}) {
    for (int c = 0; c < 3; ++c) run->local_round(c, 0, 0.1F * static_cast<float>(c), 1);
    run->local_round(1, 1, 0.7F, 2);
    run->core.handle(constant_update(run->table[run->table.attention(1)], 0, 1, 1, 0.3F), 3);
  }
  const Checkpoint checkpoint = before.core.snapshot(3);
  BOOST_TEST(checkpoint.state.pending.size() == static_cast<std::size_t>(before.table.size()) + 1);
  after.core.restore(checkpoint);
  for (Run* run : {&whole, &after}) {
    for (const Segment& segment : run->table) {
      if (segment.id != run->table.attention(1)) run->core.handle(constant_update(segment, 0, 1, 1, 0.3F), 4);
    }
    run->core.handle(round_report(0, 1, 100, 1), 4);
    run->local_round(2, 1, -0.2F, 5);
  }
  BOOST_TEST(after.core.round() == 2);
  const Checkpoint a = whole.core.snapshot(6), b = after.core.snapshot(6);
  BOOST_TEST((a.values == b.values));
  BOOST_REQUIRE(a.history.rounds.size() == b.history.rounds.size());
  BOOST_TEST(a.history.rounds.back().n_star == b.history.rounds.back().n_star);
  BOOST_TEST(a.history.rounds.back().loss == b.history.rounds.back().loss);
}

BOOST_AUTO_TEST_CASE(a_rolling_client_is_waited_for_only_where_its_window_stands) {
  const SegmentTable table = tiny_table();  // two blocks
  ModelStore store(table);
  zero(store, table);
  ServerCore::Setup setup = Run::setup(table, policy_of(PolicyKind::sync), 2, 4);
  setup.clients[1].assignment = {2, 1, 2, 6,
                                 1};  // one block in turn: block 0 with the embedding, then block 1
  ServerCore core(table, store, setup);
  int dropped = 0;
  core.on_dropped = [&](const MessageHeader&, UpdateVerdict, const std::string&) { ++dropped; };
  const auto deliver = [&](int client, int round) {
    const Assignment window =
        window_at(table, setup.clients[static_cast<std::size_t>(client)].assignment, round);
    for (const Segment& segment : table) {
      if (trains(table, window, segment))
        core.handle(constant_update(segment, client, round, store.version(segment.id), 1), 1);
    }
    core.handle(round_report(client, round, 100, 1), 1);
  };
  const auto versions = [&] {
    return std::vector<std::uint64_t>{store.version(table.embedding()), store.version(table.attention(0)),
                                      store.version(table.attention(1))};
  };
  deliver(0, 0);
  BOOST_TEST(versions() == (std::vector<std::uint64_t>{0, 0, 1}), boost::test_tools::per_element());
  deliver(1, 0);
  BOOST_TEST(versions() == (std::vector<std::uint64_t>{1, 1, 1}), boost::test_tools::per_element());
  BOOST_TEST(core.round() == 1);
  deliver(0, 1);
  BOOST_TEST(versions() == (std::vector<std::uint64_t>{2, 2, 1}), boost::test_tools::per_element());
  BOOST_TEST(dropped == 0);
  core.handle(constant_update(table[table.embedding()], 1, 1, 2, 1), 1);  // not in its second window
  BOOST_TEST(dropped == 1);

  // A resume in the middle of a round goes on in the same windows.
  ServerCore resumed(table, store, setup);
  resumed.restore(core.snapshot(1));
  for (const Segment& segment : table) {
    if (trains(table, window_at(table, setup.clients[1].assignment, 1), segment))
      resumed.handle(constant_update(segment, 1, 1, store.version(segment.id), 1), 2);
  }
  resumed.handle(round_report(1, 1, 100, 1), 2);
  BOOST_TEST(versions() == (std::vector<std::uint64_t>{2, 2, 2}), boost::test_tools::per_element());
  BOOST_TEST(resumed.round() == 2);
}

BOOST_AUTO_TEST_CASE(a_client_without_a_part_is_waited_for_by_nobody) {
  const SegmentTable table = tiny_table();
  ModelStore store(table);
  zero(store, table);
  ServerCore::Setup setup = Run::setup(table, policy_of(PolicyKind::sync), 3, 2);
  setup.clients[1].assignment = Assignment{};
  ServerCore core(table, store, setup);
  for (const int client : {0, 2}) {
    for (const Segment& segment : table)
      core.handle(constant_update(segment, client, 0, store.version(segment.id), 1), 1);
    core.handle(round_report(client, 0, 100, 1), 1);
  }
  BOOST_TEST(core.round() == 1);
  BOOST_TEST(store.version(table.embedding()) == 1U);
}

BOOST_AUTO_TEST_CASE(in_lockstep_a_report_of_one_who_is_gone_does_not_stand_for_one_who_is_still_at_it) {
  Run run(policy_of(PolicyKind::sync), 3, 5);
  run.local_round(0, 0, 1, 1);
  run.local_round(2, 0, 3, 1);
  run.core.set_active(ClientId(2), false, 2);  // two reports, two active clients: but client 1 is still at it
  BOOST_TEST(run.closed.empty());
  run.local_round(1, 0, 2, 3);
  BOOST_REQUIRE(run.closed.size() == 1U);
  BOOST_TEST(run.closed[0].reports == 3);
  BOOST_TEST(run.closed[0].n_star == 3);  // what it had delivered counts
  run.local_round(0, 1, 1, 4);
  BOOST_TEST(run.closed.size() == 1U);
  run.local_round(1, 1, 1, 4);
  BOOST_TEST(run.closed.size() == 2U);
}

BOOST_AUTO_TEST_CASE(in_lockstep_a_suspect_that_comes_back_late_takes_part_again_from_its_next_round_on) {
  Run run(policy_of(PolicyKind::sync), 3, 9);
  run.local_round(0, 0, 1, 1);
  run.local_round(1, 0, 1, 1);
  run.core.set_suspect(ClientId(2), true, 2);
  BOOST_REQUIRE(run.closed.size() == 1U);
  run.local_round(0, 1, 1, 3);
  run.core.set_suspect(ClientId(2), false, 3);  // heard again, in the middle of a round and of its own
  run.local_round(1, 1, 1, 4);
  BOOST_REQUIRE(run.closed.size() == 2U);  // not waited for
  BOOST_TEST(run.closed[1].reports == 2);
  const std::uint64_t version = run.store.version(SegmentId(0));
  run.local_round(2, 0, 50, 5);  // the round that it owes
  BOOST_TEST(run.dropped == run.table.size());
  BOOST_TEST(run.store.version(SegmentId(0)) == version);
  run.local_round(0, 2, 1, 6);
  run.local_round(1, 2, 1, 6);
  BOOST_TEST(run.closed.size() == 2U);  // now it is waited for
  run.local_round(2, 1, 1, 7);
  BOOST_REQUIRE(run.closed.size() == 3U);
  BOOST_TEST(run.closed[2].reports == 3);
  BOOST_TEST(run.closed[2].n_star == 3);
  for (int c = 0; c < 3; ++c) {
    run.local_round(c, c == 2 ? 2 : 3, 1, 8);
    BOOST_TEST(run.closed.size() == (c == 2 ? 4U : 3U));
  }
}

BOOST_AUTO_TEST_CASE(in_lockstep_a_suspect_that_comes_back_before_its_round_has_closed_owes_nothing) {
  Run run(policy_of(PolicyKind::sync), 3, 9);
  run.local_round(0, 0, 1, 1);
  run.core.set_suspect(ClientId(2), true, 2);
  run.core.set_suspect(ClientId(2), false, 3);
  run.local_round(1, 0, 1, 4);
  BOOST_TEST(run.closed.empty());
  run.local_round(2, 0, 1, 5);
  BOOST_REQUIRE(run.closed.size() == 1U);
  BOOST_TEST(run.closed[0].reports == 3);
  BOOST_TEST(run.dropped == 0);
}

BOOST_AUTO_TEST_CASE(in_lockstep_a_suspect_that_had_delivered_begins_with_the_open_round) {
  Run run(policy_of(PolicyKind::sync), 3, 9);
  run.local_round(2, 0, 1, 1, 0);
  run.core.set_suspect(ClientId(2), true, 2);  // while it waits for the next round, of which it cannot hear
  for (int round = 0; round < 3; ++round) {
    run.local_round(0, round, 1, 3 + round, round);
    run.local_round(1, round, 1, 3 + round, round);
  }
  BOOST_REQUIRE(run.closed.size() == 3U);
  run.core.set_suspect(ClientId(2), false, 7);
  run.local_round(0, 3, 1, 8, 3);
  run.local_round(2, 1, 1, 8, 3);  // what it starts now is for the round that is open
  BOOST_TEST(run.dropped == 0);
  BOOST_TEST(run.closed.size() == 3U);
  run.local_round(1, 3, 1, 9, 3);
  BOOST_REQUIRE(run.closed.size() == 4U);
  BOOST_TEST(run.closed[3].reports == 3);
  BOOST_TEST(run.closed[3].n_star == 3);
}

BOOST_AUTO_TEST_CASE(segments_without_a_trainer_are_told_and_lost_only_when_nobody_can_come_back) {
  Run run(policy_of(PolicyKind::semi_async), 2, 9);
  std::vector<std::string> untrained;
  bool lost = false;
  int told = 0;
  run.core.on_coverage_changed = [&](const std::vector<std::string>& names, bool is_lost) {
    untrained = names;
    lost = is_lost;
    ++told;
  };
  run.core.set_active(ClientId(0), false, 1);
  BOOST_TEST(told == 0);
  run.core.set_suspect(ClientId(1), true, 2);
  BOOST_TEST(told == 1);
  BOOST_TEST(untrained.size() == static_cast<std::size_t>(run.table.size()));
  BOOST_TEST(!lost);
  run.core.set_suspect(ClientId(1), false, 3);
  BOOST_TEST(told == 2);
  BOOST_TEST(untrained.empty());
  run.core.set_suspect(ClientId(1), true, 4);
  BOOST_TEST(!lost);
  run.core.set_active(ClientId(1), false, 5);
  BOOST_TEST(lost);  // the same segments, which nobody can train again
}

BOOST_AUTO_TEST_CASE(a_new_plan_holds_from_the_next_round_on_and_what_it_covers_is_not_lost) {
  const SegmentTable table = tiny_table();
  ModelStore store(table);
  ServerCore::Setup setup = Run::setup(table, policy_of(PolicyKind::sync), 2, 9);
  setup.clients[1].assignment.kept_blocks = 1;
  ServerCore core(table, store, setup);
  zero(store, table);
  bool uncovered = false, lost = false;
  int changed = 0;
  core.on_coverage_changed = [&](const std::vector<std::string>& names, bool is_lost) {
    uncovered = !names.empty();
    lost = is_lost;
  };
  core.on_plan_changed = [&] { ++changed; };
  const auto local_round = [&](int index, int blocks) {
    for (const Segment& segment : table) {
      if (segment.block < blocks)
        core.handle(constant_update(segment, 1, index, store.version(segment.id), 1), index);
    }
    core.handle(round_report(1, index, 100, 1), index);
  };
  const Segment& deep = table[table.attention(1)];
  std::vector<Assignment> plan = core.latest_plan();
  plan[1] = full_assignment(table.options());
  core.set_plan(plan, 0);
  core.set_active(ClientId(0), false, 0);
  BOOST_TEST(uncovered);  // in this round
  BOOST_TEST(!lost);
  BOOST_TEST((core.tasks()[1].assignment == setup.clients[1].assignment));
  local_round(0, 1);
  BOOST_TEST(core.round() == 1);
  BOOST_TEST(changed == 1);
  BOOST_TEST(!uncovered);
  BOOST_TEST((core.tasks()[1].assignment == plan[1]));
  BOOST_TEST(store.version(deep.id) == 0U);
  local_round(1, 2);
  BOOST_TEST(core.round() == 2);
  BOOST_TEST(store.version(deep.id) == 1U);
  // A checkpoint holds the plan of the start, with which a resume begins.
  BOOST_TEST((core.snapshot(9).clients[1].assignment == setup.clients[1].assignment));
  core.set_plan({setup.clients[0].assignment, setup.clients[1].assignment}, 9);
  local_round(2, 2);
  BOOST_TEST(changed == 2);
  BOOST_TEST(lost);
}

BOOST_AUTO_TEST_CASE(the_newest_rows_of_the_history_are_kept_and_a_resume_goes_on_with_them) {
  const SegmentTable table = tiny_table();
  ModelStore store(table);
  zero(store, table);
  ServerCore::Setup setup = Run::setup(table, policy_of(PolicyKind::sync), 2, 100);
  setup.history_rows = 10;
  ServerCore core(table, store, setup);
  int reported = 0;
  core.on_reported = [&](const ClientRow& row) {
    BOOST_TEST(row.client == reported % 2);
    BOOST_TEST(row.client_round == reported / 2);
    ++reported;
  };
  const auto local_round = [&](ServerCore& to, int client, int index) {
    for (const Segment& segment : table)
      to.handle(constant_update(segment, client, index, store.version(segment.id), 1), index);
    to.handle(round_report(client, index, 100, 0.5), index);
  };
  for (int round = 0; round < 40; ++round) {
    local_round(core, 0, round);
    if (round < 39) local_round(core, 1, round);  // the last round stays open
    const History& history = core.history();
    BOOST_TEST(history.rounds.size() <= 15U);
    BOOST_TEST(history.clients.size() <= 15U);
    BOOST_TEST(history.rounds.size() >= static_cast<std::size_t>(std::min(core.round(), 10)));
    if (core.round() > 0) BOOST_TEST(history.rounds.back().round == core.round());
  }
  BOOST_TEST(reported == 79);
  BOOST_TEST(core.round() == 39);

  ServerCore resumed(table, store, setup);
  resumed.restore(core.snapshot(40));
  BOOST_TEST(resumed.history().rounds.size() == core.history().rounds.size());
  local_round(resumed, 1, 39);  // client 0's report of this round is among the rows
  BOOST_TEST(resumed.round() == 40);
}
