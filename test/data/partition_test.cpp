#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <numeric>
#include <set>

#include "cos2p/data/partition.hpp"
#include "cos2p/support/random.hpp"
#include "data/data_test_files.hpp"

using namespace cos2p;
using data_test::check_error;

namespace {

std::vector<std::int32_t> random_labels(std::int64_t samples, int classes, std::uint64_t seed) {
  Rng rng(seed, {99});
  std::vector<std::int32_t> labels;
  for (std::int64_t i = 0; i < samples; ++i) {
    labels.push_back(static_cast<std::int32_t>(rng.below(static_cast<std::uint64_t>(classes))));
  }
  return labels;
}

PartitionOptions options_of(PartitionKind kind, std::uint64_t seed, double alpha = 0.5) {
  PartitionOptions options;
  options.kind = kind;
  options.seed = seed;
  options.dirichlet_alpha = alpha;
  return options;
}

/// Disjoint, complete, sorted, and every client has its minimum.
void check_partition(const Partition& partition, std::int64_t samples, int clients, std::int64_t minimum) {
  BOOST_TEST(partition.size() == static_cast<std::size_t>(clients));
  std::vector<int> seen(static_cast<std::size_t>(samples));
  for (const auto& indices : partition) {
    BOOST_TEST(static_cast<std::int64_t>(indices.size()) >= minimum);
    BOOST_TEST(std::is_sorted(indices.begin(), indices.end()));
    for (const std::int64_t i : indices) {
      BOOST_TEST_REQUIRE((i >= 0 && i < samples));
      ++seen[static_cast<std::size_t>(i)];
    }
  }
  BOOST_TEST(std::all_of(seen.begin(), seen.end(), [](int n) { return n == 1; }));
}

std::set<std::int32_t> classes_of(const std::vector<std::int64_t>& indices,
                                  const std::vector<std::int32_t>& labels) {
  std::set<std::int32_t> result;
  for (const std::int64_t i : indices) result.insert(labels[static_cast<std::size_t>(i)]);
  return result;
}

}  // namespace

BOOST_AUTO_TEST_CASE(every_partition_is_disjoint_complete_and_reproducible) {
  for (std::uint64_t seed = 0; seed < 60; ++seed) {
    Rng rng(seed, {7});
    const int classes = 2 + static_cast<int>(rng.below(12));
    const int clients = 1 + static_cast<int>(rng.below(12));
    const std::int64_t samples = 600 + static_cast<std::int64_t>(rng.below(400));
    const auto labels = random_labels(samples, classes, seed);
    for (const PartitionKind kind : {PartitionKind::iid, PartitionKind::dirichlet, PartitionKind::shards}) {
      PartitionOptions options = options_of(kind, seed, 0.02 + 2 * rng.uniform());
      options.minimum_size = 5;
      // Enough places for every class, as the shards need.
      options.classes_per_client =
          std::min(classes, (classes + clients - 1) / clients + static_cast<int>(rng.below(2)));
      const Partition partition = make_partition(labels, classes, clients, options);
      check_partition(partition, samples, clients, 5);
      BOOST_TEST((partition == make_partition(labels, classes, clients, options)));
      options.seed += 1000;
      if (clients > 1) BOOST_TEST((partition != make_partition(labels, classes, clients, options)));
    }
  }
}

BOOST_AUTO_TEST_CASE(iid_sizes_differ_by_one_at_most) {
  const auto labels = random_labels(1003, 10, 1);
  const Partition partition = make_partition(labels, 10, 7, options_of(PartitionKind::iid, 1));
  for (const auto& indices : partition) {
    BOOST_TEST((indices.size() == 143U || indices.size() == 144U));
    BOOST_TEST(classes_of(indices, labels).size() == 10U);
  }
}

