// Merging ten full updates of ViT-B (86 M parameters), segment by segment, against torch's add_ of the same
// bytes and against reading alone, in turns. Expectation: reading is the limit (one pass over the updates);
// add_ passes over its target ten times as well, so merging should come close to reading and stay above add_.
//   bench_merge [--threads 2] [--repeats 5]
#include <torch/torch.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <vector>

#include "cos2p/kernels/merge.hpp"
#include "cos2p/support/clock.hpp"
#include "cos2p/support/parallel.hpp"

using namespace cos2p;

namespace {

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

}  // namespace

int main(int argc, char** argv) {
  int threads = 2, repeats = 5;
  CLI::App app{"Merging ten updates of ViT-B"};
  app.add_option("--threads", threads, "threads");
  app.add_option("--repeats", repeats, "repeats of each measurement; the median counts");
  CLI11_PARSE(app, argc, argv);
  torch::set_num_threads(threads);

  ModelOptions options = model_preset("base");
  options.image_height = options.image_width = 224;
  options.channels = 3;
  options.patch = 16;
  options.classes = 1000;
  options.exits = {options.blocks - 1};
  options.validate();
  const SegmentTable table(options);
  constexpr int kUpdates = 10;
  constexpr std::int64_t kPart = 32 << 10;  // values that a thread takes at a time, as the server does
  std::vector<torch::Tensor> updates;
  for (int i = 0; i < kUpdates; ++i)
    updates.push_back(torch::full({table.parameters()}, 0.01F * static_cast<float>(i + 1)));
  torch::Tensor target = torch::zeros({table.parameters()});
  const double bytes = static_cast<double>(table.parameters()) * sizeof(float) * kUpdates;

  const auto merge = [&] {
    std::int64_t offset = 0;
    for (const Segment& segment : table) {
      const UnitSet all = segment.units > 0 ? UnitSet::all(segment.units) : UnitSet();
      std::vector<MergeInput> inputs;
      for (const torch::Tensor& update : updates) {
        const auto* values = reinterpret_cast<const std::byte*>(update.data_ptr<float>() + offset);
        inputs.push_back({PackedValues{ValueType::float32, values, segment.numel}, &all, 1, 1});
      }
      const MergeKernel kernel(segment, inputs, nullptr, {});
      float* values = target.data_ptr<float>() + offset;
      parallel_for((segment.numel + kPart - 1) / kPart, threads, [&](std::int64_t part) {
        const std::int64_t begin = part * kPart;
        kernel.merge(begin,
                     {values + begin, static_cast<std::size_t>(std::min(kPart, segment.numel - begin))});
      });
      offset += segment.numel;
    }
  };
  const auto add = [&] {
    target.zero_();
    for (const torch::Tensor& update : updates) target.add_(update, 0.1);
  };
  const auto read = [&] {
    float sum = 0;
    for (const torch::Tensor& update : updates) sum += update.sum().item<float>();
    return sum;
  };
  std::vector<double> merges, adds, reads;
  for (int i = 0; i <= repeats; ++i) {  // the first turn warms up
    double m = 0, a = 0, r = 0;
    {
      const ScopedTimer timer(m);
      merge();
    }
    if (std::abs(target[12345].item<float>() - 0.055F) > 1e-6F) {
      std::fprintf(stderr, "the mean of the updates is wrong\n");
      return 1;
    }
    {
      const ScopedTimer timer(a);
      add();
    }
    {
      const ScopedTimer timer(r);
      read();
    }
    if (i == 0) continue;
    merges.push_back(bytes / m / 1e9);
    adds.push_back(bytes / a / 1e9);
    reads.push_back(bytes / r / 1e9);
  }
  std::printf("ten updates of %.1f M parameters, %d threads, client bytes per second (median of %d):\n",
              static_cast<double>(table.parameters()) / 1e6, threads, repeats);
  std::printf(
      "  merge   %6.2f GB/s\n  add_    %6.2f GB/s\n  reading %6.2f GB/s\n  merge / add_ %.2f, merge / "
      "reading %.2f\n",
      median(merges), median(adds), median(reads), median(merges) / median(adds),
      median(merges) / median(reads));
  return 0;
}
