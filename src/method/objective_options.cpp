#include "cos2p/method/objective_options.hpp"

#include <algorithm>
#include <cmath>

namespace cos2p {

std::string to_string(ExitLossKind kind) {
  switch (kind) {
    case ExitLossKind::all:
      return "all";
    case ExitLossKind::sum:
      return "sum";
    case ExitLossKind::deepest:
      return "deepest";
    case ExitLossKind::rising:
      return "rising";
  }
  return "unknown";
}

std::string to_string(DistillationKind kind) {
  switch (kind) {
    case DistillationKind::none:
      return "none";
    case DistillationKind::deepest:
      return "deepest";
    case DistillationKind::mutual:
      return "mutual";
  }
  return "unknown";
}

double distillation_weight(const ObjectiveOptions& options, double progress) {
  if (options.distillation == DistillationKind::none || progress < options.distillation_start) return 0;
  const double passed = progress - options.distillation_start;
  const double left =
      passed >= options.distillation_ramp ? 0 : 1 - std::max(0.0, passed / options.distillation_ramp);
  return options.distillation_weight * std::exp(-5 * left * left);
}

}  // namespace cos2p
