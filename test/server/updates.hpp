#pragma once

#include <cstdlib>
#include <cstring>
#include <vector>

#include "cos2p/server/server_core.hpp"

namespace cos2p::test {

inline SegmentTable tiny_table() {
  ModelOptions options;
  options.image_height = options.image_width = 8;
  options.patch = 4;
  options.dim = 8;
  options.blocks = 2;
  options.heads = 2;
  options.feed_forward = 6;
  options.validate();
  return SegmentTable(options);
}

inline Buffer buffer_of(std::size_t bytes) {
  auto* data = static_cast<std::byte*>(std::calloc(1, bytes + 64));
  return {data, bytes, bytes + 64, nullptr,
          [](void*, std::byte* released, std::size_t) { std::free(released); }};
}

/// An update of all units of a segment, every value `value`, packed as `type` says.
inline Message constant_update(const Segment& segment, int client, int round, std::uint64_t base, float value,
                               ValueType type = ValueType::float32) {
  Message message;
  message.worker = WorkerRank(1);
  MessageHeader& header = message.header;
  header.value_type = type;
  header.client = client;
  header.client_round = round;
  header.segment = segment.id.value();
  header.base_version = base;
  header.bitmap_bytes = segment.units > 0 ? UnitSet::bitmap_bytes(segment.units) : 0;
  header.body_bytes = values_offset(header.bitmap_bytes) + packed_bytes(type, segment.numel);
  message.body = buffer_of(static_cast<std::size_t>(header.body_bytes));
  if (segment.units > 0) {
    const std::vector<std::uint8_t> bitmap = UnitSet::all(segment.units).bitmap();
    std::memcpy(message.body.data(), bitmap.data(), bitmap.size());
  }
  const std::vector<float> values(static_cast<std::size_t>(segment.numel), value);
  std::byte* at = message.body.data() + values_offset(header.bitmap_bytes);
  if (type == ValueType::float32) {
    std::memcpy(at, values.data(), values.size() * sizeof(float));
  } else {
    std::vector<std::uint16_t> lost(values.size(), 0);
    pack_values(type, values, lost, {at, static_cast<std::size_t>(packed_bytes(type, segment.numel))});
  }
  return message;
}

inline Message round_report(int client, int round, std::int64_t samples, double loss) {
  Message message;
  message.worker = WorkerRank(1);
  message.header.kind = MessageKind::round_report;
  message.header.client = client;
  message.header.client_round = round;
  message.header.body_bytes = sizeof(RoundReport);
  RoundReport report;
  report.samples = samples;
  report.loss = loss;
  report.compute_s = 3;
  report.waiting_s = 1;
  message.body = buffer_of(sizeof report);
  std::memcpy(message.body.data(), &report, sizeof report);
  return message;
}

inline PolicyOptions policy_of(PolicyKind kind) {
  PolicyOptions policy;
  policy.kind = kind;
  policy.discount = DiscountKind::constant;
  policy.normalize = NormalizeKind::updates;
  policy.pace_correction = false;
  return policy;
}

inline void zero(ModelStore& store, const SegmentTable& table) {
  for (const Segment& segment : table)
    store.restore(segment.id, std::vector<float>(static_cast<std::size_t>(segment.numel), 0.0F), 0);
}

}  // namespace cos2p::test
