#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <map>
#include <vector>

#include "cos2p/model/segment_table.hpp"
#include "cos2p/model/unit_set.hpp"
#include "cos2p/support/packed_values.hpp"

namespace cos2p {

/// Packs what clients push and remembers, for each client, segment and kept value, what rounding took from
/// it, which is added to the client's next update of the segment (error feedback: Seide et al. 2014,
/// Karimireddy et al. 2019). So what the server has got in all from a client differs from what it meant by
/// one rounding, not by one for each round. Also where values are pushed and not what was added to them: the
/// error that a client sends comes back to it with the values that it pulls, and its next update takes it out
/// again.
///
/// What was packed counts as sent: with an update that never arrives, or is dropped as stale, one rounding is
/// lost.
///
/// It lives in this process alone and is in no checkpoint: where another worker takes a client over, or a run
/// is resumed, nothing counts as lost yet. What belongs to units that a client does not keep any more, or to
/// segments outside of its present window, is forgotten, so that it needs two bytes for each value that the
/// client trains, as estimate_cost() says.
class ErrorFeedback {
 public:
  explicit ErrorFeedback(ValueType type) : type_(type) {}

  /// Of a client's update of a segment: the values of its kept units, packed. `units` as in MergeInput.
  std::vector<std::byte> pack(int client, const Segment& segment, const UnitSet& units,
                              Span<const float> values);
  /// Forgets what a client lost of other segments than these.
  void keep_only(int client, const std::vector<SegmentId>& segments);
  std::int64_t bytes(int client) const;

 private:
  struct Lost {
    UnitSet units;
    torch::Tensor values;  ///< bf16, in the layout of a submodel with `units`; counted in tensor_memory
  };
  Span<std::uint16_t> lost(int client, const Segment& segment, const UnitSet& units);

  ValueType type_;
  std::map<int, std::map<int, Lost>> lost_;  ///< by client and segment
};

}  // namespace cos2p
