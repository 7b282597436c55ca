// What docs/method.md ("Theory in numbers") takes as known of the problem: its gradient, L, and the noise.
#include "convergence/problem.hpp"

#include <algorithm>
#include <boost/test/unit_test.hpp>

using namespace cos2p;
using namespace cos2p::convergence;

namespace {

constexpr std::int64_t kDimension = 64;
constexpr int kKinds = 3;
constexpr double kDeviation = 0.75;

struct Fixture {
  Problem problem{kDimension, kKinds, 0.5, kDeviation, 11};
  Rng rng{5};

  std::vector<double> point(double deviation) {
    std::vector<double> x(static_cast<std::size_t>(kDimension));
    for (double& value : x) value = deviation * rng.normal();
    return x;
  }
  static std::vector<double> moved(const std::vector<double>& x, const std::vector<double>& by, double step) {
    std::vector<double> result = x;
    for (std::size_t i = 0; i < x.size(); ++i) result[i] += step * by[i];
    return result;
  }
};

double distance(const std::vector<double>& a, const std::vector<double>& b) {
  return std::sqrt(squared_norm(Fixture::moved(a, b, -1)));
}

}  // namespace

BOOST_FIXTURE_TEST_SUITE(convergence_problem, Fixture)

BOOST_AUTO_TEST_CASE(the_gradient_is_what_finite_differences_say) {
  const double step = 1e-5;
  for (int trial = 0; trial < 20; ++trial) {
    const std::vector<double> x = point(1.5);
    const std::vector<double> mean = problem.gradient(x);
    for (std::size_t i = 0; i < x.size(); i += 7) {
      std::vector<double> axis(x.size(), 0);
      axis[i] = 1;
      for (int k = 0; k < kKinds; ++k) {
        const double slope =
            (problem.value(k, moved(x, axis, step)) - problem.value(k, moved(x, axis, -step))) / (2 * step);
        BOOST_TEST(std::abs(problem.gradient(k, x)[i] - slope) < 1e-7);
      }
      const double slope =
          (problem.value(moved(x, axis, step)) - problem.value(moved(x, axis, -step))) / (2 * step);
      BOOST_TEST(std::abs(mean[i] - slope) < 1e-7);
    }
  }
}

BOOST_AUTO_TEST_CASE(gradients_never_differ_by_more_than_L_times_the_distance) {
  for (int trial = 0; trial < 2000; ++trial) {
    // Near pairs see single curvatures, far ones their means.
    const std::vector<double> x = point(1.5), y = moved(x, point(1), std::pow(10.0, -4 + 5 * rng.uniform()));
    const double limit = Problem::kSmoothness * distance(x, y) * (1 + 1e-6);
    for (int k = 0; k < kKinds; ++k)
      BOOST_REQUIRE(distance(problem.gradient(k, x), problem.gradient(k, y)) <= limit);
    BOOST_REQUIRE(distance(problem.gradient(x), problem.gradient(y)) <= limit);
  }
}

BOOST_AUTO_TEST_CASE(at_a_minimiser_of_one_kind_L_is_attained) {
  // Newton's step from any point where all residuals are small leads there: with phi'' = 2 it is gradient
  // / 2.
  std::vector<double> x(static_cast<std::size_t>(kDimension), 0);
  for (int step = 0; step < 2000; ++step) x = moved(x, problem.gradient(0, x), -0.4);
  BOOST_REQUIRE(problem.value(0, x) < 1e-12);
  const std::vector<double> y = moved(x, point(1), 1e-4);
  const double ratio = distance(problem.gradient(0, x), problem.gradient(0, y)) / distance(x, y);
  BOOST_TEST(ratio == Problem::kSmoothness, boost::test_tools::tolerance(1e-4));
}

BOOST_AUTO_TEST_CASE(it_is_not_convex) {
  // Along the way from the start to a minimiser of a kind, the middle lies above the mean of the ends.
  std::vector<double> minimiser(static_cast<std::size_t>(kDimension), 0);
  for (int step = 0; step < 2000; ++step) minimiser = moved(minimiser, problem.gradient(0, minimiser), -0.4);
  const std::vector<double> far = moved(minimiser, point(1), 3);
  const std::vector<double> middle = moved(minimiser, moved(far, minimiser, -1), 0.5);
  BOOST_TEST(problem.value(0, middle) > (problem.value(0, minimiser) + problem.value(0, far)) / 2);
}

BOOST_AUTO_TEST_CASE(kinds_differ_and_seeds_differ) {
  const std::vector<double> x = point(1);
  BOOST_TEST(distance(problem.gradient(0, x), problem.gradient(1, x)) > 0.1);
  const Problem other(kDimension, kKinds, 0.5, kDeviation, 12);
  BOOST_TEST(distance(problem.gradient(x), other.gradient(x)) > 0.1);
  const Problem same(kDimension, kKinds, 0.5, kDeviation, 11);
  BOOST_TEST(distance(problem.gradient(x), same.gradient(x)) == 0);
}

BOOST_AUTO_TEST_CASE(the_noise_has_no_mean_and_the_variance_that_is_said) {
  const std::vector<double> x = point(1);
  const std::vector<double> exact = problem.gradient(1, x);
  const int draws = 20000;
  std::vector<double> sum(x.size(), 0);
  for (int draw = 0; draw < draws; ++draw) {
    const std::vector<double> noise = moved(problem.stochastic_gradient(1, x, rng), exact, -1);
    BOOST_REQUIRE(std::abs(squared_norm(noise) - problem.noise_variance()) < 1e-9);
    sum = moved(sum, noise, 1);
  }
  for (const double s : sum) BOOST_TEST(std::abs(s / draws) < 5 * kDeviation / std::sqrt(draws));
}

BOOST_AUTO_TEST_SUITE_END()
