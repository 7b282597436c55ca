#pragma once

#include <map>
#include <utility>
#include <vector>

#include "cos2p/checkpoint/checkpoint.hpp"
#include "cos2p/kernels/merge.hpp"
#include "cos2p/plan/submodel_plan.hpp"

namespace cos2p {

/// InclusiveFL's momentum distillation (Liu et al., KDD 2022), on the deltas of the deepest block of clients
/// that do not keep the whole model. Classes are the depths L_1 < L_2 < ... of the fleet's clients of full
/// width. A delta that a client of class i sends for its last block, L_i - 1, counts as
///   (1 - beta) delta + beta mean over l = L_i - 1 .. L_{i+1} - 1 of the mean delta of class i + 1 for block
///   l,
/// taken from the last merge of each of these blocks; as it is, until all of them have been merged once.
class DepthMomentum {
 public:
  DepthMomentum(const SegmentTable& table, const std::vector<Assignment>& clients, double beta);

  /// Changes what the inputs of a merge count; inputs[k] is of clients[k]. May add one input, whose values
  /// are borrowed until the next call.
  void distil(const Segment& segment, const std::vector<std::int32_t>& clients,
              std::vector<MergeInput>& inputs);
  /// Remembers the mean deltas that distil() will need; to be called with each merge's own inputs.
  void learn(const Segment& segment, const std::vector<std::int32_t>& clients,
             const std::vector<MergeInput>& inputs);

  std::vector<ClassDelta> save() const;
  void restore(const std::vector<ClassDelta>& saved);

 private:
  int depth(std::int32_t client) const { return depth_of_client_[static_cast<std::size_t>(client)]; }

  const SegmentTable& table_;
  double beta_;
  std::vector<int> depth_of_client_;  ///< 0: not of full width or not all trained, so of no class
  std::vector<int> depths_;           ///< of the classes, rising
  std::map<std::pair<int, int>, std::vector<float>> means_;  ///< by (depth, segment): last mean delta
  std::vector<float> mean_;                                  ///< lent by distil()
  UnitSet all_units_;
};

}  // namespace cos2p
