#include "cos2p/model/device.hpp"

#include <torch/torch.h>

#include "cos2p/support/error.hpp"

namespace cos2p {

torch::Device choose_device(const std::string& text, int local_rank) {
  if (text == "cpu") return torch::kCPU;
  const bool usable = torch::cuda::is_available();
  if (text == "auto" && !usable) return torch::kCPU;
  if (!usable) {
    fail(ExitCode::environment, "--device {}: no GPU can be used ({}), use --device cpu or auto", text,
         torch::cuda::device_count() == 0
             ? "LibTorch sees no CUDA device: it is a CPU build, or the driver is missing"
             : "CUDA does not start");
  }
  const auto count = static_cast<int>(torch::cuda::device_count());
  if (text == "auto" || text == "cuda")
    return {torch::kCUDA, static_cast<c10::DeviceIndex>(local_rank % count)};
  int index = -1;
  try {
    index = std::stoi(text.substr(5));
  } catch (const std::exception&) {  // the range check below speaks
  }
  if (text.rfind("cuda:", 0) != 0 || index < 0 || index >= count) {
    fail(ExitCode::environment,
         "--device {}: there is no such GPU (this machine has {}), use cuda:0 to cuda:{}", text, count,
         count - 1);
  }
  return {torch::kCUDA, static_cast<c10::DeviceIndex>(index)};
}

}  // namespace cos2p
