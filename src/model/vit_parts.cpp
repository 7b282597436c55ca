#include "vit_parts.hpp"

#include <torch/torch.h>

#include <cmath>
#include <tuple>

#include "cos2p/model/step_shape.hpp"
#include "cpu_kernels.hpp"

namespace cos2p::parts {
namespace {

using torch::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// ---- pieces shared by the parts
// ----------------------------------------------------------------------------------

struct Norm {
  Tensor value, mean, inverse_deviation;  // (R, D), R values, R values
};

// x (R, D), contiguous

Norm normalise(const Tensor& x, const Tensor& weight, const Tensor& bias) {
  Norm norm;
  if (x.is_cpu()) {
    const cpu::NormShape shape{x.size(0), x.size(1)};
    norm = {at::empty_like(x), at::empty({shape.rows}, x.options()), at::empty({shape.rows}, x.options())};
    cpu::layer_norm(shape, x.data_ptr<float>(), weight.data_ptr<float>(), bias.data_ptr<float>(),
                    static_cast<float>(kLayerNormEpsilon), norm.value.data_ptr<float>(),
                    norm.mean.data_ptr<float>(), norm.inverse_deviation.data_ptr<float>());
  } else {
    std::tie(norm.value, norm.mean, norm.inverse_deviation) =
        at::native_layer_norm(x, {x.size(-1)}, weight, bias, kLayerNormEpsilon);
  }
  return norm;
}

// Gradients of a segment's tensors, summed over the pieces of a batch. The first piece overwrites, so nothing
// is zeroed. Where the gradient is not needed (a frozen tensor) nothing is computed.
class Sum {
 public:
  Sum(const Tensor& like, bool needed) : value_(needed ? at::empty_like(like) : Tensor()) {}
  bool needed() const { return value_.defined(); }
  Tensor take() { return std::move(value_); }
  /// += alpha * left^T right, for left (R, m) and right (R, n)
  void add_product(const Tensor& left, const Tensor& right, double alpha) {
    if (!needed()) return;
    value_.view({left.size(1), right.size(1)}).addmm_(left.t(), right, first_ ? 0.0 : 1.0, alpha);
    first_ = false;
  }
  void add(const Tensor& part) {
    if (!needed()) return;
    if (first_) {
      value_.copy_(part.view(value_.sizes()));
    } else {
      value_.add_(part.view(value_.sizes()));
    }
    first_ = false;
  }

 private:
  Tensor value_;
  bool first_ = true;
};

// The gradient through a LayerNorm, piece by piece.
class NormSum {
 public:
  NormSum(const Tensor& weight, const Tensor& bias, bool needed)
      : weight_(weight), bias_(bias), d_weight_(weight, needed), d_bias_(bias, needed) {}
  bool needed() const { return d_weight_.needed(); }
  /// Returns the gradient of x, undefined unless `needs_x`.
  Tensor add(const Tensor& d_value, const Tensor& x, const Norm& norm, bool needs_x) {
    Tensor d_x, d_weight, d_bias;
    if (x.is_cpu()) {
      if (needs_x) d_x = at::empty_like(x);
      if (needed()) {
        d_weight = at::empty_like(weight_);
        d_bias = at::empty_like(bias_);
      }
      const auto data = [](const Tensor& t) { return t.defined() ? t.data_ptr<float>() : nullptr; };
      cpu::layer_norm_backward({x.size(0), x.size(1)}, data(d_value), data(x), data(norm.mean),
                               data(norm.inverse_deviation), data(weight_), data(d_x), data(d_weight),
                               data(d_bias));
    } else {
      std::tie(d_x, d_weight, d_bias) =
          at::native_layer_norm_backward(d_value, x, {x.size(-1)}, norm.mean, norm.inverse_deviation, weight_,
                                         bias_, {needs_x, needed(), needed()});
    }
    if (needed()) {
      d_weight_.add(d_weight);
      d_bias_.add(d_bias);
    }
    return d_x;
  }
  Tensor take_weight() { return d_weight_.take(); }
  Tensor take_bias() { return d_bias_.take(); }

