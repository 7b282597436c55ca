#include "cos2p/server/policy.hpp"

#include <cmath>
#include <limits>

namespace cos2p {

MergeRule merge_rule(const PolicyOptions& policy) {
  MergeRule rule;
  rule.staleness_bound = policy.staleness_bound;
  switch (policy.kind) {
    case PolicyKind::sync:
      rule.min_updates = std::numeric_limits<int>::max();
      break;
    case PolicyKind::semi_async:
    case PolicyKind::fedbuff:
      rule.min_updates = policy.min_updates;
      rule.deadline_s = policy.deadline_s;
      break;
    case PolicyKind::async:
    case PolicyKind::fedasync:
      rule.min_updates = 1;
      break;
  }
  return rule;
}

double staleness_discount(const PolicyOptions& policy, std::int64_t staleness) {
  const auto d = static_cast<double>(staleness);
  switch (policy.discount) {
    case DiscountKind::constant:
      return 1;
    case DiscountKind::polynomial:
      return std::pow(1 + d, -policy.discount_a);
    case DiscountKind::hinge:
      return d <= policy.discount_b ? 1 : 1 / (policy.discount_a * (d - policy.discount_b) + 1);
  }
  return 1;
}

}  // namespace cos2p
