#include <algorithm>
#include <cmath>
#include <numeric>

#include "cos2p/data/batch.hpp"
#include "cos2p/support/hash.hpp"
#include "data/data_test_files.hpp"

using namespace cos2p;
using data_test::check_error;

namespace {

Dataset make(std::int64_t train, std::int64_t test, std::uint64_t seed) {
  DatasetOptions options;
  options.synthetic_train = train;
  options.synthetic_test = test;
  options.seed = seed;
  return load_dataset(options);
}

/// All images and labels of a set as network input.
struct Table {
  explicit Table(const ImageSet& set, const Normalization& normalization)
      : columns(static_cast<std::size_t>(set.image_bytes())),
        values(set.pixels.size()),
        labels(set.labels.begin(), set.labels.end()) {
    std::vector<std::int64_t> all(labels.size());
    std::iota(all.begin(), all.end(), 0);
    BatchMaker(set, normalization, {}).fill(all, nullptr, values);
  }
  std::size_t columns;
  std::vector<float> values;
  std::vector<std::int64_t> labels;
};

/// Multinomial logistic regression on the pixels, by stochastic gradient descent with momentum and weight
/// decay.
class LinearModel {
 public:
  LinearModel(std::size_t inputs, std::size_t classes)
      : inputs_(inputs), classes_(classes), weights_(classes * (inputs + 1)), velocity_(weights_.size()) {}

  std::vector<float> scores(const float* x) const {
    std::vector<float> result(classes_);
    for (std::size_t k = 0; k < classes_; ++k) {
      const float* w = weights_.data() + k * (inputs_ + 1);
      result[k] = std::inner_product(x, x + inputs_, w, w[inputs_]);
    }
    return result;
  }

  void epoch(const Table& table, float rate, float decay, Rng& rng) {
    std::vector<std::size_t> order(table.labels.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    rng.shuffle(order);
    constexpr std::size_t batch = 32;
    for (std::size_t begin = 0; begin + batch <= order.size(); begin += batch) {
      for (std::size_t j = 0; j < weights_.size(); ++j)
        velocity_[j] = 0.9F * velocity_[j] + decay * weights_[j];
      for (std::size_t b = begin; b < begin + batch; ++b) {
        add_gradient(table.values.data() + order[b] * inputs_, table.labels[order[b]], 1.0F / batch);
      }
      for (std::size_t j = 0; j < weights_.size(); ++j) weights_[j] -= rate * velocity_[j];
    }
  }

  double accuracy(const Table& table) const {
    std::size_t right = 0;
    for (std::size_t i = 0; i < table.labels.size(); ++i) {
      const auto s = scores(table.values.data() + i * inputs_);
      right += std::max_element(s.begin(), s.end()) - s.begin() == table.labels[i];
    }
    return static_cast<double>(right) / static_cast<double>(table.labels.size());
  }

 private:
  void add_gradient(const float* x, std::int64_t label, float scale) {
    std::vector<float> p = scores(x);
    const float largest = *std::max_element(p.begin(), p.end());
    float sum = 0;
    for (float& v : p) sum += v = std::exp(v - largest);
    for (std::size_t k = 0; k < classes_; ++k) {
      const float g = scale * (p[k] / sum - (static_cast<std::int64_t>(k) == label ? 1.0F : 0.0F));
      float* v = velocity_.data() + k * (inputs_ + 1);
      for (std::size_t j = 0; j < inputs_; ++j) v[j] += g * x[j];
      v[inputs_] += g;
    }
  }

  std::size_t inputs_, classes_;
  std::vector<float> weights_, velocity_;
};

}  // namespace

BOOST_AUTO_TEST_CASE(the_bytes_are_the_same_on_every_machine) {
  const Dataset data = make(256, 64, 7);
  BOOST_TEST(hash64(data.train.pixels.data(), data.train.pixels.size()) == 298862779628912857ULL);
  BOOST_TEST(hash64(data.test.pixels.data(), data.test.pixels.size()) == 4685760793411355473ULL);
}

BOOST_AUTO_TEST_CASE(an_image_depends_on_seed_part_and_number_alone) {
  const Dataset small = make(40, 40, 1), large = make(400, 80, 1), other = make(40, 40, 2);
  BOOST_TEST(std::equal(small.train.pixels.begin(), small.train.pixels.end(), large.train.pixels.begin()));
  BOOST_TEST(std::equal(small.train.labels.begin(), small.train.labels.end(), large.train.labels.begin()));
  BOOST_TEST((small.train.pixels != small.test.pixels));
  BOOST_TEST((small.train.pixels != other.train.pixels));
  BOOST_TEST((small.train.labels != other.train.labels));
}

BOOST_AUTO_TEST_CASE(its_shape_is_that_of_mnist_and_its_classes_are_balanced) {
  const Dataset data = make(1005, 20, 3);
  BOOST_TEST(data.train.size() == 1005);
  BOOST_TEST(data.train.height == 28);
  BOOST_TEST(data.train.width == 28);
  BOOST_TEST(data.train.channels == 1);
  BOOST_TEST(data.train.classes == 10);
  BOOST_TEST(data.train.files.empty());
  std::vector<int> counts(10);
  for (const std::int32_t label : data.train.labels) ++counts[static_cast<std::size_t>(label)];
  for (const int count : counts) BOOST_TEST((count == 100 || count == 101));
}

BOOST_AUTO_TEST_CASE(a_linear_model_stays_under_seventy_percent) {
  const Dataset data = make(4096, 1024, 0);
  const Normalization normalization = measure_normalization(data.train);
  const Table train(data.train, normalization), test(data.test, normalization);
  for (const float rate : {0.001F, 0.01F}) {
    LinearModel model(train.columns, 10);
    Rng rng(1);
    double best = 0, on_train = 0;
    for (int epoch = 0; epoch < 8; ++epoch) {
      model.epoch(train, rate, 1e-4F, rng);
      best = std::max(best, model.accuracy(test));
    }
    on_train = model.accuracy(train);
    BOOST_TEST_MESSAGE("linear model, rate " << rate << ": test " << best << ", training " << on_train);
    BOOST_TEST(best < 0.7);
    BOOST_TEST(on_train >
               0.15);  // it did learn what it can, by heart: the bound is not that of an idle model
  }
}

BOOST_AUTO_TEST_CASE(impossible_sizes_are_refused) {
  check_error(ExitCode::usage, {"--synthetic-train 0 "}, [] { make(0, 10, 0); });
  check_error(ExitCode::usage, {"--synthetic-test -5 "}, [] { make(10, -5, 0); });
  check_error(ExitCode::usage, {"--synthetic-train 99000000", "10000000"}, [] { make(99000000, 10, 0); });
}