 private:
  Tensor weight_, bias_;
  Sum d_weight_, d_bias_;
};

void gelu_into(const Tensor& in, Tensor& out) {
  if (in.is_cpu()) {
    cpu::gelu(in.data_ptr<float>(), out.data_ptr<float>(), in.numel());
  } else {
    out.copy_(at::gelu(in));
  }
}

// Returns gelu(in); d becomes the gradient before the GELU.
Tensor gelu_backward(const Tensor& in, Tensor& d, double scale) {
  if (in.is_cpu()) {
    Tensor out = at::empty_like(in);
    cpu::gelu_backward(in.data_ptr<float>(), d.data_ptr<float>(), out.data_ptr<float>(),
                       static_cast<float>(scale), in.numel());
    return out;
  }
  d = at::gelu_backward(d, in).mul_(scale);
  return at::gelu(in);
}

const std::int64_t* pointer_to(const Tensor& lengths) {
  return lengths.defined() ? lengths.data_ptr<std::int64_t>() : nullptr;
}

// The lengths of a piece of a batch; undefined where there are none.
Tensor lengths_of(const Tensor& lengths, std::int64_t first, std::int64_t count) {
  return lengths.defined() ? lengths.narrow(0, first, count) : lengths;
}

// qkv (B, T, h, 3, d) -> context (B, queries, h, d)
void attention_into(const Tensor& qkv, const Tensor& lengths, Tensor& context) {
  if (qkv.is_cpu()) {
    const cpu::AttentionShape shape{qkv.size(1), context.size(1), qkv.size(2), qkv.size(4)};
    cpu::attention_forward(shape, qkv.size(0), pointer_to(lengths), qkv.data_ptr<float>(),
                           context.data_ptr<float>());
  } else {
    context.copy_(attention_reference(qkv, context.size(1), lengths));
  }
}

Tensor attention_gradient(const Tensor& qkv, const Tensor& lengths, const Tensor& d_context) {
  if (!qkv.is_cpu()) return attention_reference_backward(qkv, d_context, lengths);
  Tensor d_qkv = at::empty_like(qkv);
  const cpu::AttentionShape shape{qkv.size(1), d_context.size(1), qkv.size(2), qkv.size(4)};
  cpu::attention_backward(shape, qkv.size(0), pointer_to(lengths), qkv.data_ptr<float>(),
                          d_context.data_ptr<float>(), d_qkv.data_ptr<float>());
  return d_qkv;
}

// A GPU is only busy with all rows at once; a CPU is fastest with as many as its cache holds.
std::int64_t images_per_piece(const Tensor& x) {
  return x.is_cpu() ? images_at_a_time(x.size(1)) : x.size(0);
}
std::int64_t rows_per_piece(const Tensor& x) {
  return x.is_cpu() ? kRowsAtATime : x.size(0);
}

Tensor first_tokens(const Tensor& x, std::int64_t count) {
  return x.narrow(1, 0, count);
}

// ---- embedding
// ---------------------------------------------------------------------------------------------------

// (B, C, H, W) -> (B * patches, C * p * p)
Tensor patches_of(const Tensor& images, std::int64_t p) {
  const auto B = images.size(0), C = images.size(1), rows = images.size(2) / p, columns = images.size(3) / p;
  return images.reshape({B, C, rows, p, columns, p})
      .permute({0, 2, 4, 1, 3, 5})
      .reshape({B * rows * columns, C * p * p});
}

Tensor embed_forward(const Tensor& images, const EmbeddingTensors& w, std::int64_t p) {
  const auto B = images.size(0), T = w.position.size(0), D = w.position.size(1);
  const Tensor patches = at::addmm(w.patch_bias, patches_of(images, p), w.patch_weight.t());
  Tensor x = at::empty({B, T, D}, w.position.options());
  x.select(1, 0).copy_((w.class_token + w.position[0]).expand({B, D}));
  Tensor rest = x.narrow(1, 1, T - 1);
  at::add_out(rest, patches.view({B, T - 1, D}), w.position.narrow(0, 1, T - 1));
  return x;
}

struct Embedding : torch::autograd::Function<Embedding> {
  static Tensor forward(AutogradContext* context, const Tensor& images, const Tensor& weight,
                        const Tensor& bias, const Tensor& class_token, const Tensor& position,
                        std::int64_t p) {
    context->save_for_backward({images});
    context->saved_data["patch"] = p;
    return embed_forward(images, {weight, bias, class_token, position}, p);
  }
  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const Tensor images = context->get_saved_variables()[0];
    const Tensor& d = gradients[0];  // (B, T, D)
    const Tensor patches = patches_of(images, context->saved_data["patch"].toInt());
    const Tensor d_position = d.sum(0);
    const Tensor d_patches = d.narrow(1, 1, d.size(1) - 1).reshape({patches.size(0), d.size(2)});
    return {Tensor(),
            at::mm(d_patches.t(), patches),
            d_position.narrow(0, 1, d.size(1) - 1).sum(0),
            d_position[0].clone(),
            d_position,
            Tensor()};
  }
};

// ids (B, T) -> the sum of embeddings of rows [first, first + texts) as (texts * T, D)
Tensor embedding_sum(const Tensor& ids, const Tensor& token, const Tensor& position, std::int64_t first,
                     std::int64_t texts) {
  const auto T = ids.size(1), D = token.size(1);
  Tensor sum = at::index_select(token, 0, ids.narrow(0, first, texts).reshape({-1}));
  sum.view({texts, T, D}).add_(position.narrow(0, 0, T));
  return sum;
}

Tensor embed_tokens_forward(const Tensor& ids, const TokenEmbeddingTensors& w) {
  const auto B = ids.size(0), T = ids.size(1), D = w.token.size(1);
  Tensor x = at::empty({B, T, D}, w.token.options());
  const auto piece = images_per_piece(x);
  for (std::int64_t first = 0; first < B; first += piece) {
    const auto texts = std::min(piece, B - first);
    const Norm norm =
        normalise(embedding_sum(ids, w.token, w.position, first, texts), w.norm_weight, w.norm_bias);
    x.narrow(0, first, texts).copy_(norm.value.view({texts, T, D}));
  }
  return x;
}

struct TokenEmbedding : torch::autograd::Function<TokenEmbedding> {
  static Tensor forward(AutogradContext* context, const Tensor& ids, const Tensor& token,
                        const Tensor& position, const Tensor& norm_weight, const Tensor& norm_bias) {
    context->save_for_backward({ids, token, position, norm_weight, norm_bias});
    return embed_tokens_forward(ids, {token, position, norm_weight, norm_bias});
  }
  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const auto saved = context->get_saved_variables();
    const Tensor &ids = saved[0], &token = saved[1], &position = saved[2];
    const auto B = ids.size(0), T = ids.size(1), D = token.size(1);
    const Tensor d = gradients[0].contiguous();  // (B, T, D)
    Tensor d_token = at::zeros_like(token), d_position = at::zeros_like(position);
    NormSum norm_sum(saved[3], saved[4], true);
    const auto piece = images_per_piece(d);
    for (std::int64_t first = 0; first < B; first += piece) {
      const auto texts = std::min(piece, B - first);
      const Tensor sum = embedding_sum(ids, token, position, first, texts);
      const Norm norm = normalise(sum, saved[3], saved[4]);
      const Tensor d_sum =
          norm_sum.add(d.narrow(0, first, texts).view({texts * T, D}), sum, norm, /*needs_x=*/true);
      d_token.index_add_(0, ids.narrow(0, first, texts).reshape({-1}), d_sum);
      d_position.narrow(0, 0, T).add_(d_sum.view({texts, T, D}).sum(0));
    }
    return {Tensor(), d_token, d_position, norm_sum.take_weight(), norm_sum.take_bias()};
  }
};

