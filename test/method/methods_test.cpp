// Every method on a fleet of two clients, worked out by hand: the submodel that each client gets, the units
// that it trains in a round, and what the merge of their updates gives. Client 0 holds the full model and 100
// samples and sends 1 for every value; client 1 has a smaller budget and 300 samples and sends 4; the
// server's values are 0. So a value is 1 or 4 where one client alone trains it, 3.25 where both do and count
// by their samples, 2.5 where they count alike, and 0 where nobody does.
#include "cos2p/method/method.hpp"

#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <memory>

#include "cos2p/config/run_options.hpp"
#include "cos2p/plan/planner.hpp"
#include "cos2p/transport/in_process.hpp"
#include "server/updates.hpp"
#include "unit_choice.hpp"

using namespace cos2p;
using namespace cos2p::test;

namespace {

using Values = std::vector<float>;

/// 2 blocks of 4 heads and 10 neurons, an exit after each.
SegmentTable small_table() {
  ModelOptions options;
  options.image_height = options.image_width = 8;
  options.patch = 4;
  options.dim = 8;
  options.blocks = 2;
  options.heads = 4;
  options.feed_forward = 10;
  options.validate();
  return SegmentTable(options);
}

const Assignment kFull{2, 0, 4, 10}, kHalfWidth{2, 0, 2, 5}, kHalfDepth{1, 0, 4, 10}, kHalfBoth{1, 0, 2, 5},
    kNothing{};

class Fleet {
 public:
  /// Budgets are what these submodels need. `more`: further options, as lines of a configuration file.
  Fleet(const std::string& method, const std::vector<Assignment>& budgets, const std::string& more = "")
      : options_(
            parse_options(Subcommand::simulate, "policy = \"sync\"\nmethod = \"" + method + "\"\n" + more)
                .options) {
    const TrainingShape training;
    std::vector<ClientBudget> given;
    for (const Assignment& budget : budgets) {
      given.emplace_back();
      given.back().memory = estimate_cost(table_, budget, training).memory.total();
    }
    plan_ = plan_fleet(table_, training, given, static_cast<int>(given.size()), options_.fleet);
    setup_.table = &table_;
    setup_.fleet = &plan_.assignments;
    setup_.local = options_.local;
    setup_.width = options_.width;
    chooser_ = std::make_unique<UnitChooser>(setup_, torch::kCPU);
    zero(store_, table_);
    RingOptions ring;
    ring.slots = 2;
    channel_ = make_in_process_channel(table_, store_, WorkerRank(1), ring, 1, [] {});
  }

  const RunOptions& options() const { return options_; }
  const SegmentTable& table() const { return table_; }
  const std::vector<Assignment>& assignments() const { return plan_.assignments; }

  /// The units of a part, (kept ones), that a client trains in a round; call it for one round after another.
  std::vector<std::int32_t> units(int client, int round, SegmentId part) {
    const ClientTask task{client, 0, plan_.assignments[static_cast<std::size_t>(client)]};
    RoundReport report;
    if (chooser_->due(task, round)) chooser_->choose(*channel_->worker, task, round, report);
    const UnitChoice& choice = chooser_->of(client);
    const auto& sets = table_[part].kind == SegmentKind::attention ? choice.heads : choice.neurons;
    return sets.at(static_cast<std::size_t>(table_[part].block)).kept();
  }

