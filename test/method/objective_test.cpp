// A client's loss and its gradient against numbers from PyTorch (golden/make_objective.py).
#include "cos2p/method/objective.hpp"

#include <torch/torch.h>

#include <boost/test/unit_test.hpp>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

using namespace cos2p;

namespace {

constexpr double kTolerance = 1e-6;

nlohmann::json golden() {
  std::ifstream file(std::string(COS2P_SOURCE_DIR) + "/test/method/golden/objective.json");
  BOOST_REQUIRE_MESSAGE(file.good(), "objective.json cannot be read");
  return nlohmann::json::parse(file);
}

// The same formula as in make_objective.py.
std::vector<torch::Tensor> make_logits(const nlohmann::json& g) {
  const std::int64_t batch = static_cast<std::int64_t>(g["labels"].size());
  const torch::Tensor b = torch::arange(batch, torch::kFloat64).view({-1, 1}),
                      k = torch::arange(g["classes"].get<std::int64_t>(), torch::kFloat64);
  std::vector<torch::Tensor> logits;
  for (int j = 0; j < g["exits"].get<int>(); ++j)
    logits.push_back((1.5 * torch::sin(1.7 * j + 0.9 * b + 2.3 * k + 0.1 * b * k)).set_requires_grad(true));
  return logits;
}

template <typename Kind>
Kind kind_of(const std::string& name, std::initializer_list<Kind> all) {
  for (const Kind kind : all) {
    if (to_string(kind) == name) return kind;
  }
  BOOST_FAIL("unknown kind " << name);
  return *all.begin();
}

ObjectiveOptions options_of(const nlohmann::json& one) {
  ObjectiveOptions options;
  options.exit_loss = kind_of(
      one["exit_loss"], {ExitLossKind::all, ExitLossKind::sum, ExitLossKind::deepest, ExitLossKind::rising});
  options.distillation = kind_of(
      one["distillation"], {DistillationKind::none, DistillationKind::deepest, DistillationKind::mutual});
  options.distillation_temperature = one["temperature"];
  options.masked_logits = one.value("masked_logits", false);
  options.logit_adjustment = one.value("logit_adjustment", 0.0);
  return options;
}

void compare_gradients(const std::vector<torch::Tensor>& logits, const nlohmann::json& expected) {
  for (std::size_t j = 0; j < logits.size(); ++j) {
    const torch::Tensor gradient =
        logits[j].grad().defined() ? logits[j].grad() : torch::zeros_like(logits[j]);
    const auto rows = expected[j].get<std::vector<std::vector<double>>>();
    for (std::size_t b = 0; b < rows.size(); ++b) {
      for (std::size_t k = 0; k < rows[b].size(); ++k) {
        const double got =
            gradient[static_cast<std::int64_t>(b)][static_cast<std::int64_t>(k)].item<double>();
        BOOST_TEST(std::abs(got - rows[b][k]) < kTolerance,
                   "exit " << j << ": " << got << " != " << rows[b][k]);
      }
    }
  }
}

}  // namespace

BOOST_AUTO_TEST_SUITE(objectives)

BOOST_AUTO_TEST_CASE(losses_and_gradients_equal_the_reference) {
  const nlohmann::json g = golden();
  const auto labels = torch::tensor(g["labels"].get<std::vector<std::int64_t>>());
  BOOST_REQUIRE(g["cases"].size() == 48U);
  for (const auto& one : g["cases"]) {
    const ObjectiveOptions options = options_of(one);
    BOOST_TEST_CONTEXT(one["exit_loss"] << ", " << one["distillation"] << ", T " << one["temperature"]
                                        << ", masked " << options.masked_logits << ", adjusted "
                                        << options.logit_adjustment) {
      const std::vector<torch::Tensor> logits = make_logits(g);
      ClassView view = class_view(options, g["counts"].get<std::vector<std::int64_t>>(), torch::kCPU);
      const Objective result = objective(logits, labels, view, options, one["weight"]);
      BOOST_TEST(result.loss.item<double>() == one["loss"].get<double>(),
                 boost::test_tools::tolerance(kTolerance));
      result.loss.backward();
      compare_gradients(logits, one["gradients"]);
    }
  }
}

BOOST_AUTO_TEST_CASE(a_part_learns_from_the_whole_and_not_the_other_way) {
  const nlohmann::json g = golden();
  const std::vector<torch::Tensor> whole = make_logits(g);
  std::vector<torch::Tensor> part;
  for (const torch::Tensor& z : make_logits(g))
    part.push_back((0.5 * z + 0.3).detach().set_requires_grad(true));
  const torch::Tensor loss = imitation_loss(part, whole, {});
  BOOST_TEST(loss.item<double>() == g["imitation"]["loss"].get<double>(),
             boost::test_tools::tolerance(kTolerance));
  loss.backward();
  compare_gradients(part, g["imitation"]["gradients"]);
  for (const torch::Tensor& z : whole) BOOST_TEST(!z.grad().defined());
}