// ---- attention
// ---------------------------------------------------------------------------------------------------

struct AttentionSaved {
  Tensor qkv;      // (B, T, h, 3, d)
  Tensor context;  // (B, queries, h, d)
};

// `keep`: fill `saved` with the whole batch; else only one piece exists at a time.
Tensor attend_forward(const Tensor& x, const AttentionTensors& w, double scale, bool class_token_only,
                      const Tensor& lengths, bool keep, AttentionSaved& saved) {
  const auto B = x.size(0), T = x.size(1), D = x.size(2), h = w.qkv_weight.size(0), d = w.qkv_weight.size(2);
  const auto queries = class_token_only ? 1 : T;
  const auto piece = std::min(B, images_per_piece(x));
  Tensor y = at::add(first_tokens(x, queries), w.out_bias).contiguous();
  saved.qkv = at::empty({keep ? B : piece, T, h, 3, d}, x.options());
  saved.context = at::empty({keep ? B : piece, queries, h, d}, x.options());
  const Tensor qkv_weight = w.qkv_weight.view({h * 3 * d, D}).t();
  for (std::int64_t first = 0; first < B; first += piece) {
    const auto images = std::min(piece, B - first);
    const Norm norm = normalise(x.narrow(0, first, images).view({images * T, D}), w.norm_weight, w.norm_bias);
    const Tensor qkv = saved.qkv.narrow(0, keep ? first : 0, images);
    Tensor qkv_rows = qkv.view({images * T, h * 3 * d});
    at::addmm_out(qkv_rows, w.qkv_bias.view({h * 3 * d}), norm.value, qkv_weight);
    Tensor context = saved.context.narrow(0, keep ? first : 0, images);
    attention_into(qkv, lengths_of(lengths, first, images), context);
    y.narrow(0, first, images)
        .view({images * queries, D})
        .addmm_(context.view({images * queries, h * d}), w.out_weight.view({h * d, D}), 1.0, scale);
  }
  return class_token_only ? y.view({B, D}) : y;
}