BOOST_AUTO_TEST_CASE(alpha_reaches_from_one_class_a_client_to_equal_clients) {
  const auto labels = random_labels(10000, 10, 2);
  for (const double alpha : {1e-300, 1e-6, 1e-3}) {
    PartitionOptions options = options_of(PartitionKind::dirichlet, 3, alpha);
    options.minimum_size = 0;
    const Partition partition = make_partition(labels, 10, 20, options);
    check_partition(partition, 10000, 20, 0);
    // Each class lies with very few clients.
    std::size_t holdings = 0;
    for (const auto& indices : partition) holdings += classes_of(indices, labels).size();
    BOOST_TEST(holdings <= 14U);
  }
  for (const double alpha : {1e5, 1e9}) {
    const Partition partition =
        make_partition(labels, 10, 20, options_of(PartitionKind::dirichlet, 3, alpha));
    for (const auto& indices : partition) BOOST_TEST((indices.size() > 480U && indices.size() < 520U));
  }
}

BOOST_AUTO_TEST_CASE(a_minimum_that_chance_does_not_give_is_repaired) {
  const auto labels = random_labels(1000, 10, 4);
  PartitionOptions options = options_of(PartitionKind::dirichlet, 5, 0.01);
  for (const std::int64_t minimum : {1, 10, 20}) {
    options.minimum_size = minimum;
    check_partition(make_partition(labels, 10, 50, options), 1000, 50, minimum);
  }
  options.minimum_size = 1;
  check_partition(make_partition(labels, 10, 1000, options), 1000, 1000, 1);
}

BOOST_AUTO_TEST_CASE(shards_give_every_client_exactly_its_number_of_classes) {
  const auto labels = random_labels(5000, 10, 6);
  for (const int each : {1, 2, 3, 10}) {
    for (const int clients : {10, 13, 40}) {
      PartitionOptions options = options_of(PartitionKind::shards, 8);
      options.classes_per_client = each;
      const Partition partition = make_partition(labels, 10, clients, options);
      check_partition(partition, 5000, clients, 10);
      for (const auto& indices : partition)
        BOOST_TEST(classes_of(indices, labels).size() == static_cast<std::size_t>(each));
    }
  }
}

BOOST_AUTO_TEST_CASE(shards_of_unequal_classes_are_about_equal) {
  std::vector<std::int32_t> labels;
  for (int i = 0; i < 900; ++i) labels.push_back(0);
  for (int i = 0; i < 300; ++i) labels.push_back(1);
  PartitionOptions options = options_of(PartitionKind::shards, 8);
  options.classes_per_client = 1;
  const Partition partition = make_partition(labels, 3, 4, options);  // class 2 has no samples
  for (const auto& indices : partition) BOOST_TEST(indices.size() == 300U);
}

BOOST_AUTO_TEST_CASE(shards_of_power_law_sizes_keep_classes_and_minimum) {
  for (std::uint64_t seed = 0; seed < 60; ++seed) {
    Rng rng(seed, {8});
    const int classes = 3 + static_cast<int>(rng.below(10)),
              clients = classes + static_cast<int>(rng.below(60));
    const auto labels = random_labels(6000, classes, seed);
    PartitionOptions options = options_of(PartitionKind::shards, seed);
    options.classes_per_client = 1 + static_cast<int>(rng.below(3));
    options.size_exponent = 0.1 + 3 * rng.uniform() * rng.uniform();
    options.minimum_size = static_cast<std::int64_t>(rng.below(12));
    const Partition partition = make_partition(labels, classes, clients, options);
    check_partition(partition, 6000, clients, options.minimum_size);
    for (const auto& indices : partition) {
      BOOST_TEST(classes_of(indices, labels).size() == static_cast<std::size_t>(options.classes_per_client));
    }
    BOOST_TEST((partition == make_partition(labels, classes, clients, options)));
    options.seed += 1000;
    BOOST_TEST((partition != make_partition(labels, classes, clients, options)));
  }
}

