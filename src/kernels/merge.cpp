#include "cos2p/kernels/merge.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "cos2p/support/error.hpp"
#include "cos2p/support/parallel.hpp"
#include "sum_loops.hpp"

namespace cos2p {
namespace {

constexpr std::int64_t kBlock =
    2048;  // values summed at a time: 16 KiB of sums stay in the first-level cache
constexpr std::int64_t kTask = 64 * kBlock;  // values that one thread takes at a time

/// Values of an input from `offset` on.
struct Source {
  PackedValues values;
  std::int64_t offset = 0;
};

/// A stretch of the full segment whose values all have the same contributors and weights.
struct Run {
  std::int64_t offset = 0, count = 0;
  std::vector<Source> sources;        ///< where each input's values begin
  std::vector<double> steps;          ///< its weight * kValueSteps
  std::vector<std::int64_t> weights;  ///< its weight * kWeightSteps, where values are counted that changed
  double scale = 0, keep = 0;
};

/// Position of each full unit among an input's kept units, -1 where it is not kept.
std::vector<std::int32_t> positions(const Segment& segment, const UnitSet& units) {
  std::vector<std::int32_t> position(static_cast<std::size_t>(segment.units), -1);
  for (std::size_t i = 0; i < units.kept().size(); ++i) {
    position[static_cast<std::size_t>(units.kept()[i])] = static_cast<std::int32_t>(i);
  }
  return position;
}

class RunBuilder {
 public:
  RunBuilder(const Segment& segment, Span<const MergeInput> inputs, const PartialSums* sums,
             const Anchor* anchor, const MergeStep& step)
      : segment_(segment), inputs_(inputs), sums_(sums), anchor_(anchor), step_(step) {
    for (const MergeInput& input : inputs) {
      COS2P_ASSERT(input.units->total() == segment.units);
      positions_.push_back(positions(segment, *input.units));
    }
  }

  std::vector<Run> build() {
    std::vector<std::int64_t> offsets(inputs_.size(), 0);  // of the present tensor in each input
    for (const TensorSpec& tensor : segment_.tensors) {
      if (tensor.per_unit) {
        add_units(tensor, offsets);
      } else {
        add_shared(tensor, offsets);
      }
      for (std::size_t k = 0; k < inputs_.size(); ++k) {
        offsets[k] += tensor.per_unit ? tensor.row() * inputs_[k].units->size() : tensor.numel();
      }
    }
    return std::move(runs_);
  }

 private:
  void finish_weights(Run& run, double weight, double discounted, double anchor) {
    const double total = weight + anchor;
    // It keeps its value where nobody trained it; also where all there is stands for others' updates
    // (depth_momentum.hpp) and those count nothing here.
    if (total <= 0 || (run.sources.empty() && discounted == 0)) return;
    const double rate = step_.momentum > 0 ? 1 : step_.rate;  // with momentum the rate is the velocity's
    run.scale = rate / (total * kValueSteps);
    run.keep = (total - (step_.deltas ? 0 : rate * discounted)) / total;
    runs_.push_back(std::move(run));
  }

  void add_source(Run& run, std::size_t input, std::int64_t offset) const {
    run.sources.push_back({inputs_[input].values, offset});
    run.steps.push_back(inputs_[input].discounted * kValueSteps);
    if (step_.changed) run.weights.push_back(std::llround(inputs_[input].weight * kWeightSteps));
  }

  void add_shared(const TensorSpec& tensor, const std::vector<std::int64_t>& offsets) {
    Run run{tensor.offset, tensor.numel(), {}, {}, {}, 0, 0};
    double weight = sums_ != nullptr ? sums_->shared_weight : 0;
    double discounted = sums_ != nullptr ? sums_->shared_discounted : 0;
    for (std::size_t k = 0; k < inputs_.size(); ++k) {
      add_source(run, k, offsets[k]);
      weight += inputs_[k].weight;
      discounted += inputs_[k].discounted;
    }
    finish_weights(run, weight, discounted, anchor_ != nullptr ? anchor_->shared : 0);
  }

  bool same_contributors(std::size_t u, std::size_t v) const {
    for (const auto& position : positions_) {
      if ((position[u] < 0) != (position[v] < 0)) return false;
    }
    if (anchor_ != nullptr && !anchor_->units.empty() && anchor_->units[u] != anchor_->units[v]) return false;
    return sums_ == nullptr || (sums_->unit_weight[u] == sums_->unit_weight[v] &&
                                sums_->unit_discounted[u] == sums_->unit_discounted[v]);
  }