  /// What the merge of a round gives for each unit of a part, and last for the values that all units share.
  Values merged(SegmentId part, int round = 0) {
    const Segment& segment = table_[part];
    zero(store_, table_);
    std::vector<Trainer> trainers;
    for (std::size_t c = 0; c < plan_.assignments.size(); ++c)
      trainers.push_back({c == 0 ? 100.0 : 300.0, plan_.assignments[c], plan_.assignments[c].takes_part()});
    Aggregator aggregator(table_, store_, options_.policy, trainers, 1);
    std::string reason;
    for (int c = 0; c < static_cast<int>(trainers.size()); ++c) {
      if (!trains(table_, plan_.assignments[static_cast<std::size_t>(c)], segment)) continue;
      const UnitSet kept(segment.units, units(c, round, part));
      BOOST_REQUIRE(aggregator.add(update(segment, c, kept, c == 0 ? 1.0F : 4.0F), 0, reason) ==
                    UpdateVerdict::accepted);
    }
    BOOST_REQUIRE(aggregator.merge_ready(0).size() == 1U);
    const Span<const float> values = store_.values(part);
    Values result;
    float shared = 0;
    for (const TensorSpec& tensor : segment.tensors) {
      const float* begin = values.data() + tensor.offset;
      if (!tensor.per_unit) shared = *begin;
      if (!tensor.per_unit || !result.empty()) continue;
      for (std::int64_t unit = 0; unit < segment.units; ++unit) result.push_back(begin[unit * tensor.row()]);
    }
    result.push_back(shared);
    return result;
  }
  Values heads(int block, int round = 0) { return merged(table_.attention(block), round); }
  Values neurons(int block, int round = 0) { return merged(table_.feed_forward(block), round); }

 private:
  static Message update(const Segment& segment, int client, const UnitSet& kept, float value) {
    Message message;
    MessageHeader& header = message.header;
    header.client = client;
    header.segment = segment.id.value();
    header.bitmap_bytes = UnitSet::bitmap_bytes(segment.units);
    const std::vector<float> values(static_cast<std::size_t>(segment.numel_with(kept.size())), value);
    header.body_bytes =
        values_offset(header.bitmap_bytes) + static_cast<std::int64_t>(values.size() * sizeof(float));
    message.body = buffer_of(static_cast<std::size_t>(header.body_bytes));
    const std::vector<std::uint8_t> bitmap = kept.bitmap();
    std::memcpy(message.body.data(), bitmap.data(), bitmap.size());
    std::memcpy(message.body.data() + values_offset(header.bitmap_bytes), values.data(),
                values.size() * sizeof(float));
    return message;
  }

  RunOptions options_;
  SegmentTable table_ = small_table();
  ModelStore store_{table_};
  FleetPlan plan_;
  LocalTrainer::Setup setup_;
  std::unique_ptr<UnitChooser> chooser_;
  std::unique_ptr<InProcessChannel> channel_;
};

void expect(const Values& got, const Values& expected) {
  BOOST_TEST_REQUIRE(got.size() == expected.size());
  for (std::size_t i = 0; i < got.size(); ++i)
    BOOST_TEST(std::abs(got[i] - expected[i]) < 1e-5F,
               "value " << i << ": " << got[i] << ", not " << expected[i]);
}

void expect_plan(const Fleet& fleet, const std::vector<Assignment>& expected) {
  BOOST_TEST_REQUIRE(fleet.assignments().size() == expected.size());
  for (std::size_t c = 0; c < expected.size(); ++c)
    BOOST_TEST((fleet.assignments()[c] == expected[c]), "client " << c);
}

/// Learns from the labels at the deepest exit alone, with nothing added to the logits.
void expect_plain_objective(const RunOptions& options) {
  const ObjectiveOptions& o = options.local.objective;
  BOOST_TEST((o.exit_loss == ExitLossKind::deepest && o.distillation == DistillationKind::none));
  BOOST_TEST(o.logit_adjustment == 0);
}

using Kept = std::vector<std::int32_t>;

}  // namespace

BOOST_AUTO_TEST_CASE(fedavg_gives_everybody_the_full_model_and_averages_by_samples) {
  Fleet fleet("fedavg", {kFull, kHalfWidth});
  expect_plan(fleet, {kFull, kFull});
  expect(fleet.heads(1), Values(5, 3.25F));
  expect(fleet.neurons(0), Values(11, 3.25F));
  expect_plain_objective(fleet.options());
  BOOST_TEST(!fleet.options().local.objective.masked_logits);
}

