// What a training step costs, derived from what the model's parts compute and keep (src/model/vit_parts.cpp):
// a change there is a change here, and the test that compares prediction and measurement says so.

#include <algorithm>
#include <vector>

#include "cos2p/model/step_shape.hpp"
#include "cos2p/plan/submodel_plan.hpp"

namespace cos2p {
namespace {

constexpr std::int64_t kFloat = sizeof(float);

/// One part of the model (embedding, attention, feed-forward, exit head), in the order of the forward pass.
/// Sizes in floats.
struct PartCost {
  bool trained = false;
  std::int64_t parameters = 0;
  std::int64_t largest_tensor = 0;
  std::int64_t full_parameters = 0;    // of the full model's segment
  std::int64_t masked = 0;             // copies of matrices with zeros in them
  std::int64_t saved = 0;              // kept from its forward to its backward
  std::int64_t forward_workspace = 0;  // exists while the forward runs, output included
  std::int64_t backward_workspace =
      0;  // exists while the backward runs, gradients of input and output included
  double forward_flops = 0, backward_flops = 0;
  // where only gates on the units are trained
  std::int64_t gated = 0;  // output rows times gates, kept to the backward
  double gate_backward_flops = 0;
};

/// The sizes that the formulas are made of.
struct Sizes {
  std::int64_t batch, tokens, dim, head_dim, classes, patch_values, heads, neurons;
  std::int64_t rows() const { return batch * tokens; }
};

double product_flops(std::int64_t rows, std::int64_t inner, std::int64_t columns) {
  return 2.0 * static_cast<double>(rows) * static_cast<double>(inner) * static_cast<double>(columns);
}

void fill_parameters(PartCost& part, const Segment& segment, std::int64_t kept_units) {
  part.parameters = segment.numel_with(kept_units);
  part.full_parameters = segment.numel;
  for (const TensorSpec& tensor : segment.tensors) {
    const std::int64_t numel = tensor.per_unit ? tensor.row() * kept_units : tensor.numel();
    part.largest_tensor = std::max(part.largest_tensor, numel);
    if (tensor.is_block_matrix()) part.masked += numel;
  }
}

PartCost embedding_part(const Sizes& s) {
  PartCost part;
  const std::int64_t patches = s.batch * (s.tokens - 1);
  part.forward_workspace = patches * (s.patch_values + s.dim) + s.rows() * s.dim;
  part.backward_workspace = s.rows() * s.dim + patches * (s.patch_values + s.dim);
  part.forward_flops = product_flops(patches, s.patch_values, s.dim);
  part.backward_flops = part.forward_flops;  // images need no gradient
  return part;
}

PartCost token_embedding_part(const Sizes& s) {
  PartCost part;
  // A piece's sum of embeddings, its norm and, backwards, the gradients of both; looked up, not multiplied.
  const std::int64_t piece = std::min(s.batch, images_at_a_time(s.tokens)) * s.tokens;
  part.saved = s.rows();  // the ids without padding
  part.forward_workspace = s.rows() * s.dim + 2 * piece * s.dim;
  part.backward_workspace = s.rows() * s.dim + 3 * piece * s.dim;
  return part;
}

PartCost attention_part(const Sizes& s, bool deepest, bool input_needs_gradient) {
  PartCost part;
  const std::int64_t width = s.heads * s.head_dim;
  const std::int64_t queries = deepest ? 1 : s.tokens, asking_rows = s.batch * queries;
  const std::int64_t piece = std::min(s.batch, images_at_a_time(s.tokens)) * s.tokens;
  const std::int64_t output = asking_rows * s.dim;
  part.saved = s.rows() * s.dim + s.rows() * 3 * width + asking_rows * width;
  part.forward_workspace = output + piece * s.dim;
  part.backward_workspace =
      output + (input_needs_gradient ? s.rows() * s.dim : 0) + piece * (4 * width + 3 * s.dim);
  const double core = 2 * product_flops(s.batch * s.heads * queries, s.head_dim, s.tokens);
  const double products =
      product_flops(s.rows(), s.dim, 3 * width) + product_flops(asking_rows, width, s.dim);
  part.forward_flops = products + core;
  part.backward_flops = 2 * products + 2.5 * core;  // of the core: scores again, then four products
  part.gated = width * s.dim;
  part.gate_backward_flops = products + product_flops(asking_rows, width, s.dim) + 2.5 * core;
  return part;
}

PartCost feed_forward_part(const Sizes& s, bool deepest) {
  PartCost part;
  const std::int64_t rows = deepest ? s.batch : s.rows(), piece = std::min(rows, kRowsAtATime);
  part.saved = rows * (s.dim + s.neurons);
  part.forward_workspace = rows * s.dim + piece * (s.dim + s.neurons);
  part.backward_workspace = 2 * rows * s.dim + piece * (s.neurons + std::max(s.neurons, 3 * s.dim));
  part.forward_flops = 2 * product_flops(rows, s.dim, s.neurons);
  part.backward_flops = 2 * part.forward_flops;
  part.gated = s.neurons * s.dim;
  part.gate_backward_flops = 1.5 * part.forward_flops;  // not the gradient of fc1.weight
  return part;
}

PartCost exit_part(const Sizes& s, bool hint) {
  PartCost part;
  part.saved =
      s.batch * (2 * s.dim + 3 * s.classes);  // class tokens, normalised; logits and two of the loss's
  part.forward_workspace = s.batch * s.classes;
  part.backward_workspace = s.batch * (2 * s.dim + 2 * s.classes);
  if (hint) part.saved += s.batch * s.dim;  // the features without the norm's weights
  part.forward_flops = product_flops(s.batch, s.dim, s.classes);
  part.backward_flops = 2 * part.forward_flops;
  part.gate_backward_flops = part.forward_flops;
  return part;
}

std::vector<PartCost> parts_of(const SegmentTable& table, const Assignment& a,
                               const TrainingShape& training) {
  const ModelOptions& m = table.options();
  Sizes sizes{training.batch_size,
              m.tokens(),
              m.dim,
              m.head_dim(),
              m.classes,
              table[table.embedding()].tensors[0].shape[1],
              a.heads,
              a.neurons};
  std::vector<PartCost> parts;
  for (const Segment& segment : table) {
    if (segment.block >= a.kept_blocks) continue;
    const bool deepest = segment.block + 1 == a.kept_blocks;
    const bool trained = a.frozen_blocks == 0 || segment.block >= a.frozen_blocks;
    // Frozen blocks keep all their units.
    const BlockWidth kept = width_in(m, a, std::max(0, segment.block));
    sizes.heads = trained ? kept.heads : m.heads;
    sizes.neurons = trained ? kept.neurons : m.feed_forward;
    PartCost part;
    switch (segment.kind) {
      case SegmentKind::embedding:
        part = m.reads_texts() ? token_embedding_part(sizes) : embedding_part(sizes);
        break;
      case SegmentKind::attention:
        part = attention_part(sizes, deepest, a.frozen_blocks == 0 || segment.block > a.frozen_blocks);
        break;
      case SegmentKind::feed_forward:
        part = feed_forward_part(sizes, deepest);
        break;
      case SegmentKind::exit_head:
        part = exit_part(sizes, training.hint);
        break;
    }
    const std::int64_t units = segment.kind == SegmentKind::attention ? sizes.heads : sizes.neurons;
    fill_parameters(part, segment, segment.units > 0 ? units : 0);
    part.trained = trained;
    if (!training.masked) part.masked = 0;
    part.saved += part.masked;
    if (!part.trained) part.forward_workspace += part.masked;
    parts.push_back(part);
  }
  return parts;
}

/// Walks through a step and remembers the moment when the most exists.
class Peak {
 public:
  Peak(std::int64_t weights, std::int64_t optimizer) {
    largest_.weights = weights * kFloat;
    largest_.optimizer = optimizer * kFloat;
  }
  void visit(std::int64_t gradients, std::int64_t activations, std::int64_t workspace) {
    MemoryEstimate now = largest_;
    now.gradients = gradients * kFloat;
    now.activations = activations * kFloat;
    now.workspace = workspace * kFloat;
    if (now.total() > largest_.total()) largest_ = now;
  }
  const MemoryEstimate& largest() const { return largest_; }

