// What a machine can do, measured: the numbers that the planner and the simulated clock count with.
#include <torch/torch.h>

#include <algorithm>
#include <cctype>
#include <cstring>
#include <memory>

#include "cos2p/model/device.hpp"
#include "cos2p/model/initial_values.hpp"
#include "cos2p/model/vit.hpp"
#include "cos2p/plan/submodel_plan.hpp"
#include "cos2p/support/clock.hpp"
#include "cos2p/support/machine.hpp"
#include "doctor.hpp"

namespace cos2p::doctor {
namespace {

constexpr double kLeast_s = 2;  // of training steps

/// Training steps of the trial model through this program's own model, as clients compute them.
double training_flops(torch::Device device) {
  const ModelOptions options = trial_model();
  const SegmentTable table(options);
  TrainingShape shape;
  shape.batch_size = 8;
  Vit vit(table, VitShape::full(options), device);
  for (const SegmentId id : vit.segments()) {
    const std::vector<float> values = initial_values(table[id], 0);
    vit.flat(id).copy_(torch::tensor(values));
  }
  torch::optim::SGD optimizer(vit.parameters(), torch::optim::SGDOptions(1e-3).momentum(0.9));
  const torch::Tensor input = torch::randn({shape.batch_size, 3, 32, 32}).to(device);
  const torch::Tensor labels = torch::zeros({shape.batch_size}, torch::kInt64).to(device);
  const auto step = [&] {
    optimizer.zero_grad();
    torch::Tensor loss = torch::zeros({}, device);
    for (const torch::Tensor& logits : vit.forward(input, true))
      loss = loss + torch::nn::functional::cross_entropy(logits, labels);
    loss.backward();
    optimizer.step();
    return loss.item<double>();  // waits for a GPU
  };
  step();
  const double start = monotonic_seconds();
  int steps = 0;
  do {
    step();
    ++steps;
  } while (monotonic_seconds() - start < kLeast_s);
  return steps * estimate_cost(table, full_assignment(options), shape).step_flops /
         (monotonic_seconds() - start);
}

/// Read and written bytes of copies that no cache holds.
double copy_bandwidth() {
  constexpr std::size_t kBytes = 128U << 20;
  const auto from = std::make_unique<char[]>(kBytes), to = std::make_unique<char[]>(kBytes);
  std::memset(from.get(), 1, kBytes);
  double quickest = 1e9;
  for (int turn = 0; turn < 4; ++turn) {
    const double start = monotonic_seconds();
    std::memcpy(to.get(), from.get(), kBytes);
    if (turn > 0) quickest = std::min(quickest, monotonic_seconds() - start);  // the first one gets the pages
  }
  return 2.0 * kBytes / quickest;
}

/// A host's name as a profile's: it begins with a letter.
std::string profile_name(std::string host) {
  for (char& c : host) {
    if (std::isalnum(static_cast<unsigned char>(c)) == 0 && c != '.') c = '-';
  }
  if (host.empty() || std::isalpha(static_cast<unsigned char>(host.front())) == 0) host.insert(0, "host-");
  return host.substr(0, 64);
}

}  // namespace

DeviceProfile calibrate(const RunOptions& options, int local_rank) {
  const Machine machine = describe_machine();
  DeviceProfile profile = find_device_profile("cpu");
  profile.name = profile_name(machine.host);
  const torch::Device device = choose_device(options.device, local_rank);
  profile.description = (machine.board.empty() ? machine.cpu : machine.board) + ", " + device.str();
  profile.memory = machine.memory;
  profile.flops = training_flops(device);
  profile.bandwidth = copy_bandwidth();
  return profile;
}

}  // namespace cos2p::doctor
