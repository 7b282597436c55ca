#include "depth_momentum.hpp"

#include <algorithm>

#include "cos2p/support/error.hpp"

namespace cos2p {
DepthMomentum::DepthMomentum(const SegmentTable& table, const std::vector<Assignment>& clients, double beta)
    : table_(table), beta_(beta) {
  const ModelOptions& m = table.options();
  for (const Assignment& a : clients) {
    const bool whole = a.heads == m.heads && a.neurons == m.feed_forward && a.frozen_blocks == 0;
    depth_of_client_.push_back(whole ? a.kept_blocks : 0);
    if (depth_of_client_.back() > 0) depths_.push_back(depth_of_client_.back());
  }
  std::sort(depths_.begin(), depths_.end());
  depths_.erase(std::unique(depths_.begin(), depths_.end()), depths_.end());
}

void DepthMomentum::distil(const Segment& segment, const std::vector<std::int32_t>& clients,
                           std::vector<MergeInput>& inputs) {
  const auto own = std::find(depths_.begin(), depths_.end(), segment.block + 1);
  if (segment.units == 0 || own == depths_.end() || own + 1 == depths_.end()) return;
  std::vector<const std::vector<float>*> deltas;
  for (int block = segment.block; block < own[1]; ++block) {
    const SegmentId id =
        segment.kind == SegmentKind::attention ? table_.attention(block) : table_.feed_forward(block);
    const auto found = means_.find({own[1], id.value()});
    if (found == means_.end()) return;
    deltas.push_back(&found->second);
  }
  double moved = 0;
  for (std::size_t k = 0; k < clients.size(); ++k) {
    if (depth(clients[k]) != *own) continue;
    const double kept = quantize_weight((1 - beta_) * inputs[k].discounted);
    moved += inputs[k].discounted - kept;
    inputs[k].discounted = kept;
  }
  if (moved == 0) return;
  mean_.assign(static_cast<std::size_t>(segment.numel), 0.0F);
  for (std::size_t i = 0; i < mean_.size(); ++i) {
    double sum = 0;
    for (const std::vector<float>* delta : deltas) sum += static_cast<double>((*delta)[i]);
    mean_[i] = static_cast<float>(sum / static_cast<double>(deltas.size()));
  }
  all_units_ = UnitSet::all(segment.units);
  inputs.push_back({mean_, &all_units_, 0, moved});
}

void DepthMomentum::learn(const Segment& segment, const std::vector<std::int32_t>& clients,
                          const std::vector<MergeInput>& inputs) {
  if (segment.units == 0) return;
  for (std::size_t i = 1; i < depths_.size(); ++i) {
    if (segment.block < depths_[i - 1] - 1 || segment.block >= depths_[i]) continue;
    std::vector<MergeInput> own;
    for (std::size_t k = 0; k < clients.size(); ++k) {
      if (depth(clients[k]) == depths_[i]) own.push_back(inputs[k]);
    }
    if (own.empty()) continue;
    MergeStep step;
    step.deltas = true;
    std::vector<float>& mean = means_[{depths_[i], segment.id.value()}];
    mean.assign(static_cast<std::size_t>(segment.numel), 0.0F);
    MergeKernel(segment, own, nullptr, {}, step).merge(0, mean);
  }
}

std::vector<ClassDelta> DepthMomentum::save() const {
  std::vector<ClassDelta> saved;
  for (const auto& [of, values] : means_) saved.push_back({of.first, of.second, values});
  return saved;
}

void DepthMomentum::restore(const std::vector<ClassDelta>& saved) {
  means_.clear();
  for (const ClassDelta& one : saved) means_[{one.depth, one.segment}] = one.values;
}

}  // namespace cos2p
