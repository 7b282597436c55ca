#include "cos2p/config/run_options.hpp"

namespace cos2p {

MergeKind pushed_kind(const PolicyOptions& policy, ValueType push_dtype) {
  return policy.lockstep() && push_dtype == ValueType::float32 ? MergeKind::values : policy.merge;
}

TrainingShape training_shape(const LocalTrainingOptions& local, MergeKind pushed) {
  TrainingShape shape;
  shape.batch_size = local.batch_size;
  shape.optimizer = local.optimizer;
  shape.momentum = local.momentum > 0;
  shape.micro_batch = local.micro_batch;
  shape.masked = local.weight_mask != WeightMaskKind::none;
  shape.deltas = pushed == MergeKind::deltas;
  shape.push_dtype = local.push_dtype;
  shape.overlap = local.overlap;
  shape.hint = local.objective.distillation != DistillationKind::none && local.objective.feature_hint > 0;
  return shape;
}

}  // namespace cos2p
