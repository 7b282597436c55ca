#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "cos2p/model/segment_table.hpp"
#include "cos2p/model/unit_set.hpp"
#include "cos2p/support/packed_values.hpp"

namespace cos2p {

/// How the kept units are spread over the kept blocks: the same share in each, or more in the shallow or in
/// the deep ones. With s the share of a client's heads (or neurons) and x from 0 in the first kept block to 1
/// in the last, a block keeps s^(1/2 + x) of its units (falling) or s^(3/2 - x) (rising): at least one, all
/// where s = 1, and never less where s grows.
enum class WidthBalance : std::int32_t { even, falling, rising };
std::string to_string(WidthBalance kind);

/// Which blocks a client gets, and how wide: what the server decides (the client then chooses the units).
struct Assignment {
  int kept_blocks = 0;    ///< blocks 0 .. kept_blocks-1; the deepest are pruned first; 0 = takes no part
  int frozen_blocks = 0;  ///< embedding and blocks 0 .. frozen_blocks-1 are not trained; < kept_blocks
  int heads = 0;          ///< kept heads in each kept block, >= 1; as width_in() spreads them
  int neurons = 0;        ///< kept neurons in each kept block, >= 1; as width_in() spreads them
  int rolling = 0;  ///< k > 0: this is the deepest of the windows that window_at() takes in turn, from the
                    ///< k-th of the model's on
  WidthBalance width_balance = WidthBalance::even;
  bool takes_part() const { return kept_blocks > 0; }
  bool operator==(const Assignment& o) const {
    return kept_blocks == o.kept_blocks && frozen_blocks == o.frozen_blocks && heads == o.heads &&
           neurons == o.neurons && rolling == o.rolling && width_balance == o.width_balance;
  }
};
Assignment full_assignment(const ModelOptions& model);

/// Kept units of one block.
struct BlockWidth {
  int heads = 0, neurons = 0;
};
BlockWidth width_in(const ModelOptions& model, const Assignment& assignment, int block);
/// What a client keeps and trains in its local round `local_round`: the assignment itself, or, where it is
/// rolling, one of the windows of `kept_blocks - frozen_blocks` trained blocks that end at an exit, from the
/// shallowest (nothing frozen, the embedding trained) to the deepest and again. No block is left out where a
/// window is as long as the largest distance between exits.
Assignment window_at(const SegmentTable& table, const Assignment& assignment, int local_round);
/// How many windows there are; 1 where the assignment is not rolling.
int window_count(const SegmentTable& table, const Assignment& assignment);
/// The widths that ordered dropout draws from (FjORD): the first ceil(i/widths) of the full model's heads and
/// neurons, i = 1 .. widths, as far as they are less than the assignment's; then the assignment itself. Not
/// longer than `widths`, unless that is 0.
std::vector<Assignment> dropout_ladder(const ModelOptions& model, const Assignment& assignment, int widths);
/// Whether a client with this assignment trains (and pushes) the segment, in some round where it is rolling.
bool trains(const SegmentTable& table, const Assignment& assignment, const Segment& segment);
/// Throws Error(usage) for windows and widths that do not fit the model: the deepest kept block must have an
/// exit.
void check_assignment(const SegmentTable& table, const Assignment& assignment);

enum class OptimizerKind { sgd, adamw };

/// What of local training decides its cost.
struct TrainingShape {
  int batch_size = 32;
  OptimizerKind optimizer = OptimizerKind::sgd;
  bool momentum = true;  ///< SGD keeps a momentum buffer
  bool deltas = false;   ///< the received values of what is trained are kept, to push the difference
  bool masked = false;   ///< blocks read a copy of their matrices with zeros in it (model/weight_mask.hpp)
  /// Samples at a time, whose gradients are added up to the batch's: their activations are fewer, but the
  /// gradients of all weights exist all the time. 0 = the whole batch.
  int micro_batch = 0;
  bool hint = false;  ///< shallower exits learn the features of the deepest (feature_hint())
  /// Of what is pushed; unless it is float32, what rounding took from it is kept, in bf16.
  ValueType push_dtype = ValueType::float32;
  bool overlap = false;  ///< transfers run beside computing, on copies of what is pulled and pushed
  bool accumulates() const { return micro_batch > 0 && micro_batch < batch_size; }
};

/// Predicted memory of a training step on a CPU, bytes: what exists at the moment when the most exists, so
/// that the parts add up to the peak (gradients are few while most activations are there, and the other way
/// round). The program itself (libraries, BLAS buffers) is not part of it.
struct MemoryEstimate {
  /// Of all held segments; of those trained also what was received (deltas) and what rounding took
  /// (push_dtype); with `overlap`, the copies that are transferred.
  std::int64_t weights = 0;
  std::int64_t gradients = 0;    ///< those that exist at that moment; frozen segments have none
  std::int64_t optimizer = 0;    ///< one float per trained one with momentum, two with AdamW
  std::int64_t activations = 0;  ///< the batch, and what the forward pass keeps for the backward pass
  std::int64_t workspace = 0;    ///< gradients of activations and the pieces that a part works on
  std::int64_t total() const { return weights + gradients + optimizer + activations + workspace; }
};

struct PlanCost {
  std::int64_t parameters = 0, trained_parameters = 0;
  double forward_flops = 0, step_flops = 0;  ///< of one batch; multiply and add counted as two
  MemoryEstimate memory;
  std::int64_t pull_bytes = 0,
               push_bytes =
                   0;  ///< of one round: full segments down, kept units of trained segments up, packed
  /// With `overlap`: of both, and one segment more, which replaces its copy when all of it is here.
  std::int64_t copy_bytes = 0;
};
/// Costs depend only on how many units are kept, not on which. FLOPs are those of matrix products that are
/// really computed: of the deepest kept block, the class token's row alone where no other is read. Throws
/// Error(usage) for an assignment that does not fit the model.
PlanCost estimate_cost(const SegmentTable& table, const Assignment& assignment,
                       const TrainingShape& training);

/// How a client learns which of its units are worth keeping: weights frozen, and a gate on the output of each
/// candidate unit.
struct MaskPhase {
  int batch_size = 0;          ///< images a step; 0 = there is nothing to choose, or no room to choose in
  int heads = 0, neurons = 0;  ///< candidates in each kept block, at least as many as are kept
  std::int64_t memory = 0;     ///< predicted peak, bytes
  double step_flops = 0;
};
/// The phase with the most candidates, and then the largest batch (at least a quarter of a training batch),
/// that needs no more memory than a training step of this assignment.
MaskPhase plan_mask_phase(const SegmentTable& table, const Assignment& assignment,
                          const TrainingShape& training);

/// A submodel, complete: blocks, units, and the map between its rows and the full model's. A value:
/// immutable, and two compare equal if and only if they train the same thing. The table must live as long as
/// the plan.
class SubmodelPlan {
 public:
  /// `heads` and `neurons` hold one set per kept block. Throws Error(usage) for windows and sets that do not
  /// fit the model.
  SubmodelPlan(const SegmentTable& table, int kept_blocks, int frozen_blocks, std::vector<UnitSet> heads,
               std::vector<UnitSet> neurons);
  static SubmodelPlan full(const SegmentTable& table);

  const SegmentTable& table() const { return *table_; }
  int kept_blocks() const { return kept_blocks_; }
  int frozen_blocks() const { return frozen_blocks_; }
  const std::vector<UnitSet>& heads() const { return heads_; }
  const std::vector<UnitSet>& neurons() const { return neurons_; }
  bool holds(SegmentId id) const;
  bool trains(SegmentId id) const;
  std::vector<SegmentId> held_segments() const;  ///< in table order
  std::vector<SegmentId> trained_segments() const;
  const UnitSet& units(SegmentId id) const;  ///< empty set for segments without units
  /// Index in the full segment of element `index` of the submodel's segment; throws Error(internal) past the
  /// end.
  std::int64_t full_index(SegmentId id, std::int64_t index) const;
  bool operator==(const SubmodelPlan& other) const;
  bool operator!=(const SubmodelPlan& other) const { return !(*this == other); }

 private:
  const SegmentTable* table_;
  int kept_blocks_, frozen_blocks_;
  std::vector<UnitSet> heads_, neurons_;
};

}  // namespace cos2p