struct Attention : torch::autograd::Function<Attention> {
  static Tensor forward(AutogradContext* context, const Tensor& x, const Tensor& norm_weight,
                        const Tensor& norm_bias, const Tensor& qkv_weight, const Tensor& qkv_bias,
                        const Tensor& out_weight, const Tensor& out_bias, double scale, bool class_token_only,
                        const c10::optional<Tensor>& lengths_or_none) {
    const Tensor lengths = lengths_or_none.value_or(Tensor());
    AttentionSaved saved;
    const AttentionTensors w{norm_weight, norm_bias, qkv_weight, qkv_bias, out_weight, out_bias};
    Tensor y = attend_forward(x, w, scale, class_token_only, lengths, true, saved);
    context->save_for_backward(
        {x, norm_weight, norm_bias, qkv_weight, qkv_bias, out_weight, saved.qkv, saved.context, lengths});
    context->saved_data["scale"] = scale;
    return y;
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const auto saved = context->get_saved_variables();
    const Tensor &x = saved[0], &norm_weight = saved[1], &norm_bias = saved[2], &qkv_weight = saved[3];
    const Tensor &out_weight = saved[5], &qkv = saved[6], &heads_out = saved[7], &lengths = saved[8];
    const double scale = context->saved_data["scale"].toDouble();
    const bool needs_x = context->needs_input_grad(0);
    const auto B = x.size(0), T = x.size(1), D = x.size(2), queries = heads_out.size(1);
    const auto h = qkv.size(2), d = qkv.size(4);
    const Tensor d_y = gradients[0].contiguous().view({B, queries, D});
    const Tensor out_weight_t = out_weight.view({h * d, D}).t(), qkv_matrix = qkv_weight.view({h * 3 * d, D});
    const auto needs = [context](std::size_t input) { return context->needs_input_grad(input); };
    NormSum norm_sum(norm_weight, norm_bias, needs(1));
    Sum d_qkv_weight(qkv_weight, needs(3)), d_qkv_bias(saved[4], needs(4)),
        d_out_weight(out_weight, needs(5));
    Tensor d_x = needs_x ? at::empty_like(x) : Tensor();
    const auto piece = images_per_piece(x);
    for (std::int64_t first = 0; first < B; first += piece) {
      const auto images = std::min(piece, B - first);
      const Tensor d_out = d_y.narrow(0, first, images).reshape({images * queries, D});
      d_out_weight.add_product(heads_out.narrow(0, first, images).view({images * queries, h * d}), d_out,
                               scale);
      const Tensor d_context = at::mm(d_out, out_weight_t).mul_(scale).view({images, queries, h, d});
      const Tensor d_qkv =
          attention_gradient(qkv.narrow(0, first, images), lengths_of(lengths, first, images), d_context)
              .view({images * T, h * 3 * d});
      const Tensor x_piece = x.narrow(0, first, images).view({images * T, D});
      const Norm norm = normalise(x_piece, norm_weight, norm_bias);
      d_qkv_weight.add_product(d_qkv, norm.value, 1.0);
      if (d_qkv_bias.needed()) d_qkv_bias.add(d_qkv.sum(0));
      if (!needs_x && !norm_sum.needed()) continue;
      const Tensor d_piece = norm_sum.add(at::mm(d_qkv, qkv_matrix), x_piece, norm, needs_x);
      if (!needs_x) continue;
      Tensor target = d_x.narrow(0, first, images);
      target.copy_(d_piece.view({images, T, D}));
      first_tokens(target, queries).add_(d_y.narrow(0, first, images));  // the residual connection
    }
    const Tensor d_out_bias = d_y.view({B * queries, D}).sum(0);
    return {d_x,
            norm_sum.take_weight(),
            norm_sum.take_bias(),
            d_qkv_weight.take(),
            d_qkv_bias.take(),
            d_out_weight.take(),
            d_out_bias,
            Tensor(),
            Tensor(),
            Tensor()};
  }
};

