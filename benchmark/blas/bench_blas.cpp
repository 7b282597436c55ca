// Times one training step of a full ViT (dim 192, 6 blocks, 65 tokens) with the BLAS that this process gets.
// usage: bench_blas [--as-it-is] [--repeats N] [--batch N]
//   --as-it-is  compute with what the environment chose; without it the process starts as cos2p does
#include <fmt/format.h>
#include <torch/torch.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <vector>

#include "cos2p/model/vit.hpp"
#include "cos2p/support/blas.hpp"
#include "cos2p/support/clock.hpp"

namespace {

cos2p::ModelOptions model() {
  cos2p::ModelOptions options = cos2p::model_preset("tiny");
  options.image_height = options.image_width = 32;
  options.channels = 3;
  options.patch = 4;
  options.exits = {options.blocks - 1};
  options.validate();
  return options;
}

/// Median seconds of a step.
double time_step(int batch, int repeats) {
  torch::manual_seed(1);
  const cos2p::SegmentTable table(model());
  cos2p::Vit vit(table, cos2p::VitShape::full(table.options()), torch::kCPU);
  for (const cos2p::SegmentId id : vit.segments()) vit.flat(id).normal_(0.0, 0.02);
  torch::optim::SGD optimizer(vit.parameters(), torch::optim::SGDOptions(0.01).momentum(0.9));
  const torch::Tensor images = torch::randn({batch, 3, 32, 32}), labels = torch::randint(0, 10, {batch});
  std::vector<double> seconds;
  for (int i = 0; i <= repeats; ++i) {  // the first one warms up
    const double start = cos2p::monotonic_seconds();
    optimizer.zero_grad();
    torch::nn::functional::cross_entropy(vit.forward(images, true).back(), labels).backward();
    optimizer.step();
    if (i > 0) seconds.push_back(cos2p::monotonic_seconds() - start);
  }
  std::sort(seconds.begin(), seconds.end());
  return seconds[seconds.size() / 2];
}

}  // namespace

int main(int argc, char** argv) {
  int repeats = 5, batch = 64;
  bool as_it_is = false;
  for (int i = 1; i < argc; ++i) {
    if (std::strcmp(argv[i], "--as-it-is") == 0) as_it_is = true;
    if (i + 1 < argc && std::strcmp(argv[i], "--repeats") == 0) repeats = std::max(1, std::atoi(argv[i + 1]));
    if (i + 1 < argc && std::strcmp(argv[i], "--batch") == 0) batch = std::max(1, std::atoi(argv[i + 1]));
  }
  try {
    if (!as_it_is) cos2p::choose_blas_and_threads(argv, 0, 1);
    torch::set_num_threads(cos2p::compute_threads());
    const double seconds = time_step(batch, repeats);
    const cos2p::BlasInfo info = cos2p::blas_info();
    fmt::print("{:.1f}\t{}\t{}\t{} threads\n", batch / seconds, info.library,
               info.kernels.empty() ? "-" : info.kernels, cos2p::compute_threads());
  } catch (const std::exception& error) {
    fmt::print(stderr, "bench_blas: {}\n", error.what());
    return 1;
  }
  return 0;
}
