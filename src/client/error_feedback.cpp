#include "error_feedback.hpp"

#include <algorithm>

namespace cos2p {
namespace {

Span<std::uint16_t> halves(torch::Tensor& tensor) {
  return {static_cast<std::uint16_t*>(tensor.data_ptr()), static_cast<std::size_t>(tensor.numel())};
}

/// Copies the rows of units that are in both sets, and the tensors without units.
void carry_over(const Segment& segment, const UnitSet& from, const std::uint16_t* source, const UnitSet& to,
                std::uint16_t* target) {
  for (const TensorSpec& tensor : segment.tensors) {
    if (!tensor.per_unit) {
      target = std::copy_n(source, tensor.numel(), target);
      source += tensor.numel();
      continue;
    }
    for (const std::int32_t unit : to.kept()) {
      const auto found = std::lower_bound(from.kept().begin(), from.kept().end(), unit);
      if (found != from.kept().end() && *found == unit)
        std::copy_n(source + (found - from.kept().begin()) * tensor.row(), tensor.row(), target);
      target += tensor.row();
    }
    source += from.size() * tensor.row();
  }
}

}  // namespace

Span<std::uint16_t> ErrorFeedback::lost(int client, const Segment& segment, const UnitSet& units) {
  Lost& lost = lost_[client][segment.id.value()];
  if (!lost.values.defined() || !(lost.units == units)) {
    torch::Tensor values = torch::zeros({segment.numel_with(units.size())}, torch::kBFloat16);
    if (lost.values.defined())
      carry_over(segment, lost.units, halves(lost.values).data(), units, halves(values).data());
    lost = {units, values};
  }
  return halves(lost.values);
}

std::vector<std::byte> ErrorFeedback::pack(int client, const Segment& segment, const UnitSet& units,
                                           Span<const float> values) {
  std::vector<std::byte> packed(
      static_cast<std::size_t>(packed_bytes(type_, static_cast<std::int64_t>(values.size()))));
  pack_values(type_, values, lost(client, segment, units), packed);
  return packed;
}

void ErrorFeedback::keep_only(int client, const std::vector<SegmentId>& segments) {
  std::map<int, Lost>& of_client = lost_[client];
  for (auto one = of_client.begin(); one != of_client.end();) {
    const bool kept = std::find(segments.begin(), segments.end(), SegmentId(one->first)) != segments.end();
    one = kept ? std::next(one) : of_client.erase(one);
  }
}

std::int64_t ErrorFeedback::bytes(int client) const {
  const auto found = lost_.find(client);
  if (found == lost_.end()) return 0;
  std::int64_t bytes = 0;
  for (const auto& [segment, lost] : found->second) bytes += static_cast<std::int64_t>(lost.values.nbytes());
  return bytes;
}

}  // namespace cos2p