// ---- feed-forward
// ------------------------------------------------------------------------------------------------

// before (R, f): the values before GELU of all rows where `keep`, of one piece else.
Tensor feed_forward_rows(const Tensor& x, const FeedForwardTensors& w, double scale, bool keep,
                         Tensor& before) {
  const auto R = x.size(0), f = w.fc1_weight.size(0), piece = std::min(R, rows_per_piece(x));
  Tensor y = at::add(x, w.fc2_bias);
  before = at::empty({keep ? R : piece, f}, x.options());
  Tensor after = at::empty({piece, f}, x.options());
  for (std::int64_t first = 0; first < R; first += piece) {
    const auto rows = std::min(piece, R - first);
    const Norm norm = normalise(x.narrow(0, first, rows), w.norm_weight, w.norm_bias);
    Tensor in = before.narrow(0, keep ? first : 0, rows);
    at::addmm_out(in, w.fc1_bias, norm.value, w.fc1_weight.t());
    Tensor out = after.narrow(0, 0, rows);
    gelu_into(in, out);
    y.narrow(0, first, rows).addmm_(out, w.fc2_weight, 1.0, scale);
  }
  return y;
}

struct FeedForward : torch::autograd::Function<FeedForward> {
  static variable_list forward(AutogradContext* context, const Tensor& x, const Tensor& norm_weight,
                               const Tensor& norm_bias, const Tensor& fc1_weight, const Tensor& fc1_bias,
                               const Tensor& fc2_weight, const Tensor& fc2_bias, double scale,
                               bool read_class_token) {
    Tensor before;
    const FeedForwardTensors w{norm_weight, norm_bias, fc1_weight, fc1_bias, fc2_weight, fc2_bias};
    const Tensor y = feed_forward_rows(x.view({-1, x.size(-1)}), w, scale, true, before).view(x.sizes());
    context->save_for_backward({x, norm_weight, norm_bias, fc1_weight, fc1_bias, fc2_weight, before});
    context->saved_data["scale"] = scale;
    context->set_materialize_grads(false);
    if (!read_class_token) return {y};
    return {y, y.select(1, 0).contiguous()};
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const auto saved = context->get_saved_variables();
    const Tensor x = saved[0].view({-1, saved[0].size(-1)});
    const Tensor &norm_weight = saved[1], &norm_bias = saved[2], &fc1_weight = saved[3],
                 &fc2_weight = saved[5];
    const Tensor& before = saved[6];
    const double scale = context->saved_data["scale"].toDouble();
    const bool needs_x = context->needs_input_grad(0);
    const Tensor d_y = output_gradient(saved[0], gradients).view(x.sizes());
    const auto needs = [context](std::size_t input) { return context->needs_input_grad(input); };
    NormSum norm_sum(norm_weight, norm_bias, needs(1));
    Sum d_fc1_weight(fc1_weight, needs(3)), d_fc1_bias(saved[4], needs(4)),
        d_fc2_weight(fc2_weight, needs(5));
    Tensor d_x = needs_x ? at::empty_like(x) : Tensor();
    const auto R = x.size(0), piece = rows_per_piece(x);
    for (std::int64_t first = 0; first < R; first += piece) {
      const auto rows = std::min(piece, R - first);
      const Tensor x_piece = x.narrow(0, first, rows), d_out = d_y.narrow(0, first, rows);
      Tensor d_before = at::mm(d_out, fc2_weight.t());
      d_fc2_weight.add_product(gelu_backward(before.narrow(0, first, rows), d_before, scale), d_out, scale);
      const Norm norm = normalise(x_piece, norm_weight, norm_bias);
      d_fc1_weight.add_product(d_before, norm.value, 1.0);
      if (d_fc1_bias.needed()) d_fc1_bias.add(d_before.sum(0));
      if (!needs_x && !norm_sum.needed()) continue;
      const Tensor d_piece = norm_sum.add(at::mm(d_before, fc1_weight), x_piece, norm, needs_x);
      if (!needs_x) continue;
      Tensor target = d_x.narrow(0, first, rows);
      at::add_out(target, d_piece, d_out);  // the residual connection
    }
    const Tensor d_fc2_bias = d_y.sum(0);
    return {needs_x ? d_x.view(saved[0].sizes()) : d_x,
            norm_sum.take_weight(),
            norm_sum.take_bias(),
            d_fc1_weight.take(),
            d_fc1_bias.take(),
            d_fc2_weight.take(),
            d_fc2_bias,
            Tensor(),
            Tensor()};
  }

