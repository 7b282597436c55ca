#include "cos2p/plan/submodel_plan.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

#include "cos2p/support/error.hpp"

namespace cos2p {
namespace {

const UnitSet& no_units() {
  static const UnitSet none;
  return none;
}

void check_window(const SegmentTable& table, int kept_blocks, int frozen_blocks) {
  const int blocks = table.options().blocks;
  if (kept_blocks < 1 || kept_blocks > blocks) {
    fail(ExitCode::usage, "a plan keeps {} blocks (the model has {}), keep between 1 and {}", kept_blocks,
         blocks, blocks);
  }
  if (frozen_blocks < 0 || frozen_blocks >= kept_blocks) {
    fail(ExitCode::usage,
         "a plan freezes {} of {} kept blocks (one at least must train), freeze between 0 and {}",
         frozen_blocks, kept_blocks, kept_blocks - 1);
  }
  if (!table.exit_head(kept_blocks - 1).valid()) {
    fail(ExitCode::usage,
         "a plan ends after block {} (no exit head stands there), end it after a block named in --exits",
         kept_blocks - 1);
  }
}

void check_width(std::int64_t kept, std::int64_t total, const char* what) {
  if (total == 0 && kept == 0) return;  // a linear model has no units
  if (kept < 1 || kept > total) {
    fail(ExitCode::usage, "a plan keeps {} {} in a block (the model has {}), keep between 1 and {}", kept,
         what, total, total);
  }
}

void check_sets(const std::vector<UnitSet>& sets, int kept_blocks, std::int64_t total, const char* what) {
  if (sets.size() != static_cast<std::size_t>(kept_blocks)) {
    fail(ExitCode::usage, "a plan has {} sets of {} (it keeps {} blocks), give one set per kept block",
         sets.size(), what, kept_blocks);
  }
  for (const UnitSet& set : sets) {
    if (set.total() != total) {
      fail(ExitCode::usage, "a plan chooses among {} {} (the model has {}), choose among all of them",
           set.total(), what, total);
    }
    check_width(set.size(), total, what);
  }
}

}  // namespace

namespace {

// Blocks that each window keeps, from the shallowest window to the deepest: the longest that fits at the
// start, then every deeper exit.
std::vector<int> window_ends(const SegmentTable& table, const Assignment& assignment) {
  const int length = assignment.kept_blocks - assignment.frozen_blocks;
  std::vector<int> ends;
  for (const int exit : table.options().exits) {
    if (exit >= assignment.kept_blocks) break;
    if (exit < length) ends.clear();
    ends.push_back(exit + 1);
  }
  ends.erase(ends.begin(), ends.begin() + std::min<std::ptrdiff_t>(assignment.rolling - 1,
                                                                   static_cast<std::ptrdiff_t>(ends.size())));
  return ends;
}

}  // namespace

Assignment window_at(const SegmentTable& table, const Assignment& assignment, int local_round) {
  if (assignment.rolling == 0 || !assignment.takes_part()) return assignment;
  const std::vector<int> ends = window_ends(table, assignment);
  COS2P_ASSERT(!ends.empty() && local_round >= 0);
  const int length = assignment.kept_blocks - assignment.frozen_blocks;
  Assignment window = assignment;
  window.rolling = 0;
  window.kept_blocks = ends[static_cast<std::size_t>(local_round) % ends.size()];
  window.frozen_blocks = std::max(0, window.kept_blocks - length);
  return window;
}

int window_count(const SegmentTable& table, const Assignment& assignment) {
  return assignment.rolling == 0 ? 1 : static_cast<int>(window_ends(table, assignment).size());
}

std::vector<Assignment> dropout_ladder(const ModelOptions& model, const Assignment& assignment, int widths) {
  std::vector<Assignment> ladder;
  for (int i = 1; i < widths; ++i) {
    const auto first = [&](int total) { return (i * total + widths - 1) / widths; };
    Assignment narrower = assignment;
    narrower.heads = std::min(assignment.heads, first(model.heads));
    narrower.neurons = std::min(assignment.neurons, first(model.feed_forward));
    if (narrower == assignment) break;
    ladder.push_back(narrower);
  }
  ladder.push_back(assignment);
  return ladder;
}

bool trains(const SegmentTable& table, const Assignment& assignment, const Segment& segment) {
  if (!assignment.takes_part()) return false;
  // Windows follow each other without a gap: what lies between the shallowest and the deepest is trained.
  const int frozen =
      assignment.rolling != 0 ? window_at(table, assignment, 0).frozen_blocks : assignment.frozen_blocks;
  return segment.block < assignment.kept_blocks && (frozen == 0 || segment.block >= frozen);
}

std::string to_string(WidthBalance kind) {
  switch (kind) {
    case WidthBalance::even:
      return "even";
    case WidthBalance::falling:
      return "falling";
    case WidthBalance::rising:
      return "rising";
  }
  return "unknown";
}

BlockWidth width_in(const ModelOptions& model, const Assignment& a, int block) {
  if (a.width_balance == WidthBalance::even) return {a.heads, a.neurons};
  const double x = a.kept_blocks > 1 ? static_cast<double>(block) / (a.kept_blocks - 1) : 0.5;
  const double exponent = a.width_balance == WidthBalance::falling ? 0.5 + x : 1.5 - x;
  const auto spread = [exponent](int kept, int total) {
    const double share = std::pow(static_cast<double>(kept) / total, exponent);
    return std::clamp(static_cast<int>(std::lround(share * total)), 1, total);
  };
  return {spread(a.heads, model.heads), spread(a.neurons, model.feed_forward)};
}

Assignment full_assignment(const ModelOptions& model) {
  return {model.blocks, 0, model.heads, model.feed_forward};
}

void check_assignment(const SegmentTable& table, const Assignment& assignment) {
  check_window(table, assignment.kept_blocks, assignment.frozen_blocks);
  check_width(assignment.heads, table.options().heads, "heads");
  check_width(assignment.neurons, table.options().feed_forward, "neurons");
  if (assignment.width_balance < WidthBalance::even || assignment.width_balance > WidthBalance::rising) {
    fail(ExitCode::usage, "a plan spreads its width in way {} (known are {} to {}), take one of these",
         static_cast<std::int32_t>(assignment.width_balance), static_cast<std::int32_t>(WidthBalance::even),
         static_cast<std::int32_t>(WidthBalance::rising));
  }
  if (assignment.rolling < 0 || window_count(table, assignment) == 0) {
    fail(ExitCode::usage, "a plan whose windows begin with number {} has none left, begin with 1",
         assignment.rolling);
  }
}

SubmodelPlan::SubmodelPlan(const SegmentTable& table, int kept_blocks, int frozen_blocks,
                           std::vector<UnitSet> heads, std::vector<UnitSet> neurons)
    : table_(&table),
      kept_blocks_(kept_blocks),
      frozen_blocks_(frozen_blocks),
      heads_(std::move(heads)),
      neurons_(std::move(neurons)) {
  check_window(table, kept_blocks, frozen_blocks);
  check_sets(heads_, kept_blocks, table.options().heads, "heads");
  check_sets(neurons_, kept_blocks, table.options().feed_forward, "neurons");
}

SubmodelPlan SubmodelPlan::full(const SegmentTable& table) {
  const auto blocks = static_cast<std::size_t>(table.options().blocks);
  return SubmodelPlan(table, table.options().blocks, 0,
                      std::vector<UnitSet>(blocks, UnitSet::all(table.options().heads)),
                      std::vector<UnitSet>(blocks, UnitSet::all(table.options().feed_forward)));
}

bool SubmodelPlan::holds(SegmentId id) const {
  return (*table_)[id].block < kept_blocks_;
}

bool SubmodelPlan::trains(SegmentId id) const {
  return holds(id) && (frozen_blocks_ == 0 || (*table_)[id].block >= frozen_blocks_);
}

std::vector<SegmentId> SubmodelPlan::held_segments() const {
  std::vector<SegmentId> ids;
  for (const Segment& segment : *table_) {
    if (holds(segment.id)) ids.push_back(segment.id);
  }
  return ids;
}

std::vector<SegmentId> SubmodelPlan::trained_segments() const {
  std::vector<SegmentId> ids;
  for (const Segment& segment : *table_) {
    if (trains(segment.id)) ids.push_back(segment.id);
  }
  return ids;
}

const UnitSet& SubmodelPlan::units(SegmentId id) const {
  const Segment& segment = (*table_)[id];
  if (!holds(id))
    fail(ExitCode::internal, "segment {} was asked for its units (the plan does not hold it)", segment.name);
  if (segment.kind == SegmentKind::attention) return heads_[static_cast<std::size_t>(segment.block)];
  if (segment.kind == SegmentKind::feed_forward) return neurons_[static_cast<std::size_t>(segment.block)];
  return no_units();
}

std::int64_t SubmodelPlan::full_index(SegmentId id, std::int64_t index) const {
  const Segment& segment = (*table_)[id];
  const UnitSet& kept = units(id);
  std::int64_t rest = index;
  for (const TensorSpec& tensor : segment.tensors) {
    if (rest < 0) break;
    const std::int64_t numel = tensor.per_unit ? kept.size() * tensor.row() : tensor.numel();
    if (rest >= numel) {
      rest -= numel;
      continue;
    }
    if (!tensor.per_unit) return tensor.offset + rest;
    const std::int64_t unit = kept.kept()[static_cast<std::size_t>(rest / tensor.row())];
    return tensor.offset + unit * tensor.row() + rest % tensor.row();
  }
  fail(ExitCode::internal, "index {} is outside of segment {} (the plan holds {} values of it)", index,
       segment.name, segment.numel_with(kept.size()));
}

bool SubmodelPlan::operator==(const SubmodelPlan& other) const {
  return table_->options() == other.table_->options() && kept_blocks_ == other.kept_blocks_ &&
         frozen_blocks_ == other.frozen_blocks_ && heads_ == other.heads_ && neurons_ == other.neurons_;
}

}  // namespace cos2p
