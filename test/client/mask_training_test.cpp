// Scores of units, on losses whose best units are known; and the memory of a mask phase.
#include "mask_training.hpp"

#include <torch/torch.h>

#include <boost/test/unit_test.hpp>
#include <cmath>

#include "cos2p/model/tensor_memory.hpp"
#include "cos2p/plan/submodel_plan.hpp"
#include "model/vit_fixture.hpp"

using namespace cos2p;
using namespace cos2p::test;

namespace {

// What each unit of the only block is worth: the loss falls by `worth` for each open gate.
const std::vector<float> kHeadWorth{-1, 2, 0.5F, -3};
const std::vector<float> kNeuronWorth{1, -1, 2, -2, 3, -3, 4, -4, 5, -5, 6, -6, 7, -7, 8, -8, 9, -9};

torch::Tensor worth_loss(const VitGates& gates) {
  return -(gates.heads.at(0) * torch::tensor(kHeadWorth)).sum() -
         (gates.neurons.at(0) * torch::tensor(kNeuronWorth)).sum();
}

UnitScores flat_prior(double value) {
  return {{std::vector<double>(4, value)}, {std::vector<double>(18, value)}};
}

VitShape one_block(const SegmentTable& table, bool scaled) {
  VitShape shape = VitShape::full(table.options());
  shape.frozen_blocks = shape.kept_blocks;
  shape.scale_kept_units = scaled;
  return shape;
}

std::vector<BlockWidth> kept_alike(const Vit& vit, int heads, int neurons) {
  return std::vector<BlockWidth>(static_cast<std::size_t>(vit.shape().kept_blocks), {heads, neurons});
}

UnitScores scores(WidthRule rule, int steps, std::uint64_t seed = 1, bool scaled = false) {
  const SegmentTable table(small_model(1));
  const Vit vit(table, one_block(table, scaled), torch::kCPU);
  Rng noise(seed);
  return train_scores(vit, {rule, steps, kept_alike(vit, 2, 9)}, flat_prior(0.5), worth_loss, noise);
}

}  // namespace

BOOST_AUTO_TEST_CASE(taylor_sums_the_size_of_first_order_effects) {
  const UnitScores result = scores(WidthRule::taylor, 3);
  // |d loss / d gate| = |worth|, three batches
  BOOST_TEST(result.heads.at(0) == (std::vector<double>{3, 6, 1.5, 9}), boost::test_tools::per_element());
  BOOST_TEST((top_units(result.heads.at(0), 2) == UnitSet(4, {1, 3})));
  BOOST_TEST(result.neurons.at(0).at(17) == 27.0);
}

BOOST_AUTO_TEST_CASE(straight_through_scores_move_with_the_worth_of_closed_units_too) {
  // Adam with a constant gradient moves a score by 0.1 a step: 10 steps, one to each side of the prior.
  const UnitScores result = scores(WidthRule::straight_through, 10);
  for (std::size_t unit = 0; unit < 4; ++unit) {
    BOOST_TEST(result.heads.at(0)[unit] == (kHeadWorth[unit] > 0 ? 1.5 : -0.5),
               boost::test_tools::tolerance(1e-3));
  }
  BOOST_TEST((top_units(result.heads.at(0), 2) == UnitSet(4, {1, 2})));
  BOOST_TEST((top_units(result.neurons.at(0), 9) == UnitSet(18, {0, 2, 4, 6, 8, 10, 12, 14, 16})));
}

BOOST_AUTO_TEST_CASE(a_straight_through_mask_opens_exactly_the_kept_units) {
  const SegmentTable table(small_model(1));
  const UnitScores prior{{{0.1, 0.9, 0.3, 0.8}}, {std::vector<double>(18, 0.5)}};
  for (const bool scaled : {false, true}) {
    const Vit vit(table, one_block(table, scaled), torch::kCPU);
    Rng noise(1);
    const auto loss = [&](const VitGates& gates) {
      const float open = scaled ? 2.0F : 1.0F;  // 4 candidates for 2
      BOOST_TEST(torch::allclose(gates.heads.at(0), torch::tensor({0.0F, open, 0.0F, open})));
      BOOST_TEST(torch::allclose(gates.neurons.at(0).sum(), torch::tensor(9 * open)));
      return gates.heads.at(0).sum();
    };
    train_scores(vit, {WidthRule::straight_through, 1, kept_alike(vit, 2, 9)}, prior, loss, noise);
  }
}

BOOST_AUTO_TEST_CASE(hard_concrete_gates_open_for_units_of_worth_and_repeat_with_the_seed) {
  const UnitScores result = scores(WidthRule::hard_concrete, 60, 5);
  BOOST_TEST((top_units(result.heads.at(0), 2) == UnitSet(4, {1, 2})));
  BOOST_TEST((top_units(result.neurons.at(0), 9) == UnitSet(18, {0, 2, 4, 6, 8, 10, 12, 14, 16})));
  const UnitScores again = scores(WidthRule::hard_concrete, 60, 5),
                   other = scores(WidthRule::hard_concrete, 60, 6);
  BOOST_TEST((again.neurons == result.neurons));
  BOOST_TEST((other.neurons != result.neurons));
}

