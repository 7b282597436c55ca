#include "cos2p/server/event_log.hpp"

#include <unistd.h>

#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>

#include "cos2p/config/run_options.hpp"
#include "cos2p/support/error.hpp"
#include "server/updates.hpp"

using namespace cos2p;
using namespace cos2p::test;

namespace {

/// A recorded run of two clients in a directory of its own.
struct Recorded {
  std::filesystem::path directory =
      std::filesystem::temp_directory_path() / ("cos2p-events-" + std::to_string(::getpid()));
  SegmentTable table = tiny_table();
  ModelStore store{table};
  ServerCore core{table, store, setup()};

  Recorded() {
    std::filesystem::remove_all(directory);
    std::filesystem::create_directories(directory);
  }
  ~Recorded() { std::filesystem::remove_all(directory); }

  ServerCore::Setup setup() {
    ServerCore::Setup setup;
    CommandLine command = parse_options(
        Subcommand::train,
        "policy = \"semi-async\"\nweighting = \"samples\"\nmin-updates = 2\ndeadline = 5\nrounds = 1000\n");
    setup.policy = command.options.policy;
    setup.rounds = 1000;
    setup.identity.options = command.in_effect;
    setup.identity.run_id = "0123456789abcdef";
    setup.identity.created = "2026-01-01T00:00:00Z";
    for (int c = 0; c < 2; ++c) {
      ClientRecord record;
      record.samples = 100 + 50 * c;
      record.class_counts.assign(10, 10);
      record.budget = "1";
      record.assignment = full_assignment(table.options());
      setup.clients.push_back(record);
    }
    return setup;
  }
  void local_round(int client, int index, float value, double now_s) {
    for (const Segment& segment : table)
      core.handle(constant_update(segment, client, index, store.version(segment.id), value, type), now_s);
    core.handle(round_report(client, index, 100, 1.0), now_s);
  }
  ValueType type = ValueType::float32;  ///< of the updates
  void run(
      int rounds, std::uint64_t limit = 0, const std::function<void()>& at_the_end = [] {}) {
    for (const Segment& segment : table)
      store.restore(segment.id, std::vector<float>(static_cast<std::size_t>(segment.numel), 0.5F), 0);
    EventLog log(directory.string(), core.snapshot(0), false, limit);
    core.set_events(&log);
    core.set_channels(2, 0);
    for (int r = 0; r < rounds; ++r) {
      local_round(0, r, 0.25F * static_cast<float>(r), 10.0 * r);
      if (r % 3 == 1) core.set_active(ClientId(1), false, 10.0 * r + 1);
      if (r % 3 == 2) core.set_active(ClientId(1), true, 10.0 * r + 1);
      if (r % 5 == 3) core.set_plan({full_assignment(table.options()), {1, 0, 2, 6}}, 10.0 * r + 1.5);
      if (r % 5 == 4)
        core.set_plan(std::vector<Assignment>(2, full_assignment(table.options())), 10.0 * r + 1.5);
      if (r % 2 == 0) local_round(1, r / 2, -1.0F, 10.0 * r + 2);
      core.tick(10.0 * r + 9);  // the deadline of what waits
      if (r % 4 == 2) core.add_member(WorkerRank(1), r % 8 == 2 ? "suspect" : "active", 10.0 * r + 9.1);
      if (r % 6 == 5) core.set_channels(2 - r % 2, r);
      if (r % 2 == 1)
        core.add_evaluation(
            {{core.round(), 0, 10.0 * r + 9, 2.0, 0.5}, {core.round(), 1, 10.0 * r + 9, 1.0, 0.75}});
      if (r % 4 == 0) core.fold_largest(10.0 * r + 9.5);
      core.handle(constant_update(table[table.embedding()], 1, -7, 0, 1), 10.0 * r + 9.6);  // dropped
      checkpoints.push_back(core.snapshot(10.0 * r + 9.7));
    }
    at_the_end();
    core.set_events(nullptr);
  }
  std::vector<Checkpoint> checkpoints;  ///< of each round
  std::string log_path() const { return event_part_path(directory.string(), 1, ".log"); }
  ReplayResult replay() const { return replay_part(directory.string(), 1); }
};

}  // namespace

