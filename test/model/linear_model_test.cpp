// The gradient that is written out equals that of autograd.
#include "cos2p/model/linear_model.hpp"

#include <torch/torch.h>

#include <boost/test/unit_test.hpp>
#include <cmath>

#include "cos2p/method/objective.hpp"

using namespace cos2p;
using torch::Tensor;

namespace {

struct Case {
  std::int64_t count, values;
  int classes;
  ObjectiveOptions options;
};

ObjectiveOptions plain() {
  ObjectiveOptions options;
  options.logit_adjustment = 0;
  return options;
}

double distance(const Tensor& ours, const Tensor& theirs) {
  return ((ours - theirs).norm() / theirs.norm()).item<double>();
}

void compare(const Case& c) {
  BOOST_TEST_CONTEXT(c.count << " images of " << c.values << " values, " << c.classes << " classes, masked "
                             << c.options.masked_logits << ", adjusted " << c.options.logit_adjustment) {
    torch::manual_seed(c.count + 100 * c.values + c.classes);
    const Tensor input = torch::randn({c.count, c.values});
    const Tensor labels = torch::randint(0, c.classes, {c.count}, torch::kInt64);
    // With a class that nobody has, and one that is rare.
    std::vector<std::int64_t> counts(static_cast<std::size_t>(c.classes), 7);
    const std::int64_t own = labels[0].item<std::int64_t>();
    for (std::int64_t k = 0; k < c.classes; ++k) {
      if (!labels.eq(k).any().item<bool>()) counts[static_cast<std::size_t>(k)] = 0;
    }
    counts[static_cast<std::size_t>(own)] = 1;
    const ClassView view = class_view(c.options, counts, torch::kCPU);
    // Logits of about 1: where they are large, both sides round them by more than a small loss shows.
    const Tensor model =
        torch::randn({(c.values + 1) * c.classes}) / std::sqrt(static_cast<double>(c.values));

    const Tensor weight = model.narrow(0, 0, c.values * c.classes).view({c.classes, c.values}).clone();
    const Tensor bias = model.narrow(0, c.values * c.classes, c.classes).clone();
    weight.set_requires_grad(true);
    bias.set_requires_grad(true);
    const Tensor logits = torch::nn::functional::linear(input, weight, bias);
    const Objective theirs = objective({logits}, labels, view, c.options, 0);
    theirs.loss.backward();
    const Tensor expected = torch::cat({weight.grad().flatten(), bias.grad()});

    Tensor gradient = torch::full_like(model, 1e9), room = torch::full({c.count * c.classes}, 1e9);
    LinearBatch batch;
    batch.input = input.data_ptr<float>();
    batch.labels = labels.data_ptr<std::int64_t>();
    batch.count = c.count;
    batch.values = c.values;
    batch.classes = c.classes;
    if (view.adjustment.defined()) batch.adjustment = view.adjustment.data_ptr<float>();
    if (view.absent.defined()) batch.absent = view.absent.data_ptr<bool>();
    const LinearLoss ours =
        linear_gradient(batch, model.data_ptr<float>(), room.data_ptr<float>(), gradient.data_ptr<float>());
    BOOST_TEST(ours.cross_entropy == theirs.loss.item<double>(), boost::test_tools::tolerance(1e-5));
    BOOST_TEST(ours.correct == logits.argmax(1).eq(labels).sum().item<std::int64_t>());
    BOOST_TEST(distance(gradient, expected) < 1e-5);
  }
}

}  // namespace

BOOST_AUTO_TEST_CASE(gradient_equals_autograd) {
  for (const std::int64_t count : {1, 2, 3, 10, 33}) {
    for (const std::int64_t values : {1, 7, 8, 25, 784, 3 * 32 * 32}) {
      for (const int classes : {2, 4, 10, 13}) compare({count, values, classes, plain()});
    }
  }
}

BOOST_AUTO_TEST_CASE(class_terms_enter_as_in_the_objective) {
  ObjectiveOptions masked = plain(), adjusted = plain();
  masked.masked_logits = true;
  adjusted.logit_adjustment = 1.5;
  for (const std::int64_t count : {2, 10}) {
    compare({count, 784, 10, masked});
    compare({count, 784, 10, adjusted});
  }
}

BOOST_AUTO_TEST_CASE(large_logits_stay_finite) {
  const std::vector<float> input{1000, -1000}, model{1000, -1000, -1000, 1000, 0, 0};
  const std::vector<std::int64_t> labels{1};
  std::vector<float> logits(2), gradient(6);
  LinearBatch batch;
  batch.input = input.data();
  batch.labels = labels.data();
  batch.count = 1;
  batch.values = 2;
  batch.classes = 2;
  const LinearLoss loss = linear_gradient(batch, model.data(), logits.data(), gradient.data());
  BOOST_TEST(loss.cross_entropy == 4e6, boost::test_tools::tolerance(1e-5));
  BOOST_TEST(gradient == (std::vector<float>{1000, -1000, -1000, 1000, 1, -1}),
             boost::test_tools::per_element());
}