BOOST_AUTO_TEST_CASE(fedavg_smallest_gives_everybody_the_first_units_of_the_smallest) {
  Fleet fleet("fedavg-smallest", {kFull, kHalfWidth});
  expect_plan(fleet, {kHalfWidth, kHalfWidth});
  expect(fleet.heads(0), {3.25F, 3.25F, 0, 0, 3.25F});
  expect(fleet.neurons(1, 12), {3.25F, 3.25F, 3.25F, 3.25F, 3.25F, 0, 0, 0, 0, 0, 3.25F});
  BOOST_TEST(!fleet.options().local.scale_kept_units);  // in a model of that size nothing is missing
  expect_plain_objective(fleet.options());
}

BOOST_AUTO_TEST_CASE(fedavg_drop_leaves_out_who_cannot_hold_the_full_model) {
  Fleet fleet("fedavg-drop", {kFull, kHalfWidth});
  expect_plan(fleet, {kFull, kNothing});
  expect(fleet.heads(1), Values(5, 1));
  expect_plain_objective(fleet.options());
}

BOOST_AUTO_TEST_CASE(heterofl_keeps_the_first_units_of_every_block_and_counts_clients_alike) {
  Fleet fleet("heterofl", {kFull, kHalfWidth});
  expect_plan(fleet, {kFull, kHalfWidth});
  for (const int round : {0, 1, 30}) {
    expect(fleet.heads(1, round), {2.5F, 2.5F, 1, 1, 2.5F});
    expect(fleet.neurons(0, round), {2.5F, 2.5F, 2.5F, 2.5F, 2.5F, 1, 1, 1, 1, 1, 2.5F});
  }
  BOOST_TEST(fleet.options().local.scale_kept_units);
  BOOST_TEST(fleet.options().local.objective.masked_logits);
  expect_plain_objective(fleet.options());
}

BOOST_AUTO_TEST_CASE(fedrolex_moves_its_window_by_one_unit_a_round) {
  Fleet fleet("fedrolex", {kFull, kHalfWidth});
  expect_plan(fleet, {kFull, kHalfWidth});
  // {(j - t) mod 4 : j = 0, 1} for t = 0, 1, 2
  expect(fleet.heads(0, 0), {2.5F, 2.5F, 1, 1, 2.5F});
  expect(fleet.heads(0, 1), {2.5F, 1, 1, 2.5F, 2.5F});
  expect(fleet.heads(0, 2), {1, 1, 2.5F, 2.5F, 2.5F});
  expect(fleet.neurons(1, 3), {2.5F, 2.5F, 1, 1, 1, 1, 1, 2.5F, 2.5F, 2.5F, 2.5F});
  BOOST_TEST(fleet.options().local.scale_kept_units);
  BOOST_TEST(fleet.options().local.objective.masked_logits);
  expect_plain_objective(fleet.options());
}

BOOST_AUTO_TEST_CASE(federated_dropout_draws_units_anew_each_round_for_each_client) {
  Fleet fleet("federated-dropout", {kFull, kHalfWidth, kHalfWidth});
  expect_plan(fleet, {kFull, kHalfWidth, kHalfWidth});
  const SegmentId part = fleet.table().feed_forward(0);
  int changed = 0, differ = 0;
  Kept before;
  for (int round = 0; round < 20; ++round) {
    const Kept one = fleet.units(1, round, part), other = fleet.units(2, round, part);
    BOOST_TEST(one.size() == 5U);
    changed += one != before ? 1 : 0;
    differ += one != other ? 1 : 0;
    before = one;
  }
  // 252 subsets: two draws agree once in 252
  BOOST_TEST(changed >= 18);
  BOOST_TEST(differ >= 18);

  Fleet two("federated-dropout", {kFull, kHalfWidth});
  const Kept drawn = two.units(1, 0, two.table().attention(1));
  Values expected(5, 1);
  for (const std::int32_t unit : drawn) expected[static_cast<std::size_t>(unit)] = 3.25F;
  expected[4] = 3.25F;
  expect(two.heads(1, 0), expected);
  BOOST_TEST(two.options().local.scale_kept_units);
  expect_plain_objective(two.options());
}