BOOST_AUTO_TEST_CASE(shallow_features_are_drawn_to_those_of_the_deepest_exit) {
  // Written out: the variance of each row is 1, 4 and 9, so that normalised rows are +-1.
  const auto shallow = torch::tensor({{1.0, -1.0}, {2.0, -2.0}}).set_requires_grad(true);
  const auto middle = torch::tensor({{-3.0, 3.0}, {5.0, -1.0}}).set_requires_grad(true);
  const auto deepest = torch::tensor({{4.0, 0.0}, {-1.0, 1.0}}).set_requires_grad(true);
  ObjectiveOptions options;
  // Differences are 0 or 2: of the shallow exit in its second row, of the middle one in both.
  options.exit_loss = ExitLossKind::sum;
  const torch::Tensor sum = feature_hint({shallow, middle, deepest}, options);
  BOOST_TEST(sum.item<double>() == 2.0 + 4.0, boost::test_tools::tolerance(1e-5));
  options.exit_loss = ExitLossKind::deepest;  // students are alike
  BOOST_TEST(feature_hint({shallow, middle, deepest}, options).item<double>() == 6.0 / 3,
             boost::test_tools::tolerance(1e-5));
  BOOST_TEST(feature_hint({deepest}, options).item<double>() == 0.0);
  sum.backward();
  BOOST_TEST(!deepest.grad().defined());
  BOOST_TEST(shallow.grad().defined());

  // The gradient against differences, where normalisation is not saturated.
  const auto target = torch::tensor({{0.3, -1.2, 0.5, 2.0}}, torch::kFloat64);
  auto student = torch::tensor({{1.0, 0.2, -0.7, 0.4}}, torch::kFloat64).set_requires_grad(true);
  options.exit_loss = ExitLossKind::sum;
  feature_hint({student, target}, options).backward();
  for (int i = 0; i < 4; ++i) {
    constexpr double kStep = 1e-5;
    const auto at = [&](double by) {
      torch::Tensor moved = student.detach().clone();
      moved[0][i] += by;
      return feature_hint({moved, target}, options).item<double>();
    };
    BOOST_TEST(student.grad()[0][i].item<double>() == (at(kStep) - at(-kStep)) / (2 * kStep),
               boost::test_tools::tolerance(1e-6));
  }
}

BOOST_AUTO_TEST_CASE(one_exit_has_nobody_to_learn_from) {
  const torch::Tensor logits = torch::tensor({{1.0, 2.0}}), labels = torch::tensor({0}, torch::kInt64);
  ObjectiveOptions options;
  options.logit_adjustment = 0;
  for (const auto kind : {DistillationKind::deepest, DistillationKind::mutual}) {
    options.distillation = kind;
    const Objective result = objective({logits}, labels, {}, options, 5);
    BOOST_TEST(result.loss.item<double>() == std::log(1 + std::exp(1.0)), boost::test_tools::tolerance(1e-6));
    BOOST_TEST(result.deepest.item<double>() == result.loss.item<double>());
  }
}

BOOST_AUTO_TEST_CASE(distillation_begins_late_and_rises) {
  ObjectiveOptions options;
  options.distillation = DistillationKind::mutual;
  options.distillation_weight = 2;
  options.distillation_start = 0.2;
  options.distillation_ramp = 0.4;
  BOOST_TEST(distillation_weight(options, 0.19) == 0);
  BOOST_TEST(distillation_weight(options, 0.2) == 2 * std::exp(-5.0), boost::test_tools::tolerance(1e-12));
  BOOST_TEST(distillation_weight(options, 0.4) == 2 * std::exp(-1.25), boost::test_tools::tolerance(1e-12));
  BOOST_TEST(distillation_weight(options, 0.6) == 2);
  BOOST_TEST(distillation_weight(options, 1) == 2);
  options.distillation_ramp = 0;
  BOOST_TEST(distillation_weight(options, 0.2) == 2);
  options.distillation = DistillationKind::none;
  BOOST_TEST(distillation_weight(options, 1) == 0);
}

BOOST_AUTO_TEST_CASE(a_client_with_all_classes_masks_nothing) {
  ObjectiveOptions options;
  options.masked_logits = true;
  BOOST_TEST(!class_view(options, {1, 2, 3}, torch::kCPU).absent.defined());
  const ClassView view = class_view(options, {1, 0, 3}, torch::kCPU);
  BOOST_TEST(view.absent.sum().item<std::int64_t>() == 1);
  BOOST_TEST(!view.adjustment.defined());
}

BOOST_AUTO_TEST_SUITE_END()
