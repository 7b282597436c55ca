// Reads the real sets where they are at hand: in $COS2P_DATA_DIR, or in ../shared/data beside the sources.
#include <cstdlib>
#include <iostream>

#include "cos2p/data/batch.hpp"
#include "data/data_test_files.hpp"

using namespace cos2p;
using namespace data_test;

namespace {

/// The directory of a real set; empty, with a visible line, where it is not at hand.
std::string real_set(const std::string& name) {
  const char* given = std::getenv("COS2P_DATA_DIR");
  const fs::path root =
      given != nullptr ? fs::path(given) : fs::path(COS2P_SOURCE_DIR).parent_path() / "shared" / "data";
  std::error_code error;
  if (fs::is_directory(root / name, error)) return (root / name).string();
  std::cout << "SKIPPED: " << name << " is not in " << root.string()
            << " (set COS2P_DATA_DIR to read the real sets)" << std::endl;
  // With nothing at all to read the whole program counts as skipped, which CTest shows.
  if (!fs::is_directory(root, error)) std::exit(77);
  return {};
}

}  // namespace

BOOST_AUTO_TEST_CASE(the_real_fashion_mnist_is_read) {
  const std::string dir = real_set("fashion-mnist");
  BOOST_TEST((dir.empty() || fs::is_directory(dir)));
  if (dir.empty()) return;
  const Dataset data = load_dataset(dataset_options(DatasetKind::fashion_mnist, dir));
  BOOST_TEST(data.train.size() == 60000);
  BOOST_TEST(data.test.size() == 10000);
  BOOST_TEST(data.train.labels[0] == 9);
  BOOST_TEST(std::count(data.train.labels.begin(), data.train.labels.end(), 3) == 6000);
  const Normalization n = measure_normalization(data.train);
  BOOST_TEST(n.mean[0] == 0.2860F, boost::test_tools::tolerance(0.001F));
  BOOST_TEST(n.deviation[0] == 0.3530F, boost::test_tools::tolerance(0.001F));
}

BOOST_AUTO_TEST_CASE(the_real_cifar_10_is_read) {
  const std::string dir = real_set("cifar-10");
  BOOST_TEST((dir.empty() || fs::is_directory(dir)));
  if (dir.empty()) return;
  const Dataset data = load_dataset(dataset_options(DatasetKind::cifar_10, dir));
  BOOST_TEST(data.train.size() >= 10000);
  BOOST_TEST(data.train.size() == 10000 * static_cast<std::int64_t>(data.train.files.size()));
  BOOST_TEST(data.test.size() == 10000);
  BOOST_TEST(std::count(data.test.labels.begin(), data.test.labels.end(), 7) == 1000);
  const Normalization n = measure_normalization(data.train);
  const std::vector<float> published{0.4914F, 0.4822F, 0.4465F};  // of all five batches
  for (std::size_t c = 0; c < 3; ++c)
    BOOST_TEST(n.mean[c] == published[c], boost::test_tools::tolerance(0.01F));
}

BOOST_AUTO_TEST_CASE(the_real_20_newsgroups_are_read) {
  const std::string dir = real_set("20-newsgroups");
  BOOST_TEST((dir.empty() || fs::is_directory(dir)));
  if (dir.empty()) return;
  const TextDataset data = load_text_dataset(dataset_options(DatasetKind::newsgroups_20, dir));
  BOOST_TEST(data.train.size() == 11314);
  BOOST_TEST(data.test.size() == 7532);
  BOOST_TEST(data.train.classes == 20);
  BOOST_TEST(std::count(data.train.labels.begin(), data.train.labels.end(), 0) == 480);  // alt.atheism
  BOOST_TEST(data.train.texts[0].compare(0, 19, "Alt.Atheism FAQ: At") == 0);
}

BOOST_AUTO_TEST_CASE(the_real_sst_2_is_read) {
  const std::string dir = real_set("sst-2");
  BOOST_TEST((dir.empty() || fs::is_directory(dir)));
  if (dir.empty()) return;
  const TextDataset data = load_text_dataset(dataset_options(DatasetKind::sst_2, dir));
  BOOST_TEST(data.train.size() == 67349);
  BOOST_TEST(data.test.size() == 872);
  BOOST_TEST(data.train.classes == 2);
  BOOST_TEST(std::count(data.test.labels.begin(), data.test.labels.end(), 1) == 444);
  BOOST_TEST(data.train.texts[0] == "hide new secretions from the parental units ");
}
