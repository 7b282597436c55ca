// The CPU's own inner loops, for each vector width this machine has, against ATen operators.
#include "cpu_kernels.hpp"

#include <torch/torch.h>

#include <boost/test/unit_test.hpp>
#include <vector>

#include "vit_parts.hpp"

using namespace cos2p;

namespace {

struct Case {
  std::int64_t images, tokens, heads, dim, queries;
};
// Around the vector widths (4, 8, 16), the register tile (6 rows) and the queries of one pass (96).
const std::vector<Case> kCases = {{2, 1, 1, 1, 1},    {1, 7, 3, 5, 7},   {2, 17, 2, 8, 17},
                                  {2, 65, 3, 64, 65}, {1, 65, 3, 64, 1}, {1, 197, 2, 48, 197},
                                  {1, 97, 1, 16, 97}, {2, 33, 2, 20, 12}};

double relative_difference(const torch::Tensor& a, const torch::Tensor& b) {
  return (a - b).abs().max().item<double>() / (1e-3 + b.abs().max().item<double>());
}

template <typename F>
void for_each_kernel_set(const F& f) {
  for (const cpu::Kernels* const* set = cpu::available_kernels(); *set != nullptr; ++set) f(**set);
}

}  // namespace

BOOST_AUTO_TEST_CASE(attention_equals_the_reference) {
  torch::manual_seed(1);
  for (const Case& c : kCases) {
    const torch::Tensor qkv = torch::randn({c.images, c.tokens, c.heads, 3, c.dim}) * 1.5;
    const torch::Tensor d_context = torch::randn({c.images, c.queries, c.heads, c.dim});
    const torch::Tensor expected = parts::attention_reference(qkv, c.queries);
    const torch::Tensor d_expected = parts::attention_reference_backward(qkv, d_context);
    for_each_kernel_set([&](const cpu::Kernels& k) {
      const cpu::AttentionShape shape{c.tokens, c.queries, c.heads, c.dim};
      std::vector<float> workspace(static_cast<std::size_t>(k.attention_workspace(shape)), NAN);
      torch::Tensor context = torch::full_like(d_context, NAN), d_qkv = torch::full_like(qkv, NAN);
      for (std::int64_t image = 0; image < c.images; ++image) {
        for (std::int64_t head = 0; head < c.heads; ++head) {
          k.attention_forward(shape, head, qkv[image].data_ptr<float>(), context[image].data_ptr<float>(),
                              workspace.data());
          k.attention_backward(shape, head, qkv[image].data_ptr<float>(), d_context[image].data_ptr<float>(),
                               d_qkv[image].data_ptr<float>(), workspace.data());
        }
      }
      BOOST_TEST(relative_difference(context, expected) < 2e-6, k.name << ", " << c.tokens << " tokens");
      BOOST_TEST(relative_difference(d_qkv, d_expected) < 4e-6, k.name << ", " << c.tokens << " tokens");
    });
  }
}

BOOST_AUTO_TEST_CASE(the_reference_gradient_is_what_autograd_finds) {
  torch::manual_seed(2);
  torch::Tensor qkv = torch::randn({2, 9, 3, 3, 6}, torch::kFloat64).requires_grad_(true);
  const torch::Tensor d_context = torch::randn({2, 4, 3, 6}, torch::kFloat64);
  (parts::attention_reference(qkv, 4) * d_context).sum().backward();
  BOOST_TEST(
      torch::allclose(parts::attention_reference_backward(qkv.detach(), d_context), qkv.grad(), 1e-9, 1e-12));
}

BOOST_AUTO_TEST_CASE(attention_leaves_out_padding) {
  torch::manual_seed(4);
  const std::int64_t T = 37, h = 3, d = 12;
  const torch::Tensor lengths = torch::tensor({T, std::int64_t{2}, std::int64_t{20}, std::int64_t{1}});
  const auto B = lengths.size(0);
  const torch::Tensor qkv = torch::randn({B, T, h, 3, d});
  const torch::Tensor tokens = torch::arange(T).unsqueeze(0) < lengths.unsqueeze(1);  // (B, T)
  for (const std::int64_t queries : {T, std::int64_t{1}}) {
    const torch::Tensor asked = tokens.narrow(1, 0, queries).view({B, queries, 1, 1});
    const torch::Tensor d_context = torch::randn({B, queries, h, d}) * asked;
    torch::Tensor context = torch::full({B, queries, h, d}, NAN), d_qkv = torch::full_like(qkv, NAN);
    const cpu::AttentionShape shape{T, queries, h, d};
    cpu::attention_forward(shape, B, lengths.data_ptr<std::int64_t>(), qkv.data_ptr<float>(),
                           context.data_ptr<float>());
    cpu::attention_backward(shape, B, lengths.data_ptr<std::int64_t>(), qkv.data_ptr<float>(),
                            d_context.data_ptr<float>(), d_qkv.data_ptr<float>());
    BOOST_TEST(relative_difference(context, parts::attention_reference(qkv, queries, lengths) * asked) <
               2e-6);
    BOOST_TEST(relative_difference(d_qkv, parts::attention_reference_backward(qkv, d_context, lengths)) <
               4e-6);
  }
}

