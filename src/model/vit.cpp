#include "cos2p/model/vit.hpp"

#include <torch/torch.h>

#include <utility>

#include "cos2p/model/step_shape.hpp"
#include "cos2p/model/weight_mask.hpp"
#include "cos2p/support/error.hpp"
#include "vit_parts.hpp"

namespace cos2p {
namespace {

using torch::Tensor;

// A submodel with half of the units gives half of the sum; scaled up, blocks above see what they were trained
// to see.
double kept_scale(const UnitSet& units, std::int64_t computed, bool scaled) {
  return scaled ? static_cast<double>(units.total()) / static_cast<double>(computed) : 1.0;
}

// The rows of the first units of a tensor with the units as axis 0: contiguous.
Tensor first_units(const Tensor& tensor, std::int64_t count) {
  return count < tensor.size(0) ? tensor.narrow(0, 0, count) : tensor;
}

}  // namespace

VitShape VitShape::full(const ModelOptions& options) {
  VitShape shape;
  shape.kept_blocks = options.blocks;
  shape.heads.assign(static_cast<std::size_t>(options.blocks), UnitSet::all(options.heads));
  shape.neurons.assign(static_cast<std::size_t>(options.blocks), UnitSet::all(options.feed_forward));
  return shape;
}

Vit::Vit(const SegmentTable& table, VitShape shape, torch::Device device)
    : table_(table), shape_(std::move(shape)), device_(device) {
  const auto kept = static_cast<std::size_t>(shape_.kept_blocks);
  COS2P_ASSERT(shape_.kept_blocks >= 1 && shape_.kept_blocks <= table.options().blocks);
  COS2P_ASSERT(shape_.frozen_blocks >= 0 && shape_.frozen_blocks <= shape_.kept_blocks);
  COS2P_ASSERT(shape_.heads.size() == kept && shape_.neurons.size() == kept);
  COS2P_ASSERT(table.exit_head(shape_.kept_blocks - 1).valid());
  for (const Segment& segment : table) {
    if (segment.block >= shape_.kept_blocks) continue;
    const UnitSet& kept_units = units(segment.id);
    COS2P_ASSERT(kept_units.total() == segment.units && (segment.units == 0 || kept_units.size() > 0));
    segments_.push_back(segment.id);
    if (segment.kind == SegmentKind::exit_head) exit_blocks_.push_back(segment.block);

    const auto options = torch::TensorOptions().dtype(torch::kFloat32).device(device);
    Tensor flat = torch::zeros({segment.numel_with(kept_units.size())}, options);
    std::int64_t offset = 0;
    for (const TensorSpec& spec : segment.tensors) {
      std::vector<std::int64_t> sizes = spec.shape;
      if (spec.per_unit) sizes[0] = kept_units.size();
      const std::int64_t numel = spec.per_unit ? spec.row() * kept_units.size() : spec.numel();
      // detach() makes the view a leaf that shares the flat tensor's storage and version counter.
      Tensor leaf = flat.narrow(0, offset, numel).view(sizes).detach();
      leaf.set_requires_grad(trains(segment.id));
      tensors_[segment.id.value()].emplace(spec.name, leaf);
      offset += numel;
    }
    COS2P_ASSERT(offset == flat.numel());
    flat_.emplace(segment.id.value(), std::move(flat));
  }
}

bool Vit::trains(SegmentId id) const {
  const Segment& segment = table_[id];
  if (segment.block >= shape_.kept_blocks) return false;
  return shape_.frozen_blocks == 0 || segment.block >= shape_.frozen_blocks;
}

std::vector<SegmentId> Vit::trained_segments() const {
  std::vector<SegmentId> trained;
  for (SegmentId id : segments_) {
    if (trains(id)) trained.push_back(id);
  }
  return trained;
}

const UnitSet& Vit::units(SegmentId id) const {
  const Segment& segment = table_[id];
  if (segment.kind == SegmentKind::attention) return shape_.heads.at(static_cast<std::size_t>(segment.block));
  if (segment.kind == SegmentKind::feed_forward)
    return shape_.neurons.at(static_cast<std::size_t>(segment.block));
  return no_units_;
}

Tensor Vit::flat(SegmentId id) const {
  return flat_.at(id.value());
}

Tensor Vit::tensor(SegmentId id, const std::string& name) const {
  return tensors_.at(id.value()).at(name);
}

Tensor Vit::matrix(SegmentId id, const std::string& name) const {
  return threshold_ ? mask_by_magnitude(tensor(id, name), *threshold_) : tensor(id, name);
}

std::vector<Tensor> Vit::parameters() const {
  std::vector<Tensor> parameters;
  for (SegmentId id : segments_) {
    if (!trains(id)) continue;
    for (const TensorSpec& spec : table_[id].tensors) parameters.push_back(tensor(id, spec.name));
  }
  return parameters;
}

Tensor Vit::embed(const Tensor& input) const {
  const ModelOptions& options = table_.options();
  const auto& w = tensors_.at(table_.embedding().value());
  if (options.reads_texts()) {
    if (input.dim() != 2 || input.size(1) > options.max_length || input.scalar_type() != torch::kInt32) {
      fail(ExitCode::internal, "a batch of texts does not fit the model (expected int32 (B, up to {}))",
           options.max_length);
    }
    return parts::embed_tokens(input,
                               {w.at("token"), w.at("position"), w.at("norm.weight"), w.at("norm.bias")});
  }
  if (input.dim() != 4 || input.size(1) != options.channels || input.size(2) != options.image_height ||
      input.size(3) != options.image_width || input.scalar_type() != torch::kFloat32) {
    fail(ExitCode::internal, "a batch of images does not fit the model (expected float32 (B, {}, {}, {}))",
         options.channels, options.image_height, options.image_width);
  }
  return parts::embed(input,
                      {w.at("patch.weight"), w.at("patch.bias"), w.at("class_token"), w.at("position")},
                      options.patch);
}

std::vector<Tensor> Vit::forward(const Tensor& input, bool training, const VitGates* gates,
                                 const VitWidth* width, std::vector<Tensor>* features) const {
  const bool gradients = at::GradMode::is_enabled();
  std::vector<Tensor> logits;
  Tensor x, lengths;  // (B, T, D), and of texts (B) on the CPU
  if (table_.options().reads_texts()) lengths = (input >= 0).sum(1).to(torch::kCPU);
  {
    const at::AutoGradMode mode(gradients && shape_.frozen_blocks == 0);
    x = embed(input);
  }
  for (int block = 0; block < shape_.kept_blocks; ++block) {
    const at::AutoGradMode mode(gradients && (gates != nullptr || block >= shape_.frozen_blocks));
    const VitWidth* narrowed = block >= shape_.frozen_blocks ? width : nullptr;  // frozen blocks stay whole
    Tensor class_token;  // (B, D), where the block has an exit
    x = run_block(block, std::move(x), training, lengths, gates, narrowed, class_token);
    if (!class_token.defined()) continue;
    logits.push_back(run_exit(table_.exit_head(block), class_token));
    if (features != nullptr) features->push_back(class_token);
  }
  return logits;
}

// x (B, T, D) -> (B, T, D), or (B, D) from the deepest block; `exit_input` gets the class token (B, D) that
// the block's exit reads.
Tensor Vit::run_block(int block, Tensor x, bool training, const Tensor& lengths, const VitGates* gates,
                      const VitWidth* width, Tensor& exit_input) const {
  const bool scaled = training && shape_.scale_kept_units;
  const bool deepest = block + 1 == shape_.kept_blocks;
  const SegmentId exit = table_.exit_head(block);
  const UnitSet &kept_heads = units(table_.attention(block)),
                &kept_neurons = units(table_.feed_forward(block));
  const std::int64_t heads = width != nullptr ? width->heads : kept_heads.size(),
                     neurons = width != nullptr ? width->neurons : kept_neurons.size();
  COS2P_ASSERT(heads >= 1 && heads <= kept_heads.size() && neurons >= 1 && neurons <= kept_neurons.size());
  // A unit's output enters through its row of the output matrix, so that is where its gate stands.
  const auto b = static_cast<std::size_t>(block);
  const SegmentId attention = table_.attention(block), feed_forward = table_.feed_forward(block);
  const auto& a = tensors_.at(attention.value());
  const Tensor heads_out = matrix(attention, "out.weight");
  x = parts::attend(
      x,
      {a.at("norm.weight"), a.at("norm.bias"), first_units(matrix(attention, "qkv.weight"), heads),
       first_units(a.at("qkv.bias"), heads),
       first_units(gates != nullptr ? heads_out * gates->heads[b].view({-1, 1, 1}) : heads_out, heads),
       a.at("out.bias")},
      kept_scale(kept_heads, heads, scaled), deepest, lengths);
  const auto& f = tensors_.at(feed_forward.value());
  const Tensor neurons_out = matrix(feed_forward, "fc2.weight");
  parts::FeedForwardResult result = parts::feed_forward(
      x,
      {f.at("norm.weight"), f.at("norm.bias"), first_units(matrix(feed_forward, "fc1.weight"), neurons),
       first_units(f.at("fc1.bias"), neurons),
       first_units(gates != nullptr ? neurons_out * gates->neurons[b].view({-1, 1}) : neurons_out, neurons),
       f.at("fc2.bias")},
      kept_scale(kept_neurons, neurons, scaled), exit.valid() && !deepest);
  if (exit.valid()) exit_input = deepest ? result.y : result.class_token;
  return result.y;
}

Tensor Vit::run_exit(SegmentId exit, const Tensor& class_token) const {
  const auto& head = tensors_.at(exit.value());
  const Tensor normed = at::layer_norm(class_token, {table_.options().dim}, head.at("norm.weight"),
                                       head.at("norm.bias"), kLayerNormEpsilon);
  return at::linear(normed, head.at("linear.weight"), head.at("linear.bias"));
}

}  // namespace cos2p