BOOST_AUTO_TEST_CASE(a_mask_phase_leaves_the_weights_alone_and_no_gradients) {
  const SegmentTable table(small_model(2));
  VitShape shape = VitShape::full(table.options());
  shape.frozen_blocks = 2;
  const Vit vit(table, shape, torch::kCPU);
  randomize(vit, 3);
  std::vector<torch::Tensor> before;
  for (const SegmentId id : vit.segments()) before.push_back(vit.flat(id).clone());
  const UnitScores prior{{{1, 1, 1, 1}, {1, 1, 1, 1}},
                         {std::vector<double>(18, 1), std::vector<double>(18, 1)}};
  Rng noise(1);
  const auto images = images_for(table.options(), 4);
  const UnitScores result = train_scores(
      vit, {WidthRule::straight_through, 3, kept_alike(vit, 2, 6)}, prior,
      [&](const VitGates& gates) { return vit.forward(images, true, &gates).back().square().sum(); }, noise);
  BOOST_TEST(result.heads.size() == 2U);
  for (std::size_t i = 0; i < before.size(); ++i)
    BOOST_TEST(torch::equal(before[i], vit.flat(vit.segments()[i])));
  for (const std::vector<double>& block : result.neurons) {
    BOOST_TEST((block != std::vector<double>(18, 1)));  // every block's units, the first ones too, were rated
  }
  BOOST_TEST(vit.parameters().empty());
}

BOOST_AUTO_TEST_CASE(a_mask_phase_needs_no_more_memory_than_training) {
  tensor_memory::install();
  struct Case {
    const char* name;
    const char* preset;
    Assignment assignment;
    TrainingShape training;
  };
  const Case cases[] = {
      {"micro, a quarter of the width", "micro", {6, 0, 1, 32}, {32, OptimizerKind::sgd, true}},
      {"micro, half of the width, shallow, frozen", "micro", {4, 2, 2, 64}, {64, OptimizerKind::sgd, false}},
      {"tiny, a third of the width, weights dominate",
       "tiny",
       {6, 0, 1, 256},
       {4, OptimizerKind::adamw, true}},
      {"tiny, narrow and deep", "tiny", {6, 0, 1, 64}, {16, OptimizerKind::sgd, true}},
  };
  for (const Case& c : cases) {
    ModelOptions options = model_preset(c.preset);
    options.validate();
    const SegmentTable table(options);
    const MaskPhase phase = plan_mask_phase(table, c.assignment, c.training);
    BOOST_TEST_REQUIRE(phase.batch_size >= c.training.batch_size / 4, c.name);
    BOOST_TEST(phase.heads + phase.neurons > c.assignment.heads + c.assignment.neurons, c.name);
    const std::int64_t before = tensor_memory::current();
    tensor_memory::reset_peak();
    {
      VitShape shape;
      shape.kept_blocks = shape.frozen_blocks = c.assignment.kept_blocks;
      shape.heads.assign(static_cast<std::size_t>(shape.kept_blocks),
                         prefix_units(options.heads, phase.heads));
      shape.neurons.assign(static_cast<std::size_t>(shape.kept_blocks),
                           prefix_units(options.feed_forward, phase.neurons));
      const Vit vit(table, shape, torch::kCPU);
      randomize(vit, 1);
      UnitScores prior;
      prior.heads.assign(shape.heads.size(), std::vector<double>(static_cast<std::size_t>(phase.heads), 1.0));
      prior.neurons.assign(shape.heads.size(),
                           std::vector<double>(static_cast<std::size_t>(phase.neurons), 1.0));
      Rng noise(1);
      const auto loss = [&](const VitGates& gates) {
        const torch::Tensor images = images_for(options, phase.batch_size);
        torch::Tensor sum = torch::zeros({});
        for (const torch::Tensor& logits : vit.forward(images, true, &gates)) {
          sum = sum +
                torch::nn::functional::cross_entropy(logits, torch::zeros({phase.batch_size}, torch::kInt64));
        }
        return sum;
      };
      train_scores(
          vit, {WidthRule::straight_through, 2, kept_alike(vit, c.assignment.heads, c.assignment.neurons)},
          prior, loss, noise);
    }
    const auto measured = static_cast<double>(tensor_memory::peak() - before);
    const auto limit = static_cast<double>(estimate_cost(table, c.assignment, c.training).memory.total());
    BOOST_TEST_MESSAGE(c.name << ": " << phase.heads << " heads and " << phase.neurons << " neurons, batch "
                              << phase.batch_size << ", measured " << measured / 1024 << " KiB, predicted "
                              << static_cast<double>(phase.memory) / 1024 << ", training " << limit / 1024);
    TrainingShape packed = c.training;  // what rounding took from updates is there in both
    packed.push_dtype = ValueType::int8;
    const PlanCost with_packing = estimate_cost(table, c.assignment, packed);
    const MaskPhase beside = plan_mask_phase(table, c.assignment, packed);
    BOOST_TEST(beside.memory <= with_packing.memory.total());
    BOOST_TEST(beside.memory - phase.memory ==
               with_packing.memory.weights - estimate_cost(table, c.assignment, c.training).memory.weights);
    BOOST_TEST(measured <= limit, c.name << ": " << measured << " bytes, training is allowed " << limit);
    const double ratio = static_cast<double>(phase.memory) / measured;
    BOOST_TEST(ratio > 0.8, c.name << ": " << ratio);
    BOOST_TEST(ratio < 1.2, c.name << ": " << ratio);
  }
}

BOOST_AUTO_TEST_CASE(nothing_to_choose_is_no_mask_phase) {
  ModelOptions options = model_preset("micro");
  options.validate();
  const SegmentTable table(options);
  BOOST_TEST(plan_mask_phase(table, full_assignment(options), {}).batch_size == 0);
  BOOST_TEST(plan_mask_phase(table, {2, 0, 4, 128}, {}).batch_size == 0);
}