 private:
  MemoryEstimate largest_;
};

std::int64_t optimizer_floats(const TrainingShape& training, std::int64_t trained) {
  if (training.optimizer == OptimizerKind::adamw) return 2 * trained;
  return training.momentum ? trained : 0;
}

/// What rounding took from updates, two bytes each, in floats.
std::int64_t lost_floats(const TrainingShape& training, std::int64_t trained) {
  return training.push_dtype == ValueType::float32 ? 0 : (trained + 1) / 2;
}

/// `batch`: floats of the samples that are there at a time.
MemoryEstimate peak_memory(const std::vector<PartCost>& parts, std::int64_t batch, const PlanCost& cost,
                           const TrainingShape& training) {
  // Where gradients are added up, those of all weights stay from one piece of the batch to the next.
  const std::int64_t added_up = training.accumulates() ? cost.trained_parameters : 0;
  Peak peak(cost.parameters + (training.deltas ? cost.trained_parameters : 0) +
                lost_floats(training, cost.trained_parameters),
            optimizer_floats(training, cost.trained_parameters));
  std::int64_t saved = batch, input = 0;
  for (const PartCost& part : parts) {
    // A frozen part keeps nothing, but what it reads is there while it works.
    if (part.trained) saved += part.saved;
    peak.visit(added_up, saved + (part.trained ? 0 : input), part.forward_workspace);
    input = part.forward_workspace;
  }
  std::int64_t gradients = added_up, largest = 0;
  for (auto part = parts.rbegin(); part != parts.rend(); ++part) {
    if (!part->trained) continue;
    const std::int64_t fresh = part->parameters;  // a part's gradients exist before they are added
    if (added_up == 0) gradients += fresh;
    largest = std::max(largest, part->largest_tensor);
    peak.visit(gradients, saved, part->backward_workspace + (added_up == 0 ? 0 : fresh));
    saved -= part->saved;
    // The masked matrix's gradient becomes the matrix's by way of two temporaries.
    if (part->masked > 0) peak.visit(gradients, saved + part->masked, 3 * part->largest_tensor);
  }
  // The optimizer works tensor by tensor; AdamW makes two temporaries of one, weight decay makes one.
  peak.visit(gradients, batch, (training.optimizer == OptimizerKind::adamw ? 2 : 1) * largest);
  return peak.largest();
}

/// Of a batch of images, or of texts of the greatest length: ids of word pieces have four bytes, as a float
/// has.
std::int64_t batch_floats(const ModelOptions& m, std::int64_t batch) {
  return batch * (m.reads_texts() ? m.max_length : m.image_values());
}

/// Of one batch of a mask phase: frozen weights, no optimizer, gates on the units of every kept block.
struct MaskCost {
  std::int64_t memory = 0;
  double flops = 0;
};

MaskCost mask_cost(const SegmentTable& table, const Assignment& candidates, const TrainingShape& training) {
  const std::vector<PartCost> parts = parts_of(table, candidates, training);
  std::int64_t weights = 0, largest = 0;
  std::int64_t saved = batch_floats(table.options(), training.batch_size);
  MaskCost cost;
  for (const PartCost& part : parts) {
    weights += part.parameters;
    if (&part != &parts.front()) saved += part.saved + part.gated;  // the embedding keeps nothing
    largest = std::max(largest, saved + part.forward_workspace);
    cost.flops += part.forward_flops + part.gate_backward_flops;
  }
  for (auto part = parts.rbegin(); part + 1 != parts.rend(); ++part) {
    // The gradient of the gated rows, and its product with them.
    largest = std::max(largest, saved + part->backward_workspace + 2 * part->gated);
    saved -= part->saved + part->gated;
  }
  cost.memory = (weights + largest) * kFloat;
  return cost;
}

/// Its step is one pass over arrays that exist all the time (LinearTraining).
PlanCost linear_cost(const SegmentTable& table, const TrainingShape& training) {
  const ModelOptions& m = table.options();
  const std::int64_t parameters = table.parameters(), batch = training.batch_size;
  PlanCost cost;
  cost.parameters = cost.trained_parameters = parameters;
  cost.forward_flops = product_flops(batch, m.image_values(), m.classes);
  cost.step_flops = 2 * cost.forward_flops;  // images need no gradient
  cost.memory.gradients = parameters * kFloat;
  cost.memory.weights = ((training.deltas ? 2 : 1) * parameters + lost_floats(training, parameters)) * kFloat;
  cost.memory.optimizer = optimizer_floats(training, parameters) * kFloat;
  cost.memory.activations = (batch_floats(m, batch) + batch * m.classes) * kFloat;
  cost.pull_bytes = parameters * kFloat;
  cost.push_bytes = packed_bytes(training.push_dtype, parameters);
  if (training.overlap) cost.copy_bytes = 2 * cost.pull_bytes + cost.push_bytes;
  cost.memory.weights += cost.copy_bytes;
  return cost;
}

}  // namespace

MaskPhase plan_mask_phase(const SegmentTable& table, const Assignment& assignment,
                          const TrainingShape& training) {
  constexpr int kWidths = 16;     // steps between all units and those kept
  constexpr int kLeastShare = 4;  // of a training batch: fewer images say too little about a unit
  const ModelOptions& m = table.options();
  const PlanCost step = estimate_cost(table, assignment, training);
  // These live here too.
  const std::int64_t lost = lost_floats(training, step.trained_parameters) * kFloat + step.copy_bytes;
  const std::int64_t limit = step.memory.total() - lost;
  const int least_batch = std::max(1, training.batch_size / kLeastShare);
  Assignment candidates = assignment;
  candidates.frozen_blocks = 0;
  for (int width = kWidths; width > 0; --width) {
    candidates.heads = assignment.heads + (m.heads - assignment.heads) * width / kWidths;
    candidates.neurons = assignment.neurons + (m.feed_forward - assignment.neurons) * width / kWidths;
    if (candidates.heads == assignment.heads && candidates.neurons == assignment.neurons) break;
    TrainingShape shape = training;
    for (; shape.batch_size >= least_batch; shape.batch_size = (shape.batch_size + 1) / 2) {
      const MaskCost cost = mask_cost(table, candidates, shape);
      if (cost.memory <= limit)
        return {shape.batch_size, candidates.heads, candidates.neurons, cost.memory + lost, cost.flops};
      if (shape.batch_size == 1) break;
    }
  }
  return {0, assignment.heads, assignment.neurons, 0, 0};
}

PlanCost estimate_cost(const SegmentTable& table, const Assignment& assignment,
                       const TrainingShape& training) {
  check_assignment(table, assignment);
  if (table.options().linear()) return linear_cost(table, training);
  const std::vector<PartCost> parts = parts_of(table, assignment, training);
  PlanCost cost;
  std::int64_t largest_pull = 0;
  for (const PartCost& part : parts) {
    cost.parameters += part.parameters;
    cost.pull_bytes += part.full_parameters * kFloat;
    largest_pull = std::max(largest_pull, part.full_parameters * kFloat);
    cost.forward_flops += part.forward_flops;
    cost.step_flops += part.forward_flops;
    if (!part.trained) continue;
    cost.trained_parameters += part.parameters;
    cost.push_bytes += packed_bytes(training.push_dtype, part.parameters);
    cost.step_flops += part.backward_flops;
  }
  const ModelOptions& m = table.options();
  if (training.accumulates()) {
    TrainingShape piece = training;
    piece.batch_size = training.micro_batch;
    cost.memory =
        peak_memory(parts_of(table, assignment, piece), batch_floats(m, piece.batch_size), cost, training);
  } else {
    cost.memory = peak_memory(parts, batch_floats(m, training.batch_size), cost, training);
  }
  if (training.overlap) cost.copy_bytes = cost.pull_bytes + largest_pull + cost.push_bytes;
  cost.memory.weights += cost.copy_bytes;
  return cost;
}

}  // namespace cos2p