BOOST_AUTO_TEST_CASE(fjord_averages_nested_widths_by_samples) {
  Fleet fleet("fjord", {kFull, kHalfWidth});
  expect_plan(fleet, {kFull, kHalfWidth});
  // The published rule: all of A_p for the inner block, then only those of larger p for what is outside of
  // it.
  expect(fleet.heads(0), {3.25F, 3.25F, 1, 1, 3.25F});
  expect(fleet.neurons(0), {3.25F, 3.25F, 3.25F, 3.25F, 3.25F, 1, 1, 1, 1, 1, 3.25F});
  const LocalTrainingOptions& local = fleet.options().local;
  BOOST_TEST(!local.scale_kept_units);
  BOOST_TEST((local.ordered_dropout == 5 && !local.ordered_dropout_distillation));
  expect_plain_objective(fleet.options());
  // 1/5 and 2/5 of 4 heads and 10 neurons, then the client's own
  const std::vector<Assignment> ladder =
      dropout_ladder(fleet.table().options(), kHalfWidth, local.ordered_dropout);
  BOOST_TEST((ladder == std::vector<Assignment>{{2, 0, 1, 2}, {2, 0, 2, 4}, kHalfWidth}));
  BOOST_TEST(Fleet("fjord", {kFull}, "ordered-dropout-distillation = true\n")
                 .options()
                 .local.ordered_dropout_distillation);
}

BOOST_AUTO_TEST_CASE(scalefl_shrinks_depth_and_width_and_lets_the_deepest_exit_teach) {
  Fleet fleet("scalefl", {kFull, kHalfBoth});
  expect_plan(fleet, {kFull, kHalfBoth});
  expect(fleet.heads(0), {2.5F, 2.5F, 1, 1, 2.5F});
  expect(fleet.heads(1), Values(5, 1));
  expect(fleet.neurons(0), {2.5F, 2.5F, 2.5F, 2.5F, 2.5F, 1, 1, 1, 1, 1, 2.5F});
  const ObjectiveOptions& o = fleet.options().local.objective;
  BOOST_TEST((o.exit_loss == ExitLossKind::rising && o.distillation == DistillationKind::deepest));
  BOOST_TEST((o.distillation_temperature == 3 && o.logit_adjustment == 0 && !o.masked_logits));
  BOOST_TEST(distillation_weight(o, 0.24) == 0);
  BOOST_TEST(distillation_weight(o, 0.25) == 0.05);
  BOOST_TEST(distillation_weight(o, 1) == 0.05);
  BOOST_TEST(fleet.options().local.scale_kept_units);
}

BOOST_AUTO_TEST_CASE(ra_fed_lets_clients_together_train_every_unit_in_every_round) {
  Fleet fleet("ra-fed", {kHalfWidth, kHalfWidth});
  expect_plan(fleet, {kHalfWidth, kHalfWidth});
  Kept before;
  int changed = 0;
  for (int round = 0; round < 20; ++round) {
    for (const int block : {0, 1}) {
      Values expected(5, 1);  // half of the units from each
      for (const std::int32_t unit : fleet.units(1, round, fleet.table().attention(block)))
        expected[static_cast<std::size_t>(unit)] = 4;
      expected[4] = 2.5F;
      BOOST_TEST(std::count(expected.begin(), expected.end(), 4.0F) == 2);
      expect(fleet.heads(block, round), expected);
    }
    const Kept neurons = fleet.units(0, round, fleet.table().feed_forward(1));
    changed += neurons != before ? 1 : 0;
    before = neurons;
  }
  BOOST_TEST(changed >= 18);  // drawn anew each round
  expect_plain_objective(fleet.options());
}

BOOST_AUTO_TEST_CASE(depthfl_drops_deep_blocks_and_keeps_every_unit) {
  Fleet fleet("depthfl", {kFull, kHalfDepth});
  expect_plan(fleet, {kFull, kHalfDepth});
  expect(fleet.heads(0), Values(5, 2.5F));
  expect(fleet.heads(1), Values(5, 1));
}