BOOST_AUTO_TEST_CASE(the_reference_with_lengths_is_that_of_each_text_alone) {
  torch::manual_seed(5);
  const torch::Tensor lengths = torch::tensor({std::int64_t{3}, std::int64_t{9}});
  const torch::Tensor qkv = torch::randn({2, 9, 2, 3, 5});
  const torch::Tensor both = parts::attention_reference(qkv, 9, lengths);
  const torch::Tensor alone = parts::attention_reference(qkv.narrow(0, 0, 1).narrow(1, 0, 3), 3);
  BOOST_TEST(torch::allclose(both.narrow(0, 0, 1).narrow(1, 0, 3), alone, 1e-5, 1e-6));
  BOOST_TEST(torch::allclose(both[1], parts::attention_reference(qkv.narrow(0, 1, 1), 9)[0], 1e-5, 1e-6));
}

BOOST_AUTO_TEST_CASE(attention_survives_large_scores) {
  for_each_kernel_set([](const cpu::Kernels& k) {
    const cpu::AttentionShape shape{10, 10, 1, 4};
    torch::manual_seed(3);
    const torch::Tensor qkv = torch::randn({1, 10, 1, 3, 4}) * 200;
    std::vector<float> workspace(static_cast<std::size_t>(k.attention_workspace(shape)));
    torch::Tensor context = torch::empty({1, 10, 1, 4});
    k.attention_forward(shape, 0, qkv.data_ptr<float>(), context.data_ptr<float>(), workspace.data());
    BOOST_TEST(relative_difference(context, parts::attention_reference(qkv, 10)) < 1e-5, k.name);
  });
}

BOOST_AUTO_TEST_CASE(gelu_equals_the_error_function_form) {
  const torch::Tensor x =
      torch::cat({torch::linspace(-12, 12, 20001), torch::tensor({-1e30F, 1e30F, 0.0F, -0.0F})});
  const torch::Tensor wide = x.to(torch::kFloat64);
  const torch::Tensor expected = at::gelu(wide), slope = at::gelu_backward(torch::ones_like(wide), wide);
  for_each_kernel_set([&](const cpu::Kernels& k) {
    torch::Tensor out = torch::empty_like(x), again = torch::empty_like(x), d = torch::full_like(x, 2.0);
    k.gelu(x.data_ptr<float>(), out.data_ptr<float>(), x.numel());
    k.gelu_backward(x.data_ptr<float>(), d.data_ptr<float>(), again.data_ptr<float>(), 0.5F, x.numel());
    BOOST_TEST(torch::equal(out, again), k.name);
    const auto finite = torch::indexing::Slice(0, 20001);
    const torch::Tensor error =
        (out.index({finite}) - expected.index({finite})).abs() / (1.0 + wide.index({finite}).abs());
    BOOST_TEST(error.max().item<double>() < 2e-7, k.name);
    BOOST_TEST((d.index({finite}) - slope.index({finite})).abs().max().item<double>() < 1e-6, k.name);
    BOOST_TEST(out[20001].item<float>() == 0.0F);
    BOOST_TEST(out[20002].item<float>() == 1e30F);
  });
}

BOOST_AUTO_TEST_CASE(gelu_handles_every_remainder) {
  for_each_kernel_set([](const cpu::Kernels& k) {
    for (std::int64_t n = 1; n < 40; ++n) {
      const torch::Tensor x = torch::linspace(-3, 3, n);
      torch::Tensor out = torch::full({n + 1}, 7.0);
      k.gelu(x.data_ptr<float>(), out.data_ptr<float>(), n);
      BOOST_TEST(torch::allclose(out.narrow(0, 0, n), at::gelu(x), 1e-5, 1e-6), k.name << ", " << n);
      BOOST_TEST(out[n].item<float>() == 7.0F);  // nothing written past the end
    }
  });
}

