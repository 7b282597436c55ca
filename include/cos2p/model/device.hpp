#pragma once

#include <torch/types.h>

#include <string>

namespace cos2p {

/// "cpu", "cuda", "cuda:N" or "auto" (a GPU where LibTorch can use one, bound round-robin by the rank on this
/// host) -> device. Throws Error(environment) where the device asked for is not there, saying whether
/// LibTorch or the machine lacks it.
torch::Device choose_device(const std::string& text, int local_rank);

}  // namespace cos2p