BOOST_AUTO_TEST_SUITE(event_log)

BOOST_FIXTURE_TEST_CASE(a_replay_comes_to_the_same_bits, Recorded) {
  run(20);
  const ReplayResult result = replay();
  BOOST_TEST(result.difference == "");
  BOOST_TEST(result.unread_bytes == 0);
  BOOST_TEST(result.snapshots.size() == 20U);
  BOOST_TEST(result.merges > 20 * table.size() / 2);
  BOOST_TEST(model_hash(result.end) == model_hash(store));
  BOOST_TEST(result.end.state.round == core.round());
}

BOOST_FIXTURE_TEST_CASE(so_does_one_of_packed_updates, Recorded) {
  type = ValueType::int8;
  run(20);
  const ReplayResult result = replay();
  BOOST_TEST(result.difference == "");
  BOOST_TEST(model_hash(result.end) == model_hash(store));
}

BOOST_FIXTURE_TEST_CASE(a_log_that_was_cut_is_good_up_to_there, Recorded) {
  run(6);
  for (auto keep = std::filesystem::file_size(log_path()); keep > 8;
       keep -= std::min(keep - 8, keep / 7 + 1)) {
    std::filesystem::resize_file(log_path(), keep);
    const ReplayResult result = replay();
    BOOST_TEST(result.difference == "");
    BOOST_TEST(result.end.state.round <= core.round());
    BOOST_TEST(result.unread_bytes < static_cast<std::int64_t>(keep));
  }
}

BOOST_FIXTURE_TEST_CASE(another_start_is_found_out, Recorded) {
  run(4);
  const std::string start = event_part_path(directory.string(), 1, ".h5");
  Checkpoint other = read_checkpoint(start);
  other.clients[0].samples += 1;  // its weight
  write_checkpoint_file(start, other);
  const ReplayResult result = replay();
  BOOST_TEST(result.difference.find("recorded was") != std::string::npos);
}

BOOST_FIXTURE_TEST_CASE(a_log_at_its_limit_ends, Recorded) {
  run(20, 200000);
  BOOST_TEST(std::filesystem::file_size(log_path()) <= 200000U);
  BOOST_TEST(replay().difference == "");
}

BOOST_FIXTURE_TEST_CASE(a_resume_goes_on_from_the_end_of_the_log, Recorded) {
  run(20);
  for (const std::size_t at : {std::size_t{0}, std::size_t{7}, std::size_t{18}}) {
    const std::optional<Checkpoint> state = state_after(checkpoints[at], directory.string());
    BOOST_REQUIRE(state.has_value());
    BOOST_TEST(state->state.round == core.round());
    BOOST_TEST(state->state.time_s == 199.6);
    BOOST_TEST(model_hash(*state) == model_hash(store));
    BOOST_TEST(state->clients[0].rounds == 20);
    const std::vector<RoundRow>& rows = core.history().rounds;
    BOOST_REQUIRE(state->history.rounds.size() == rows.size());
    for (std::size_t r = 0; r < rows.size(); ++r) {
      BOOST_TEST(state->history.rounds[r].round == rows[r].round);
      BOOST_TEST(state->history.rounds[r].time_s == rows[r].time_s);
      BOOST_TEST(state->history.rounds[r].workers == rows[r].workers);
      BOOST_TEST(state->history.rounds[r].dropped == rows[r].dropped);
    }
    const std::vector<EvaluationRow>& evaluations = core.history().evaluations;
    BOOST_REQUIRE(state->history.evaluations.size() == evaluations.size());
    for (std::size_t e = 0; e < evaluations.size(); ++e)
      BOOST_TEST(std::memcmp(&state->history.evaluations[e], &evaluations[e], sizeof evaluations[e]) == 0);
    const std::vector<MemberRow>& members = core.history().members;
    BOOST_REQUIRE(members.size() == 5U);
    BOOST_REQUIRE(state->history.members.size() == members.size());
    for (std::size_t m = 0; m < members.size(); ++m) {
      BOOST_TEST(state->history.members[m].time_s == members[m].time_s);
      BOOST_TEST(std::string(state->history.members[m].state) == members[m].state);
    }
  }
  // A checkpoint's own evaluation, which the core had not been told of.
  Checkpoint evaluated = checkpoints[18];
  evaluated.history.evaluations.push_back({1000, 1, 190, 0.5, 1});
  BOOST_TEST(state_after(evaluated, directory.string())->history.evaluations.back().round == 1000);
  BOOST_TEST(!state_after(checkpoints.back(), directory.string()).has_value());  // the log goes no further
}

