#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "cos2p/support/span.hpp"

namespace cos2p {

/// How the values of a segment update are written, on the wire and at the server until they are merged.
/// Little endian; the numbers stand in messages and files.
enum class ValueType : std::uint16_t {
  float32 = 0,
  bf16 = 1,  ///< the upper half of a float32, rounded to nearest, ties to even
  int8 = 2,  ///< a float32 scale for each kScaledValues values, all scales first; then a signed byte for each
             ///< value, which is scale * byte. The scale is the block's largest magnitude / 127.
};
std::string to_string(ValueType type);

/// Values that share a scale: few enough that a norm's weights, which are near 1, do not coarsen many of the
/// matrix beside them.
inline constexpr std::int64_t kScaledValues = 128;

/// Packed values that lie somewhere, borrowed.
struct PackedValues {
  PackedValues() = default;
  PackedValues(ValueType its_type, const std::byte* its_data, std::int64_t its_count)
      : type(its_type), data(its_data), count(its_count) {}
  PackedValues(const std::vector<float>& values)  // NOLINT: implicit
      : data(reinterpret_cast<const std::byte*>(values.data())),
        count(static_cast<std::int64_t>(values.size())) {}
  /// Those that decide how large the values can be.
  Span<const std::byte> deciding() const;

  ValueType type = ValueType::float32;
  const std::byte* data = nullptr;  ///< packed_bytes(type, count) bytes, aligned to 4
  std::int64_t count = 0;
};

bool is_known(ValueType type);
std::int64_t packed_bytes(ValueType type, std::int64_t count);
/// How many values make so many bytes; -1 where no number does.
std::int64_t packed_count(ValueType type, std::int64_t bytes);
/// Leading bytes that decide how large values can be: all of them, or the scales.
std::int64_t deciding_bytes(ValueType type, std::int64_t count);

/// Packs values + lost and keeps in `lost` (as many, in bf16) what rounding takes from them, so that the next
/// values packed with it make up for it (error feedback). What is not finite comes out as such and loses
/// nothing. `packed` has packed_bytes() bytes, aligned to 4. Not for float32, which loses nothing.
void pack_values(ValueType type, Span<const float> values, Span<std::uint16_t> lost, Span<std::byte> packed);

/// The values from `begin` on, as many as `values` takes.
void unpack_values(const PackedValues& packed, std::int64_t begin, Span<float> values);

}  // namespace cos2p