  void add_units(const TensorSpec& tensor, const std::vector<std::int64_t>& offsets) {
    const auto units = static_cast<std::size_t>(segment_.units);
    for (std::size_t first = 0, last = 0; first < units; first = last) {
      for (last = first + 1; last < units && same_contributors(first, last);) ++last;
      Run run{tensor.offset + static_cast<std::int64_t>(first) * tensor.row(),
              static_cast<std::int64_t>(last - first) * tensor.row(),
              {},
              {},
              {},
              0,
              0};
      double weight = sums_ != nullptr ? sums_->unit_weight[first] : 0;
      double discounted = sums_ != nullptr ? sums_->unit_discounted[first] : 0;
      for (std::size_t k = 0; k < inputs_.size(); ++k) {
        if (positions_[k][first] < 0) continue;
        add_source(run, k, offsets[k] + positions_[k][first] * tensor.row());
        weight += inputs_[k].weight;
        discounted += inputs_[k].discounted;
      }
      const double anchor = anchor_ != nullptr && !anchor_->units.empty() ? anchor_->units[first] : 0;
      finish_weights(run, weight, discounted, anchor);
    }
  }

  const Segment& segment_;
  Span<const MergeInput> inputs_;
  const PartialSums* sums_;
  const Anchor* anchor_;
  const MergeStep& step_;
  std::vector<std::vector<std::int32_t>> positions_;
  std::vector<Run> runs_;
};

/// The source's values at begin, at most kBlock: as they lie there, or unpacked to `room`.
const float* floats_of(const Source& source, std::int64_t begin, std::int64_t count, float* room) {
  begin += source.offset;
  if (source.values.type == ValueType::float32)
    return reinterpret_cast<const float*>(source.values.data) + begin;
  unpack_values(source.values, begin, {room, static_cast<std::size_t>(count)});
  return room;
}

/// sums[j] += all of the run's sources at begin + j; at most kBlock.
void add_sources(const Run& run, std::int64_t begin, std::int64_t* sums, std::int64_t count) {
  float room[detail::kSources][kBlock];
  const auto sources = static_cast<int>(run.sources.size());
  for (int first = 0; first < sources; first += detail::kSources) {
    const int taken = std::min(detail::kSources, sources - first);
    const Source* from = run.sources.data() + first;
    const float* at[detail::kSources];
    for (int k = 0; k < taken; ++k) at[k] = floats_of(from[k], begin, count, room[k]);
    detail::add_fixed_point(sums, at, run.steps.data() + first, taken, count);
  }
}

/// changed[j] += the weights of the run's sources that are not 0 at begin + j; at most kBlock.
void add_changed(const Run& run, std::int64_t begin, std::int64_t* changed, std::int64_t count) {
  float room[kBlock];
  for (std::size_t k = 0; k < run.sources.size(); ++k)
    detail::add_where_changed(changed, floats_of(run.sources[k], begin, count, room), run.weights[k], count);
}

/// `block` <- what stands in `values` (of sums, from i on), or zeros where there are none.
void begin_block(std::int64_t* block, const std::vector<std::int64_t>* values, std::int64_t i,
                 std::int64_t count) {
  const auto bytes = static_cast<std::size_t>(count) * sizeof(std::int64_t);
  if (values != nullptr) {
    std::memcpy(block, values->data() + i, bytes);
  } else {
    std::memset(block, 0, bytes);
  }
}

}  // namespace

double quantize_weight(double weight) {
  COS2P_ASSERT(weight >= 0 && weight <= 1);
  return std::nearbyint(weight * kWeightSteps) / kWeightSteps;
}

struct MergeKernel::State {
  std::vector<Run> runs;  ///< in the order of their offsets, without overlaps
  const PartialSums* sums;
  MergeStep step;
  std::int64_t numel;
};

MergeKernel::MergeKernel(const Segment& segment, Span<const MergeInput> inputs, const PartialSums* sums,
                         const Anchor& anchor, const MergeStep& step) {
  COS2P_ASSERT(step.momentum == 0 || step.velocity != nullptr);
  COS2P_ASSERT(step.deltas || !step.changed);
  if (sums != nullptr && sums->empty()) sums = nullptr;
  COS2P_ASSERT(static_cast<std::int64_t>(inputs.size()) + (sums != nullptr ? sums->updates : 0) <=
               kMaxUpdatesPerMerge);
  state_ = std::make_unique<const State>(
      State{RunBuilder(segment, inputs, sums, &anchor, step).build(), sums, step, segment.numel});
}

MergeKernel::~MergeKernel() = default;

void MergeKernel::merge(std::int64_t begin, Span<float> part) const {
  const std::int64_t end = begin + static_cast<std::int64_t>(part.size());
  COS2P_ASSERT(begin >= 0 && end <= state_->numel);
  const PartialSums* sums = state_->sums;
  const MergeStep& step = state_->step;
  std::int64_t block[kBlock], changed[kBlock];
  auto run = std::upper_bound(state_->runs.begin(), state_->runs.end(), begin,
                              [](std::int64_t at, const Run& r) { return at < r.offset + r.count; });
  for (; run != state_->runs.end() && run->offset < end; ++run) {
    const std::int64_t last = std::min(run->offset + run->count, end);
    for (std::int64_t i = std::max(run->offset, begin); i < last; i += kBlock) {
      const std::int64_t count = std::min(kBlock, last - i);
      begin_block(block, sums != nullptr ? &sums->values : nullptr, i, count);
      add_sources(*run, i - run->offset, block, count);
      float* values = part.data() + (i - begin);
      float* velocity = step.momentum > 0 ? step.velocity + i : nullptr;
      if (step.changed) {
        begin_block(changed, sums != nullptr ? &sums->changed : nullptr, i, count);
        add_changed(*run, i - run->offset, changed, count);
        detail::finish_changed(values, velocity, block, changed, kWeightSteps / kValueSteps, step.momentum,
                               step.rate, count);
      } else if (velocity != nullptr) {
        detail::finish_velocity(values, velocity, block, run->scale, run->keep - 1, step.momentum, step.rate,
                                count);
      } else {
        detail::finish(values, block, run->scale, run->keep, count);
      }
    }
  }
}

void accumulate_segment(const Segment& segment, Span<const MergeInput> inputs, PartialSums& sums, int threads,
                        bool changed) {
  if (sums.empty()) {
    sums.values.assign(static_cast<std::size_t>(segment.numel), 0);
    sums.unit_weight.assign(static_cast<std::size_t>(segment.units), 0.0);
    sums.unit_discounted.assign(static_cast<std::size_t>(segment.units), 0.0);
    if (changed) sums.changed.assign(static_cast<std::size_t>(segment.numel), 0);
  }
  MergeStep step;
  step.changed = changed;
  const std::vector<Run> runs = RunBuilder(segment, inputs, nullptr, nullptr, step).build();
  for (const Run& run : runs) {
    parallel_for((run.count + kTask - 1) / kTask, threads, [&](std::int64_t task) {
      const std::int64_t end = std::min((task + 1) * kTask, run.count);
      for (std::int64_t begin = task * kTask; begin < end; begin += kBlock) {
        const std::int64_t count = std::min(kBlock, end - begin);
        add_sources(run, begin, sums.values.data() + run.offset + begin, count);
        if (changed) add_changed(run, begin, sums.changed.data() + run.offset + begin, count);
      }
    });
  }
  for (const MergeInput& input : inputs) {
    for (std::int32_t unit : input.units->kept()) {
      sums.unit_weight[static_cast<std::size_t>(unit)] += input.weight;
      sums.unit_discounted[static_cast<std::size_t>(unit)] += input.discounted;
    }
    sums.shared_weight += input.weight;
    sums.shared_discounted += input.discounted;
    ++sums.updates;
  }
}

bool values_in_range(ValueType type, Span<const std::byte> deciding) {
  const auto* floats = reinterpret_cast<const float*>(deciding.data());
  const auto bytes = static_cast<std::int64_t>(deciding.size());
  if (type == ValueType::float32) return !detail::any_out_of_range(floats, bytes / 4, kValueLimit);
  // No byte is further from 0 than -128.
  if (type == ValueType::int8) return !detail::any_out_of_range(floats, bytes / 4, kValueLimit / 128);
  const PackedValues halves{type, deciding.data(), bytes / 2};
  float room[kBlock];
  for (std::int64_t begin = 0; begin < halves.count; begin += kBlock) {
    const std::int64_t count = std::min(kBlock, halves.count - begin);
    unpack_values(halves, begin, {room, static_cast<std::size_t>(count)});
    if (detail::any_out_of_range(room, count, kValueLimit)) return false;
  }
  return true;
}

void gather_segment(const Segment& segment, const UnitSet& units, Span<const float> full, Span<float> out) {
  COS2P_ASSERT(full.size() == static_cast<std::size_t>(segment.numel));
  COS2P_ASSERT(out.size() == static_cast<std::size_t>(segment.numel_with(units.size())));
  float* target = out.data();
  for (const TensorSpec& tensor : segment.tensors) {
    const float* source = full.data() + tensor.offset;
    if (!tensor.per_unit || units.full()) {
      std::copy_n(source, tensor.numel(), target);
      target += tensor.numel();
      continue;
    }
    for (std::int32_t unit : units.kept()) {
      std::copy_n(source + unit * tensor.row(), tensor.row(), target);
      target += tensor.row();
    }
  }
}

}  // namespace cos2p
