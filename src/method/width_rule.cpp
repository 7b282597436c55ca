#include "cos2p/method/width_rule.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <utility>

#include "cos2p/support/error.hpp"
#include "cos2p/support/narrow.hpp"

namespace cos2p {

std::string to_string(WidthRule rule) {
  switch (rule) {
    case WidthRule::magnitude:
      return "magnitude";
    case WidthRule::prefix:
      return "prefix";
    case WidthRule::rolling:
      return "rolling";
    case WidthRule::random:
      return "random";
    case WidthRule::covering:
      return "covering";
    case WidthRule::taylor:
      return "taylor";
    case WidthRule::straight_through:
      return "straight-through";
    case WidthRule::hard_concrete:
      return "hard-concrete";
  }
  return "unknown";
}

bool needs_data(WidthRule rule) {
  return rule == WidthRule::taylor || rule == WidthRule::straight_through || rule == WidthRule::hard_concrete;
}

UnitSet prefix_units(std::int64_t total, std::int64_t count) {
  return rolling_units(total, count, 0);
}

UnitSet rolling_units(std::int64_t total, std::int64_t count, std::int64_t shift) {
  COS2P_ASSERT(count >= 0 && count <= total && total > 0 && shift >= 0);
  std::vector<std::int32_t> kept;
  for (std::int64_t j = 0; j < count; ++j)
    kept.push_back(narrow<std::int32_t>((j + total - shift % total) % total));
  std::sort(kept.begin(), kept.end());
  return UnitSet(total, std::move(kept));
}

UnitSet random_units(std::int64_t total, std::int64_t count, Rng& rng) {
  return covering_units(total, count, 0, rng);
}

UnitSet covering_units(std::int64_t total, std::int64_t count, std::int64_t start, Rng& order) {
  COS2P_ASSERT(count >= 0 && count <= total && start >= 0);
  std::vector<std::int32_t> drawn(static_cast<std::size_t>(total)), kept;
  std::iota(drawn.begin(), drawn.end(), 0);
  order.shuffle(drawn);
  for (std::int64_t j = 0; j < count; ++j)
    kept.push_back(drawn[static_cast<std::size_t>((start + j) % total)]);
  std::sort(kept.begin(), kept.end());
  return UnitSet(total, std::move(kept));
}

UnitSet top_units(Span<const double> scores, std::int64_t count) {
  COS2P_ASSERT(count >= 0 && count <= narrow<std::int64_t>(scores.size()));
  // A score that is not a number would break the order of the sort.
  const auto score = [&scores](std::int32_t unit) {
    const double value = scores[static_cast<std::size_t>(unit)];
    return std::isnan(value) ? -std::numeric_limits<double>::infinity() : value;
  };
  std::vector<std::int32_t> order(scores.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&score](std::int32_t a, std::int32_t b) { return score(a) > score(b); });
  order.resize(static_cast<std::size_t>(count));
  std::sort(order.begin(), order.end());
  return UnitSet(narrow<std::int64_t>(scores.size()), std::move(order));
}

std::vector<double> unit_magnitudes(const Segment& segment, Span<const float> values) {
  COS2P_ASSERT(static_cast<std::int64_t>(values.size()) == segment.numel);
  std::vector<double> norms(static_cast<std::size_t>(segment.units), 0.0);
  for (const TensorSpec& tensor : segment.tensors) {
    if (!tensor.per_unit) continue;
    const float* row = values.data() + tensor.offset;
    for (double& square : norms) {
      for (std::int64_t i = 0; i < tensor.row(); ++i) square += double{row[i]} * double{row[i]};
      row += tensor.row();
    }
  }
  for (double& norm : norms) norm = std::sqrt(norm);
  return norms;
}

}  // namespace cos2p
