#include "cos2p/model/batch_tensors.hpp"

#include <torch/torch.h>

#include "cos2p/support/narrow.hpp"

namespace cos2p {

BatchTensors batch_tensors(const Samples& samples, Span<const std::int64_t> indices, Rng* rng,
                           torch::Device device) {
  const bool floats = samples.element() == Samples::Element::float32;
  torch::Tensor input = torch::empty(samples.batch_shape(indices), floats ? torch::kFloat32 : torch::kInt32);
  torch::Tensor labels = torch::empty({narrow<std::int64_t>(indices.size())}, torch::kInt64);
  samples.fill(indices, rng, {static_cast<std::byte*>(input.data_ptr()), input.nbytes()});
  samples.fill_labels(indices, {labels.data_ptr<std::int64_t>(), indices.size()});
  return {input.to(device), labels.to(device)};
}

}  // namespace cos2p
