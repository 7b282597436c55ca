#pragma once

#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "cos2p/plan/device_profile.hpp"
#include "cos2p/plan/submodel_plan.hpp"

namespace cos2p {

/// What one client may use. As written on the command line: a share, bytes, or a device.
struct ClientBudget {
  std::string text;                     ///< as the user wrote it: "0.5", "2GiB" or "orin-nano"
  std::int64_t memory = 0;              ///< bytes that a training step may take
  std::int64_t parameters = INT64_MAX;  ///< that the submodel may have
  double step_flops = HUGE_VAL;         ///< that an optimizer step may take
  DeviceProfile device;  ///< speed and link for time predictions ("cpu" where only memory was given)
  bool holds(const PlanCost& cost) const {
    return cost.memory.total() <= memory && cost.parameters <= parameters && cost.step_flops <= step_flops;
  }
};

/// "0.5" = that share (at most 1) of the full model's predicted training memory; "50%" = that share of its
/// parameters; "2GiB" = bytes; "orin-nano" = what usable_memory() leaves of a profile's memory. A plain
/// number above 1 without a point is bytes. Throws Error(usage) naming `option`.
ClientBudget parse_budget(const std::string& text, const SegmentTable& table, const TrainingShape& training,
                          const std::string& option);

/// Client c may compute shares[c % shares.size()] of the full model's FLOPs in a step. Makes the list as long
/// as both in turn need; nothing changes where `shares` is empty.
void limit_compute(std::vector<ClientBudget>& budgets, const std::vector<double>& shares,
                   const SegmentTable& table, const TrainingShape& training);

/// The share of the full model that a budget holds: of its training memory or, where those were given, of its
/// parameters; in (0, 1].
double budget_share(const ClientBudget& budget, const SegmentTable& table, const TrainingShape& training);

/// How depth and width share a budget. `balanced` shrinks both alike; `deep` narrows first, and drops blocks
/// only where the narrowest does not fit; `wide` keeps all units and drops blocks; `shallow` drops blocks
/// first, and narrows where not even one block fits.
enum class BalanceKind { balanced, deep, wide, shallow };
std::string to_string(BalanceKind kind);
BalanceKind parse_balance_kind(const std::string& text);

/// The largest submodel within the budget whose deepest kept block has an exit and is not frozen. Throws
/// Error(usage) where not even the smallest of this `balance` fits, saying by how much.
Assignment plan_client(const SegmentTable& table, const TrainingShape& training, const ClientBudget& budget,
                       BalanceKind balance, int frozen_blocks, WidthBalance width = WidthBalance::even);

/// The smallest submodel of this balance, whatever the budget.
Assignment smallest_submodel(const SegmentTable& table, BalanceKind balance, int frozen_blocks,
                             WidthBalance width = WidthBalance::even);

/// The submodel with a rolling window of trained blocks whose every window is within the budget: as long and
/// as wide as the depth and width that `balance` gives for a step of its ladder. An assignment that is not
/// rolling where no such window fits, or where plan_client() keeps all blocks anyway. Where a budget does not
/// hold the shallowest window, whose embedding is trained, the client begins with the next one. Throws as
/// plan_client() does where nothing fits.
Assignment plan_rolling_client(const SegmentTable& table, const TrainingShape& training,
                               const ClientBudget& budget, BalanceKind balance);
/// The cost of the window that needs the most memory.
PlanCost largest_cost(const SegmentTable& table, const Assignment& assignment, const TrainingShape& training);

struct FleetPlan {
  std::vector<ClientBudget> budgets;    ///< per client
  std::vector<Assignment> assignments;  ///< per client; without blocks where it takes no part
  std::vector<PlanCost> costs;          ///< per client
  std::vector<int> micro_batches;       ///< per client: samples at a time; 0 = the whole batch
  std::vector<int> trainers;            ///< per segment: how many clients train it
  std::vector<std::string> notes;       ///< in words: clients that do not get what their budget alone gives
  /// N*: the fewest trainers that any segment has.
  int least_trainers() const;
  /// Blocks of the deepest submodel; 0 where nobody takes part.
  int deepest() const;
};
/// Which submodel a client of a certain budget gets.
enum class SubmodelKind {
  fit,       ///< the largest that its own budget holds
  full,      ///< the full model, whatever its budget: what would be possible without the limits
  smallest,  ///< everybody that of the smallest budget; deeper blocks are then no part of the model
  drop       ///< the full model; clients whose budget does not hold it take no part
};
std::string to_string(SubmodelKind kind);

struct FleetRules {
  BalanceKind balance = BalanceKind::deep;  ///< so that every segment has as many trainers as can be
  int frozen_blocks = 0;
  SubmodelKind submodel = SubmodelKind::fit;
  int min_trainers = 1;  ///< N*: trainers that every segment must have; 0 = as many as the budgets allow
  /// A client whose budget holds no submodel of this balance takes no part, instead of ending the run.
  bool drop_too_small = false;
  /// Where the balance drops blocks: instead keep all of them and train a window that moves with the rounds.
  bool rolling_windows = false;
  /// Without rolling windows.
  WidthBalance width_balance = WidthBalance::even;
};

/// The most trainers that every segment can have: clients whose budget holds the narrowest submodel of all
/// blocks, nothing frozen.
int most_trainers(const SegmentTable& table, const TrainingShape& training,
                  const std::vector<ClientBudget>& budgets, int clients);

/// Client c gets budgets[c % budgets.size()]. Where a segment would have fewer than `min_trainers` trainers,
/// as few clients as possible, those with the most memory first, get all blocks and less width, or nothing
/// frozen (with SubmodelKind::fit); each such change is in `notes`. Throws Error(usage) where that does not
/// help either, naming the segment and what would.
FleetPlan plan_fleet(const SegmentTable& table, const TrainingShape& training,
                     const std::vector<ClientBudget>& budgets, int clients, const FleetRules& rules);

/// What a client's device gives at present, beside its budget.
struct MeasuredLimit {
  double step_flops = HUGE_VAL;     ///< that an optimizer step may take
  std::int64_t memory = INT64_MAX;  ///< bytes that a training step may take
  bool operator==(const MeasuredLimit& o) const { return step_flops == o.step_flops && memory == o.memory; }
};

/// The plan while only some clients are `present`, and have these `limits` (both by client): that of the
/// start, but a client whose limit does not hold what it has gets the largest submodel that it holds, or the
/// smallest of its balance where none is small enough. Where segments have lost trainers below
/// `min_trainers`, present clients get other shapes as in plan_fleet(), as far as that helps; limits of FLOPs
/// give way where a segment would have fewer by them. Absent clients keep what they had, and count nowhere
/// in `trainers`. `notes` are about this plan alone. Only SubmodelKind::fit has other shapes.
FleetPlan plan_present(const SegmentTable& table, const TrainingShape& training, const FleetPlan& start,
                       const std::vector<bool>& present, const std::vector<MeasuredLimit>& limits,
                       const FleetRules& rules);

/// The largest part of a batch with which a client trains this within its budget; 0 = the whole batch.
int choose_micro_batch(const SegmentTable& table, const TrainingShape& training, const Assignment& assignment,
                       const ClientBudget& budget);

/// For people and for programs: `cos2p plan` and the start of a run.
std::string fleet_table(const SegmentTable& table, const FleetPlan& plan);
std::string fleet_json(const SegmentTable& table, const FleetPlan& plan);

}  // namespace cos2p