 private:
  // The gradient of y with the class token's share added to it. In place: no one else holds this tensor,
  // since y is read by the next block alone.
  static Tensor output_gradient(const Tensor& x, const variable_list& gradients) {
    Tensor d_y = gradients[0].defined() ? gradients[0].contiguous() : at::zeros_like(x);
    if (gradients.size() > 1 && gradients[1].defined()) d_y.select(1, 0).add_(gradients[1]);
    return d_y;
  }
};

}  // namespace

torch::Tensor embed(const torch::Tensor& images, const EmbeddingTensors& w, std::int64_t patch) {
  if (!at::GradMode::is_enabled()) return embed_forward(images, w, patch);
  return Embedding::apply(images, w.patch_weight, w.patch_bias, w.class_token, w.position, patch);
}

torch::Tensor embed_tokens(const torch::Tensor& ids, const TokenEmbeddingTensors& w) {
  const Tensor places = ids.clamp_min(0);  // padding reads some row; nobody reads what becomes of it
  if (!at::GradMode::is_enabled()) return embed_tokens_forward(places, w);
  return TokenEmbedding::apply(places, w.token, w.position, w.norm_weight, w.norm_bias);
}

torch::Tensor attend(const torch::Tensor& x, const AttentionTensors& w, double scale, bool class_token_only,
                     const torch::Tensor& lengths) {
  if (!at::GradMode::is_enabled()) {
    AttentionSaved unused;
    return attend_forward(x, w, scale, class_token_only, lengths, false, unused);
  }
  return Attention::apply(x, w.norm_weight, w.norm_bias, w.qkv_weight, w.qkv_bias, w.out_weight, w.out_bias,
                          scale, class_token_only, c10::optional<Tensor>(lengths));
}

FeedForwardResult feed_forward(const torch::Tensor& x, const FeedForwardTensors& w, double scale,
                               bool read_class_token) {
  if (!at::GradMode::is_enabled()) {
    Tensor unused;
    const Tensor y = feed_forward_rows(x.view({-1, x.size(-1)}), w, scale, false, unused).view(x.sizes());
    return {y, read_class_token ? y.select(1, 0).contiguous() : Tensor()};
  }
  const variable_list result = FeedForward::apply(x, w.norm_weight, w.norm_bias, w.fc1_weight, w.fc1_bias,
                                                  w.fc2_weight, w.fc2_bias, scale, read_class_token);
  return {result[0], read_class_token ? result[1] : Tensor()};
}

}  // namespace cos2p::parts
