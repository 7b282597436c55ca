// Which values of the full model a masked client reads and trains, worked out by hand.
#include "cos2p/model/weight_mask.hpp"

#include <torch/torch.h>

#include <boost/test/unit_test.hpp>

#include "model/vit_fixture.hpp"

using namespace cos2p;
using namespace cos2p::test;

BOOST_AUTO_TEST_CASE(small_values_are_left_out_and_get_no_gradient) {
  const torch::Tensor w = torch::tensor({-3.0F, 0.5F, 2.0F, -1.0F}).requires_grad_();
  const torch::Tensor masked = mask_by_magnitude(w, 2.0F);
  BOOST_TEST(torch::equal(masked, torch::tensor({-3.0F, 0.0F, 2.0F, 0.0F})));
  (masked * torch::tensor({1.0F, 1.0F, -2.0F, 1.0F})).sum().backward();
  // 1 + 3 * 4 / 25, and -2 (1 + 2 * 4 / 16)
  BOOST_TEST(torch::allclose(w.grad(), torch::tensor({1.48F, 0.0F, -3.0F, 0.0F})));
  BOOST_TEST(w.grad()[1].item<float>() == 0.0F);
  BOOST_TEST(w.grad()[3].item<float>() == 0.0F);
}

BOOST_AUTO_TEST_CASE(a_threshold_of_zero_leaves_everything_as_it_is) {
  const torch::Tensor w = torch::tensor({-1.0F, 0.0F}).requires_grad_();
  mask_by_magnitude(w, 0.0F).sum().backward();
  BOOST_TEST(torch::equal(w.grad(), torch::ones({2})));
}

// The matrices of the only block hold 1, 2, ... in their order, every second one negative; all else is large.
BOOST_AUTO_TEST_CASE(the_largest_values_of_the_blocks_matrices_are_kept) {
  const SegmentTable table(small_model(1));
  const Vit vit(table, VitShape::full(table.options()), torch::kCPU);
  const torch::NoGradGuard guard;
  for (const SegmentId id : vit.segments()) vit.flat(id).fill_(1e6F);
  std::int64_t count = 0;
  for (const SegmentId id : vit.segments()) {
    for (const TensorSpec& spec : table[id].tensors) {
      const bool matrix = spec.name == "qkv.weight" || spec.name == "out.weight" ||
                          spec.name == "fc1.weight" || spec.name == "fc2.weight";
      BOOST_TEST(spec.is_block_matrix() == matrix, spec.name);
      if (!matrix) continue;
      torch::Tensor values = vit.tensor(id, spec.name).view({-1});
      const torch::Tensor numbers = torch::arange(count + 1, count + 1 + values.numel(), torch::kFloat32);
      values.copy_(torch::where(numbers.remainder(2) == 0, -numbers, numbers));
      count += values.numel();
    }
  }
  BOOST_REQUIRE(count == 4 * 20 * 20 + 2 * 18 * 20);
  BOOST_TEST(magnitude_threshold(vit, 1) == 1.0F);
  BOOST_TEST(magnitude_threshold(vit, 0.25) == static_cast<float>(count - 580 + 1));  // 580 of 2320
  BOOST_TEST(magnitude_threshold(vit, 1e-9) == static_cast<float>(count));
}

BOOST_AUTO_TEST_CASE(a_masked_model_is_the_model_with_zeros_and_trains_the_rest) {
  const SegmentTable table(small_model(2));
  Vit masked(table, VitShape::full(table.options()), torch::kCPU);
  const Vit zeroed(table, VitShape::full(table.options()), torch::kCPU);
  randomize(masked, 3);
  const float threshold = magnitude_threshold(masked, 0.3);
  {
    const torch::NoGradGuard guard;
    for (const SegmentId id : masked.segments()) {
      zeroed.flat(id).copy_(masked.flat(id));
      for (const TensorSpec& spec : table[id].tensors) {
        if (spec.is_block_matrix()) {
          torch::Tensor values = zeroed.tensor(id, spec.name);
          values.masked_fill_(values.abs() < threshold, 0);
        }
      }
    }
  }
  masked.mask_below(threshold);
  const torch::Tensor images = images_for(table.options(), 4);
  const torch::Tensor logits = masked.forward(images, true).back();
  BOOST_TEST(torch::equal(logits, zeroed.forward(images, true).back()));
  logits.square().sum().backward();
  for (const SegmentId id : masked.segments()) {
    for (const TensorSpec& spec : table[id].tensors) {
      if (!spec.is_block_matrix()) continue;
      const torch::Tensor left_out = masked.tensor(id, spec.name).detach().abs() < threshold;
      const torch::Tensor gradient = masked.tensor(id, spec.name).grad();
      BOOST_REQUIRE(gradient.defined());
      BOOST_TEST(gradient.masked_select(left_out).abs().max().item<float>() == 0.0F);
      BOOST_TEST(gradient.masked_select(left_out.logical_not()).count_nonzero().item<std::int64_t>() > 0);
    }
  }
}