BOOST_AUTO_TEST_CASE(sizes_fall_with_the_exponent) {
  const auto labels = random_labels(60000, 10, 1);
  PartitionOptions options = options_of(PartitionKind::shards, 1);
  const auto sizes = [&](double exponent) {
    options.size_exponent = exponent;
    std::vector<double> result;
    for (const auto& indices : make_partition(labels, 10, 1000, options))
      result.push_back(static_cast<double>(indices.size()));
    std::sort(result.begin(), result.end(), std::greater<>());
    return result;
  };
  // Of a Pareto law with exponent a, the r-th largest of n is about (n / r)^(1/a) times the smallest.
  const double shift = 10;  // the minimum that all have
  for (const double exponent : {1.0, 1.5, 3.0}) {
    const std::vector<double> s = sizes(exponent);
    const double slope = std::log((s[19] - shift) / (s[319] - shift)) / std::log(320.0 / 20.0);
    BOOST_TEST(slope == 1 / exponent, boost::test_tools::tolerance(0.25));
  }
  BOOST_TEST(sizes(1)[0] > 2 * sizes(3)[0]);
  BOOST_TEST(sizes(100)[0] < 1.2 * sizes(100)[999]);
}

BOOST_AUTO_TEST_CASE(partitions_that_cannot_be_are_refused_with_the_figures) {
  const auto labels = random_labels(100, 10, 9);
  const auto make = [&](int clients, const PartitionOptions& options) {
    make_partition(labels, 10, clients, options);
  };
  PartitionOptions options = options_of(PartitionKind::iid, 0);
  check_error(ExitCode::usage, {"101 clients", "100 training samples"}, [&] { make(101, options); });
  check_error(ExitCode::usage, {"0 clients"}, [&] { make(0, options); });
  check_error(ExitCode::usage, {"11 clients cannot have 10 samples each", "--minimum-size of 1 to 9"},
              [&] { make(11, options); });
  options.minimum_size = -1;
  check_error(ExitCode::usage, {"-1 samples"}, [&] { make(2, options); });
  for (const double alpha : {0.0, -1.0, 1e10, std::numeric_limits<double>::quiet_NaN()}) {
    check_error(ExitCode::usage, {"--dirichlet-alpha", "above 0"},
                [&] { make(2, options_of(PartitionKind::dirichlet, 0, alpha)); });
  }
  options = options_of(PartitionKind::shards, 0);
  options.classes_per_client = 11;
  check_error(ExitCode::usage, {"--classes-per-client 11", "10 classes", "1 to 10"},
              [&] { make(2, options); });
  options.classes_per_client = 2;
  check_error(ExitCode::usage, {"4 clients with --classes-per-client 2", "8 places", "at least 3"},
              [&] { make(4, options); });
  options.classes_per_client = 1;
  check_error(ExitCode::usage, {"shards are too small", "minimum is 10", "--minimum-size"},
              [&] { make(10, options); });
  for (const double exponent : {0.01, -1.0, 101.0, std::numeric_limits<double>::quiet_NaN()}) {
    options.size_exponent = exponent;
    check_error(ExitCode::usage, {"--size-exponent", "0.1 to 100"}, [&] { make(10, options); });
  }
  options.size_exponent = 1;
  check_error(ExitCode::usage, {"shards are too small", "holders who need 10 each", "--minimum-size 10"},
              [&] { make(10, options); });
  check_error(ExitCode::usage, {"--partition random", "iid, dirichlet, shards"},
              [] { parse_partition_kind("random"); });
  for (const char* name : {"iid", "dirichlet", "shards"})
    BOOST_TEST(to_string(parse_partition_kind(name)) == name);
}

BOOST_AUTO_TEST_CASE(the_table_is_aligned_and_sums_up) {
  const std::vector<std::int32_t> labels{0, 1, 2, 0, 0, 1};
  const Partition partition{{0, 3, 4}, {1, 2, 5}};
  BOOST_TEST(partition_table(partition, labels, 3) ==
             "client  samples  classes  #0  #1  #2\n"
             "     0        3        1   3   .   .\n"
             "     1        3        2   .   2   1\n"
             " total        6        3   3   2   1\n");
}

BOOST_AUTO_TEST_CASE(the_table_of_many_classes_names_the_largest) {
  const std::vector<std::int32_t> labels{57, 57, 3, 99};
  const Partition partition{{0, 1, 2}, {3}, {}};
  BOOST_TEST(partition_table(partition, labels, 100) ==
             "client  samples  classes  largest class  its samples\n"
             "     0        3        2             57            2\n"
             "     1        1        1             99            1\n"
             "     2        0        0              .            0\n"
             " total        4        3             57            2\n");
}
