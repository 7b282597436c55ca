#pragma once

#include <cstdint>

#include "cos2p/config/run_options.hpp"

namespace cos2p {

/// The policies as numbers of one rule.
struct MergeRule {
  int min_updates = 1;      ///< a segment is merged at min(min_updates, its present trainers) updates
  double deadline_s = 0;    ///< or so long after its first update; 0 = never
  int staleness_bound = 0;  ///< versions; staler updates are dropped
};
MergeRule merge_rule(const PolicyOptions& policy);

/// s(delta): how much of an update counts that started `staleness` versions ago (FedAsync, Xie et al. 2019):
/// constant 1; polynomial (1+d)^-a; hinge 1 where d <= b, else 1/(a(d-b)+1).
double staleness_discount(const PolicyOptions& policy, std::int64_t staleness);

}  // namespace cos2p