BOOST_AUTO_TEST_CASE(layer_norm_equals_aten) {
  torch::manual_seed(6);
  for (const std::int64_t dim : {1, 3, 8, 16, 20, 47, 48, 192, 768}) {
    const std::int64_t rows = 37;
    const torch::Tensor x = torch::randn({rows, dim}) * 3 + 5, d_out = torch::randn({rows, dim});
    const torch::Tensor weight = torch::randn({dim}), bias = torch::randn({dim});
    const auto wide = [](const torch::Tensor& t) { return t.to(torch::kFloat64); };
    const auto [expected, expected_mean, expected_inverse] =
        at::native_layer_norm(wide(x), {dim}, wide(weight), wide(bias), 1e-6);
    const auto [d_x_expected, d_weight_expected, d_bias_expected] =
        at::native_layer_norm_backward(wide(d_out), wide(x), {dim}, expected_mean, expected_inverse,
                                       wide(weight), wide(bias), {true, true, true});
    for_each_kernel_set([&](const cpu::Kernels& k) {
      const cpu::NormShape shape{rows, dim};
      // One value more than there are, to see that it stays.
      torch::Tensor out = torch::full({rows * dim + 1}, 7.0), d_x = torch::full({rows * dim + 1}, 7.0);
      torch::Tensor mean = torch::full({rows}, NAN), inverse = torch::full({rows}, NAN);
      torch::Tensor d_weight = torch::ones({dim}), d_bias = torch::ones({dim});
      const auto data = [](const torch::Tensor& t) { return t.data_ptr<float>(); };
      k.layer_norm(shape, data(x), data(weight), data(bias), 1e-6F, data(out), data(mean), data(inverse));
      k.layer_norm_backward(shape, data(d_out), data(x), data(mean), data(inverse), data(weight), data(d_x),
                            data(d_weight), data(d_bias));
      const auto rows_of = [&](const torch::Tensor& t) {
        return t.narrow(0, 0, rows * dim).view({rows, dim});
      };
      BOOST_TEST(relative_difference(rows_of(out), expected) < 2e-6, k.name << ", " << dim);
      // With one value the variance is rounding and epsilon, and so is the gradient.
      if (dim > 1) BOOST_TEST(relative_difference(rows_of(d_x), d_x_expected) < 1e-5, k.name << ", " << dim);
      BOOST_TEST(relative_difference(d_weight - 1, d_weight_expected) < 1e-5, k.name << ", " << dim);
      BOOST_TEST(relative_difference(d_bias - 1, d_bias_expected) < 1e-5, k.name << ", " << dim);
      BOOST_TEST(out[rows * dim].item<float>() == 7.0F);
      BOOST_TEST(d_x[rows * dim].item<float>() == 7.0F);
      // Either half of the gradient alone is the same.
      torch::Tensor d_x_alone = torch::empty({rows, dim}), d_weight_alone = torch::ones({dim});
      torch::Tensor d_bias_alone = torch::ones({dim});
      k.layer_norm_backward(shape, data(d_out), data(x), data(mean), data(inverse), data(weight),
                            data(d_x_alone), nullptr, nullptr);
      k.layer_norm_backward(shape, data(d_out), data(x), data(mean), data(inverse), data(weight), nullptr,
                            data(d_weight_alone), data(d_bias_alone));
      BOOST_TEST(torch::equal(d_x_alone, rows_of(d_x)), k.name);
      BOOST_TEST(torch::equal(d_weight_alone, d_weight), k.name);
      BOOST_TEST(torch::equal(d_bias_alone, d_bias), k.name);
    });
  }
}

BOOST_AUTO_TEST_CASE(layer_norm_of_many_rows_sums_all_groups) {
  torch::manual_seed(7);
  for (const std::int64_t rows : {1, 64, 65, 1000, 2100}) {
    const std::int64_t dim = 24;
    const torch::Tensor x = torch::randn({rows, dim}), d_out = torch::randn({rows, dim});
    const torch::Tensor weight = torch::randn({dim}), bias = torch::randn({dim});
    torch::Tensor out = torch::empty_like(x), d_x = torch::empty_like(x), mean = torch::empty({rows});
    torch::Tensor inverse = torch::empty({rows});
    torch::Tensor d_weight = torch::full({dim}, NAN),
                  d_bias = torch::full({dim}, NAN);  // written, not added to
    const auto data = [](const torch::Tensor& t) { return t.data_ptr<float>(); };
    cpu::layer_norm({rows, dim}, data(x), data(weight), data(bias), 1e-6F, data(out), data(mean),
                    data(inverse));
    cpu::layer_norm_backward({rows, dim}, data(d_out), data(x), data(mean), data(inverse), data(weight),
                             data(d_x), data(d_weight), data(d_bias));
    const auto [expected, expected_mean, expected_inverse] =
        at::native_layer_norm(x, {dim}, weight, bias, 1e-6);
    const auto [d_x_expected, d_weight_expected, d_bias_expected] = at::native_layer_norm_backward(
        d_out, x, {dim}, expected_mean, expected_inverse, weight, bias, {true, true, true});
    BOOST_TEST(relative_difference(out, expected) < 2e-6, rows);
    BOOST_TEST(relative_difference(d_x, d_x_expected) < 1e-5, rows);
    BOOST_TEST(relative_difference(d_weight, d_weight_expected) < 1e-5, rows);
    BOOST_TEST(relative_difference(d_bias, d_bias_expected) < 1e-5, rows);
  }
}
