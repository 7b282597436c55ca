#include "cos2p/model/initial_values.hpp"

#include <algorithm>
#include <cmath>

#include "cos2p/support/narrow.hpp"
#include "cos2p/support/random.hpp"

namespace cos2p {
namespace {

constexpr double kDeviation = 0.02;
constexpr std::uint64_t kPurpose = 0x696e6974;  // keeps this stream apart from other uses of the same seed

bool ends_with(const std::string& text, const std::string& end) {
  return text.size() >= end.size() && text.compare(text.size() - end.size(), end.size(), end) == 0;
}

double truncated_normal(Rng& rng) {
  for (;;) {
    const double z = rng.normal();
    if (std::abs(z) <= 2.0) return z * kDeviation;
  }
}

}  // namespace

std::vector<float> initial_values(const Segment& segment, std::uint64_t seed) {
  std::vector<float> values(narrow<std::size_t>(segment.numel, "segment size"), 0.0F);
  Rng rng(seed, {kPurpose, static_cast<std::uint64_t>(segment.id.value())});
  for (const TensorSpec& tensor : segment.tensors) {
    float* begin = values.data() + tensor.offset;
    float* end = begin + tensor.numel();
    if (ends_with(tensor.name, "bias")) continue;
    if (tensor.name == "norm.weight") {
      std::fill(begin, end, 1.0F);
    } else {
      std::generate(begin, end, [&rng] { return static_cast<float>(truncated_normal(rng)); });
    }
  }
  return values;
}

}  // namespace cos2p
