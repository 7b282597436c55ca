#pragma once

#include <cstdint>
#include <functional>

namespace cos2p {

/// An index that does not mix with other indices: swapping a ClientId and a SegmentId does not compile.
template <typename Tag>
class TypedId {
 public:
  using value_type = std::int32_t;
  TypedId() = default;  ///< invalid
  explicit constexpr TypedId(value_type value) : value_(value) {}
  constexpr value_type value() const { return value_; }
  constexpr bool valid() const { return value_ >= 0; }
  friend constexpr bool operator==(TypedId a, TypedId b) { return a.value_ == b.value_; }
  friend constexpr bool operator!=(TypedId a, TypedId b) { return a.value_ != b.value_; }
  friend constexpr bool operator<(TypedId a, TypedId b) { return a.value_ < b.value_; }

 private:
  value_type value_ = -1;
};

using SegmentId = TypedId<struct SegmentTag>;  ///< index into SegmentTable
using ClientId = TypedId<struct ClientTag>;    ///< index into the fleet, 0-based
using WorkerRank =
    TypedId<struct WorkerTag>;  ///< rank of a process in MPI_COMM_WORLD, 1-based (0 is the server)

}  // namespace cos2p

namespace std {
template <typename Tag>
struct hash<cos2p::TypedId<Tag>> {
  size_t operator()(cos2p::TypedId<Tag> id) const noexcept { return hash<int32_t>()(id.value()); }
};
}  // namespace std
