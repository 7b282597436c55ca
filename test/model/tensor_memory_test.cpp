#include "cos2p/model/tensor_memory.hpp"

#include <torch/torch.h>

#include <boost/test/unit_test.hpp>

using namespace cos2p;

BOOST_AUTO_TEST_CASE(counts_tensors_and_remembers_the_peak) {
  const torch::Tensor before = torch::zeros({1000});
  BOOST_TEST(!tensor_memory::installed());
  tensor_memory::install();
  tensor_memory::install();
  BOOST_TEST(tensor_memory::installed());
  const std::int64_t start = tensor_memory::current();
  constexpr std::int64_t kMiB = 1 << 20;
  torch::Tensor a = torch::zeros({kMiB / 4});
  {
    const torch::Tensor b = torch::zeros({3, kMiB / 4});
    BOOST_TEST(tensor_memory::current() - start >= 4 * kMiB);
    BOOST_TEST(tensor_memory::current() - start < 4 * kMiB + 65536);
    const torch::Tensor view = b.narrow(0, 1, 1);
    BOOST_TEST(tensor_memory::current() - start < 4 * kMiB + 65536);
  }
  BOOST_TEST(tensor_memory::current() - start < kMiB + 65536);
  BOOST_TEST(tensor_memory::peak() - start >= 4 * kMiB);
  tensor_memory::reset_peak();
  BOOST_TEST(tensor_memory::peak() == tensor_memory::current());
  a = torch::Tensor();
  BOOST_TEST(tensor_memory::current() == start);
  const torch::Tensor empty = torch::zeros({0});
  BOOST_TEST(tensor_memory::current() == start);
}

BOOST_AUTO_TEST_CASE(tensors_from_before_are_freed_as_before) {
  torch::Tensor grown = torch::zeros({10});
  grown.resize_({100000});
  grown = torch::Tensor();
  BOOST_TEST(tensor_memory::current() >= 0);
}
