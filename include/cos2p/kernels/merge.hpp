#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "cos2p/model/segment_table.hpp"
#include "cos2p/model/unit_set.hpp"
#include "cos2p/support/packed_values.hpp"
#include "cos2p/support/span.hpp"

namespace cos2p {

/// Sums are taken in fixed point: every weight is a multiple of 2^-20 and at most 1, every product of weight
/// and value is rounded to a multiple of 2^-30 and added as an integer (values below 2^12, up to 2^11
/// updates: 53 bits). So the result does not depend on the order in which updates arrive or are added, and a
/// replay gives the same bits.
inline constexpr double kWeightSteps = 0x1p20;
inline constexpr double kValueSteps = 0x1p30;
inline constexpr float kValueLimit = 4096.0F;  ///< |value| at or above it is refused (a diverged update)
inline constexpr std::int64_t kMaxUpdatesPerMerge = 2048;

/// The nearest allowed weight; `weight` in [0, 1].
double quantize_weight(double weight);

/// One client's update of a segment, in the layout of its submodel: the segment's tensors with the kept units
/// only.
struct MergeInput {
  PackedValues values;             ///< units->size() decides how many: segment.numel_with(units->size())
  const UnitSet* units = nullptr;  ///< kept units (empty set for segments without units)
  double weight = 0;               ///< share in the mean, quantized
  double discounted = 0;  ///< the part of `weight` that moves the value (staleness), quantized, <= weight
};

/// Sums of updates that are no longer held: full layout, in fixed point.
struct PartialSums {
  std::vector<std::int64_t> values;                  ///< per value of the full segment
  std::vector<double> unit_weight, unit_discounted;  ///< per unit
  double shared_weight = 0, shared_discounted = 0;   ///< of tensors without units
  std::vector<std::int64_t> changed;  ///< per value: weight * kWeightSteps of updates in which it is not 0;
                                      ///< only where MergeStep::changed asks for it
  std::int64_t updates = 0;
  bool empty() const { return updates == 0; }
  /// Forgets the sums and keeps their memory: the next merge of the segment needs as much again.
  void clear() {
    updates = 0;
    shared_weight = shared_discounted = 0;
  }
};

/// Weight that stands for the present value, per unit and for shared tensors: that of trainers which have not
/// delivered.
struct Anchor {
  std::vector<double> units;  ///< empty = 0 for each
  double shared = 0;
};

/// What is made of the sums: the direction g of a merge and the step along it (FedAvgM, Hsu et al. 2019).
struct MergeStep {
  bool deltas = false;   ///< inputs hold what training added to the received values, not values
  bool changed = false;  ///< of deltas: the mean of each value over the inputs in which it is not 0
  double rate = 1;       ///< of the step; 1 takes the mean itself
  double momentum = 0;
  float* velocity = nullptr;  ///< v, as many as the full segment has values; needed where momentum > 0
};

/// w <- w + rate * v with v <- momentum * v + g, for each unit and for the shared tensors separately, and
///   values:  g = (sum_n discounted_n x_n - (sum_n discounted_n) w) / D
///   deltas:  g = sum_n discounted_n x_n / D
/// where D = anchor + sum_n weight_n or, with `changed`, the weights of the inputs whose delta of that value
/// is not 0. What no input holds (or changed) keeps its value and its velocity. `sums` (may be null) counts
/// as further inputs. Values of inputs and sums must stay where they are while the object lives.
class MergeKernel {
 public:
  MergeKernel(const Segment& segment, Span<const MergeInput> inputs, const PartialSums* sums,
              const Anchor& anchor, const MergeStep& step = {});
  ~MergeKernel();
  MergeKernel(const MergeKernel&) = delete;
  MergeKernel& operator=(const MergeKernel&) = delete;

  /// Merges the values that stand from `begin` on in the segment. Parts may come in any order and from
  /// several threads: each value is merged by itself. Once for each value, where there is momentum.
  void merge(std::int64_t begin, Span<float> part) const;

 private:
  struct State;
  std::unique_ptr<const State> state_;
};

/// Adds the inputs to `sums`, which is sized on first use and starts from zero where it is empty. `changed`
/// as in the MergeStep that will read them.
void accumulate_segment(const Segment& segment, Span<const MergeInput> inputs, PartialSums& sums, int threads,
                        bool changed = false);

/// True where every value is finite and below kValueLimit, by what decides it: the deciding_bytes() of packed
/// values, or a part of these that cuts none.
bool values_in_range(ValueType type, Span<const std::byte> deciding);

/// full segment -> the layout of a submodel with `units`; `out` has segment.numel_with(units.size()) values.
void gather_segment(const Segment& segment, const UnitSet& units, Span<const float> full, Span<float> out);

}  // namespace cos2p
