// Times one training step (forward, backward, SGD with momentum) of a full ViT, of a submodel with half of
// its heads and neurons, and of one with half of its blocks frozen, and measures the tensors' peak memory.
// usage: bench_step [--repeats N] [--threads N] [--case full|half-units|half-frozen]
#include <fmt/format.h>
#include <torch/torch.h>

#include <algorithm>
#include <cstdlib>
#include <exception>
#include <memory>
#include <string>
#include <utility>
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

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

// A model with its optimizer and a batch; step() is what is timed.
class Trainer {
 public:
  Trainer(std::string name, const cos2p::SegmentTable& table)
      : name_(std::move(name)),
        before_(cos2p::tensor_memory::current()),
        vit_(table, shape_of(name_, table.options()), torch::kCPU),
        optimizer_(vit_.parameters(), torch::optim::SGDOptions(0.01).momentum(0.9)),
        images_(torch::randn({kBatch, 3, 32, 32})),
        labels_(torch::randint(0, 10, {kBatch})) {
    for (cos2p::SegmentId id : vit_.segments()) vit_.flat(id).normal_(0.0, 0.02);
    step();  // makes the optimizer's state
    cos2p::tensor_memory::reset_peak();
    step();
    peak_bytes_ = cos2p::tensor_memory::peak() - before_;
    forget_gradients();
  }

  void time() {
    const double start = cos2p::monotonic_seconds();
    step();
    seconds_.push_back(cos2p::monotonic_seconds() - start);
    forget_gradients();
  }

  void print() const {
    const double seconds = median(seconds_);
    fmt::print("{} images_per_s={:.1f} step_ms={:.1f} best_ms={:.1f} peak_mib={:.1f}\n", name_,
               kBatch / seconds, 1e3 * seconds, 1e3 * *std::min_element(seconds_.begin(), seconds_.end()),
               static_cast<double>(peak_bytes_) / (1 << 20));
  }

 private:
  void step() {
    forget_gradients();
    torch::nn::functional::cross_entropy(vit_.forward(images_, true).back(), labels_).backward();
    optimizer_.step();
  }
  void forget_gradients() {
    for (torch::Tensor& parameter : vit_.parameters()) parameter.mutable_grad() = torch::Tensor();
  }

  std::string name_;
  std::int64_t before_, peak_bytes_ = 0;
  cos2p::Vit vit_;
  torch::optim::SGD optimizer_;
  torch::Tensor images_, labels_;
  std::vector<double> seconds_;
};

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
  std::vector<std::unique_ptr<Trainer>> trainers;
  for (const char* name : {"full", "half-units", "half-frozen"}) {
    if (only.empty() || only == name) trainers.push_back(std::make_unique<Trainer>(name, table));
  }
  // In turns, so that the ratios do not depend on what else the machine does.
  for (int i = 0; i < repeats; ++i) {
    for (const auto& trainer : trainers) trainer->time();
  }
  for (const auto& trainer : trainers) trainer->print();
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
