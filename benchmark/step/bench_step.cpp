// Times one training step (forward, backward, SGD with momentum) of a full ViT, of a submodel with half of
// its heads and neurons, and of one with half of its blocks frozen, and measures the tensors' peak memory.
// usage: bench_step [--repeats N] [--threads N] [--case full|half-units|half-frozen]
#include <fmt/format.h>
#include <torch/torch.h>

#include <algorithm>
#include <cstdlib>
#include <exception>
#include <string>
#include <vector>

#include "cos2p/model/tensor_memory.hpp"
#include "cos2p/model/vit.hpp"
#include "cos2p/support/clock.hpp"
#include "cos2p/support/error.hpp"

namespace {

constexpr int kBatch = 64;

cos2p::ModelOptions model() {
  cos2p::ModelOptions options = cos2p::model_preset("tiny");
  options.image_height = options.image_width = 32;
  options.channels = 3;
  options.patch = 4;
  options.exits = {options.blocks - 1};
  options.validate();
  return options;
}

// Every second unit; where the number of heads is odd, blocks take turns in rounding up, so that half are
// kept in all.
cos2p::UnitSet half(std::int64_t total, int block) {
  const std::int64_t kept = (total + block % 2) / 2;
  std::vector<std::int32_t> units;
  for (std::int64_t i = 0; i < kept; ++i) units.push_back(static_cast<std::int32_t>(i * total / kept));
  return cos2p::UnitSet(total, std::move(units));
}

cos2p::VitShape shape_of(const std::string& name, const cos2p::ModelOptions& options) {
  cos2p::VitShape shape = cos2p::VitShape::full(options);
  if (name == "half-frozen") shape.frozen_blocks = options.blocks / 2;
  if (name == "half-units") {
    for (int block = 0; block < options.blocks; ++block) {
      shape.heads[static_cast<std::size_t>(block)] = half(options.heads, block);
      shape.neurons[static_cast<std::size_t>(block)] = half(options.feed_forward, block);
    }
  }
  return shape;
}

struct Result {
  double seconds = 0;
  std::int64_t peak_bytes = 0;
};

Result measure(const cos2p::SegmentTable& table, const std::string& name, int repeats) {
  const std::int64_t before = cos2p::tensor_memory::current();
  const cos2p::Vit vit(table, shape_of(name, table.options()), torch::kCPU);
  for (cos2p::SegmentId id : vit.segments()) vit.flat(id).normal_(0.0, 0.02);
  torch::optim::SGD optimizer(vit.parameters(), torch::optim::SGDOptions(0.01).momentum(0.9));
  const torch::Tensor images = torch::randn({kBatch, 3, 32, 32}), labels = torch::randint(0, 10, {kBatch});
  std::vector<double> seconds;
  Result result;
  for (int i = 0; i < repeats + 2; ++i) {
    cos2p::tensor_memory::reset_peak();
    const double start = cos2p::monotonic_seconds();
    for (torch::Tensor& parameter : vit.parameters()) parameter.mutable_grad() = torch::Tensor();
    torch::nn::functional::cross_entropy(vit.forward(images, true).back(), labels).backward();
    optimizer.step();
    if (i >= 2) seconds.push_back(cos2p::monotonic_seconds() - start);  // the first two warm up
    result.peak_bytes = cos2p::tensor_memory::peak() - before;
  }
  std::nth_element(seconds.begin(), seconds.begin() + static_cast<std::ptrdiff_t>(seconds.size() / 2),
                   seconds.end());
  result.seconds = seconds[seconds.size() / 2];
  return result;
}

int run(int argc, char** argv) {
  int repeats = 7, threads = 0;
  std::string only;
  for (int i = 1; i < argc; i += 2) {
    const std::string option = argv[i];
    if (i + 1 == argc) cos2p::fail(cos2p::ExitCode::usage, "{} has no value, give one", option);
    if (option == "--repeats")
      repeats = std::max(1, std::atoi(argv[i + 1]));
    else if (option == "--threads")
      threads = std::atoi(argv[i + 1]);
    else if (option == "--case")
      only = argv[i + 1];
    else
      cos2p::fail(cos2p::ExitCode::usage, "{} is unknown (known: --repeats, --threads, --case), remove it",
                  option);
  }
  if (threads > 0) torch::set_num_threads(threads);
  cos2p::tensor_memory::install();
  torch::manual_seed(1);
  const cos2p::SegmentTable table(model());
  for (const char* name : {"full", "half-units", "half-frozen"}) {
    if (!only.empty() && only != name) continue;
    const Result result = measure(table, name, repeats);
    fmt::print("{} images_per_s={:.1f} step_ms={:.1f} peak_mib={:.1f}\n", name, kBatch / result.seconds,
               1e3 * result.seconds, static_cast<double>(result.peak_bytes) / (1 << 20));
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (const std::exception& error) {
    fmt::print(stderr, "{}\n", error.what());
    return 2;
  }
}
