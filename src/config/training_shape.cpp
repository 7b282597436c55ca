#include "cos2p/config/run_options.hpp"

namespace cos2p {

TrainingShape training_shape(const LocalTrainingOptions& local, MergeKind merge) {
  TrainingShape shape;
  shape.batch_size = local.batch_size;
  shape.optimizer = local.optimizer;
  shape.momentum = local.momentum > 0;
  shape.micro_batch = local.micro_batch;
  shape.masked = local.weight_mask != WeightMaskKind::none;
  shape.deltas = merge == MergeKind::deltas;
  shape.push_dtype = local.push_dtype;
  shape.overlap = local.overlap;
  shape.hint = local.objective.distillation != DistillationKind::none && local.objective.feature_hint > 0;
  return shape;
}

}  // namespace cos2p
