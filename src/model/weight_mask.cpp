#include "cos2p/model/weight_mask.hpp"

#include <torch/torch.h>

#include <algorithm>
#include <cmath>
#include <functional>

#include "cos2p/model/vit.hpp"
#include "cos2p/support/error.hpp"

namespace cos2p {
namespace {

using torch::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

struct MagnitudeMask : torch::autograd::Function<MagnitudeMask> {
  static Tensor forward(AutogradContext* context, const Tensor& weights, double threshold) {
    context->save_for_backward({weights});
    context->saved_data["threshold"] = threshold;
    return weights.masked_fill(weights.abs() < threshold, 0);
  }
  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const Tensor weights = context->get_saved_variables()[0];
    const double threshold = context->saved_data["threshold"].toDouble();
    if (threshold <= 0) return {gradients[0], Tensor()};  // nothing is masked
    Tensor factor = weights.abs();
    const Tensor left_out = factor < threshold, sum = factor + threshold;
    factor.mul_(2 * threshold).div_(sum).div_(sum).add_(1).masked_fill_(left_out, 0).mul_(gradients[0]);
    return {factor, Tensor()};
  }
};

}  // namespace

float magnitude_threshold(const Vit& vit, double share) {
  COS2P_ASSERT(share > 0 && share <= 1);
  std::vector<float> magnitudes;
  for (const SegmentId id : vit.segments()) {
    for (const TensorSpec& spec : vit.table()[id].tensors) {
      if (!spec.is_block_matrix()) continue;
      const Tensor values = vit.tensor(id, spec.name).detach().abs().cpu().contiguous();
      magnitudes.insert(magnitudes.end(), values.data_ptr<float>(),
                        values.data_ptr<float>() + values.numel());
    }
  }
  const auto count = static_cast<double>(magnitudes.size());
  const auto kept =
      static_cast<std::ptrdiff_t>(std::max(1.0, std::min(count, std::nearbyint(share * count))));
  std::nth_element(magnitudes.begin(), magnitudes.begin() + (kept - 1), magnitudes.end(),
                   std::greater<float>());
  return magnitudes[static_cast<std::size_t>(kept - 1)];
}

Tensor mask_by_magnitude(const Tensor& weights, float threshold) {
  return MagnitudeMask::apply(weights, static_cast<double>(threshold));
}

}  // namespace cos2p
