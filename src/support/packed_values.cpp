#include "cos2p/support/packed_values.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "cos2p/support/error.hpp"

namespace cos2p {
namespace {

constexpr float kLargestByte = 127;

std::int64_t blocks_of(std::int64_t count) {
  return (count + kScaledValues - 1) / kScaledValues;
}

std::uint16_t to_bf16(float value) {
  std::uint32_t bits = 0;
  std::memcpy(&bits, &value, sizeof bits);
  if (std::isnan(value)) return static_cast<std::uint16_t>(bits >> 16U | 0x40U);  // rounding could lose it
  bits += 0x7fffU + (bits >> 16U & 1U);
  return static_cast<std::uint16_t>(bits >> 16U);
}

float from_bf16(std::uint16_t half) {
  const std::uint32_t bits = std::uint32_t{half} << 16U;
  float value = 0;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

/// What a value that came out as `packed` lacks.
std::uint16_t lacking(float value, float packed) {
  const float rest = value - packed;
  return std::isfinite(rest) ? to_bf16(rest) : std::uint16_t{0};
}

void pack_bf16(Span<const float> values, Span<std::uint16_t> lost, std::uint16_t* packed) {
  for (std::size_t i = 0; i < values.size(); ++i) {
    const float value = values[i] + from_bf16(lost[i]);
    packed[i] = to_bf16(value);
    lost[i] = lacking(value, from_bf16(packed[i]));
  }
}

/// One block; at most kScaledValues.
void pack_int8(Span<const float> values, Span<std::uint16_t> lost, float& scale, std::int8_t* packed) {
  float sums[kScaledValues];
  float largest = 0;
  bool finite = true;
  for (std::size_t i = 0; i < values.size(); ++i) {
    sums[i] = values[i] + from_bf16(lost[i]);
    largest = std::max(largest, std::fabs(sums[i]));
    finite = finite && std::isfinite(sums[i]);
  }
  scale = finite ? largest / kLargestByte : std::numeric_limits<float>::quiet_NaN();
  for (std::size_t i = 0; i < values.size(); ++i) {
    // A scale that is not a normal number is coarse itself, so that the quotient may be beyond a byte.
    const float steps = scale > 0 ? std::clamp(sums[i] / scale, -kLargestByte, kLargestByte) : 0.0F;
    packed[i] = static_cast<std::int8_t>(std::lrint(steps));
    lost[i] = lacking(sums[i], scale * static_cast<float>(packed[i]));
  }
}

void unpack_int8(const PackedValues& packed, std::int64_t begin, Span<float> values) {
  const auto* scales = reinterpret_cast<const float*>(packed.data);
  const auto* bytes = reinterpret_cast<const std::int8_t*>(scales + blocks_of(packed.count)) + begin;
  const auto count = static_cast<std::int64_t>(values.size());
  for (std::int64_t i = 0; i < count;) {
    const std::int64_t block = (begin + i) / kScaledValues;
    const std::int64_t end = std::min(count, (block + 1) * kScaledValues - begin);
    const float scale = scales[block];
    for (; i < end; ++i) values.data()[i] = scale * static_cast<float>(bytes[i]);
  }
}

}  // namespace

std::string to_string(ValueType type) {
  switch (type) {
    case ValueType::float32:
      return "float32";
    case ValueType::bf16:
      return "bf16";
    case ValueType::int8:
      return "int8";
  }
  return "unknown";
}

bool is_known(ValueType type) {
  return type == ValueType::float32 || type == ValueType::bf16 || type == ValueType::int8;
}

Span<const std::byte> PackedValues::deciding() const {
  return {data, static_cast<std::size_t>(deciding_bytes(type, count))};
}

std::int64_t packed_bytes(ValueType type, std::int64_t count) {
  if (type == ValueType::bf16) return count * 2;
  if (type == ValueType::int8) return blocks_of(count) * 4 + count;
  return count * 4;
}

std::int64_t packed_count(ValueType type, std::int64_t bytes) {
  std::int64_t count = bytes / (type == ValueType::bf16 ? 2 : 4);
  if (type == ValueType::int8) {
    constexpr std::int64_t kBlockBytes = kScaledValues + 4;
    count = bytes - (bytes + kBlockBytes - 1) / kBlockBytes * 4;
  }
  return count >= 0 && packed_bytes(type, count) == bytes ? count : -1;
}

std::int64_t deciding_bytes(ValueType type, std::int64_t count) {
  return type == ValueType::int8 ? blocks_of(count) * 4 : packed_bytes(type, count);
}

void pack_values(ValueType type, Span<const float> values, Span<std::uint16_t> lost, Span<std::byte> packed) {
  const auto count = static_cast<std::int64_t>(values.size());
  COS2P_ASSERT(type != ValueType::float32 && lost.size() == values.size() &&
               packed.size() == static_cast<std::size_t>(packed_bytes(type, count)));
  if (type == ValueType::bf16) {
    pack_bf16(values, lost, reinterpret_cast<std::uint16_t*>(packed.data()));
    return;
  }
  auto* scales = reinterpret_cast<float*>(packed.data());
  auto* bytes = reinterpret_cast<std::int8_t*>(scales + blocks_of(count));
  for (std::size_t first = 0; first < values.size(); first += kScaledValues) {
    const std::size_t size = std::min<std::size_t>(kScaledValues, values.size() - first);
    pack_int8(values.subspan(first, size), lost.subspan(first, size), *scales++, bytes + first);
  }
}

void unpack_values(const PackedValues& packed, std::int64_t begin, Span<float> values) {
  COS2P_ASSERT(begin >= 0 && begin + static_cast<std::int64_t>(values.size()) <= packed.count);
  if (values.empty()) return;
  switch (packed.type) {
    case ValueType::float32:
      std::memcpy(values.data(), packed.data + begin * 4, values.size_bytes());
      break;
    case ValueType::bf16: {
      const auto* halves = reinterpret_cast<const std::uint16_t*>(packed.data) + begin;
      for (std::size_t i = 0; i < values.size(); ++i) values[i] = from_bf16(halves[i]);
      break;
    }
    case ValueType::int8:
      unpack_int8(packed, begin, values);
      break;
  }
}

}  // namespace cos2p