// A server that was killed, resumed from the log, and killed again before its first checkpoint.
BOOST_FIXTURE_TEST_CASE(a_resume_goes_on_over_several_parts, Recorded) {
  run(6);
  const std::vector<Checkpoint> before = checkpoints;
  std::optional<Checkpoint> state = state_after(before[2], directory.string());
  BOOST_REQUIRE(state.has_value());
  for (int again = 0; again < 2; ++again) {
    ModelStore other(table);
    ServerCore resumed(table, other, setup());
    resumed.restore(*state);
    EventLog log(directory.string(), resumed.snapshot(state->state.time_s), true, 0);
    resumed.set_events(&log);
    for (const Segment& segment : table) {
      resumed.handle(constant_update(segment, 0, 6 + again, other.version(segment.id), 1), 100 + again);
      resumed.handle(constant_update(segment, 1, 3 + again, other.version(segment.id), 1), 100 + again);
    }
    resumed.set_events(nullptr);
    const std::optional<Checkpoint> further = state_after(before[2], directory.string());
    BOOST_REQUIRE(further.has_value());
    BOOST_TEST(model_hash(*further) == model_hash(other));
    BOOST_TEST(model_hash(*further) != model_hash(*state));
    state = further;
  }
  BOOST_TEST(event_parts(directory.string()).size() == 3U);
  // A part between that does not lead on.
  const std::string middle = event_part_path(directory.string(), 2, ".log");
  std::filesystem::resize_file(middle, std::filesystem::file_size(middle) / 2);
  BOOST_TEST(!state_after(before[2], directory.string()).has_value());
}

BOOST_FIXTURE_TEST_CASE(a_run_that_ended_is_resumed_from_its_last_checkpoint, Recorded) {
  run(3, 0, [this] { core.add_evaluation({{3, 1, 30, 1.0, 0.75}}); });
  Checkpoint last = checkpoints.back();
  last.history = core.history();
  BOOST_TEST(!state_after(last, directory.string()).has_value());
}

BOOST_FIXTURE_TEST_CASE(a_resume_does_without_a_log_that_does_not_fit, Recorded) {
  run(20);
  Checkpoint other = checkpoints[7];
  other.values[0][0] += 1;
  BOOST_TEST(!state_after(other, directory.string()).has_value());
  // Cut off before the checkpoint, as by a disk that lost its cache.
  std::filesystem::resize_file(log_path(), std::filesystem::file_size(log_path()) / 4);
  BOOST_TEST(!state_after(checkpoints.back(), directory.string()).has_value());
  BOOST_TEST(state_after(checkpoints[0], directory.string()).has_value());
  const std::string start = event_part_path(directory.string(), 1, ".h5");
  Checkpoint heavier = read_checkpoint(start);
  heavier.clients[0].samples += 1;
  write_checkpoint_file(start, heavier);
  BOOST_TEST(!state_after(checkpoints[0], directory.string()).has_value());
  std::filesystem::remove_all(directory / "events");
  BOOST_TEST(!state_after(checkpoints[0], directory.string()).has_value());
}

BOOST_FIXTURE_TEST_CASE(what_is_no_log_is_refused, Recorded) {
  run(1);
  std::ofstream(log_path()) << "something else";
  BOOST_CHECK_THROW(replay(), Error);
}

BOOST_AUTO_TEST_SUITE_END()
