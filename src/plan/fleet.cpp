#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "cos2p/plan/planner.hpp"
#include "cos2p/support/bytes.hpp"
#include "cos2p/support/error.hpp"
#include "cos2p/support/narrow.hpp"

namespace cos2p {
namespace {

std::vector<int> count_trainers(const SegmentTable& table, const std::vector<Assignment>& assignments) {
  std::vector<int> trainers;
  for (const Segment& segment : table) {
    trainers.push_back(
        static_cast<int>(std::count_if(assignments.begin(), assignments.end(),
                                       [&](const Assignment& a) { return trains(table, a, segment); })));
  }
  return trainers;
}

/// Trainers that are missing, summed over the segments.
std::int64_t missing(const std::vector<int>& trainers, int wanted) {
  std::int64_t sum = 0;
  for (const int count : trainers) sum += std::max(0, wanted - count);
  return sum;
}

std::string describe(const Assignment& a) {
  return fmt::format("{} blocks ({} frozen{}), {} heads, {} neurons", a.kept_blocks, a.frozen_blocks,
                     a.rolling != 0 ? " in turn" : "", a.heads, a.neurons);
}

/// Gives segments that lack trainers more of them by planning single clients anew.
class Coverage {
 public:
  Coverage(const SegmentTable& table, const TrainingShape& training, FleetPlan& plan, const FleetRules& rules)
      : table_(table), training_(training), plan_(plan), rules_(rules) {}

  void repair() { repair(std::vector<bool>(plan_.assignments.size(), true)); }

  /// Only with those clients that `may` be planned anew.
  void repair(const std::vector<bool>& may) {
    std::vector<std::size_t> clients;
    for (std::size_t c = 0; c < may.size(); ++c) {
      if (may[c]) clients.push_back(c);
    }
    std::stable_sort(clients.begin(), clients.end(), [this](std::size_t a, std::size_t b) {
      return plan_.budgets[a].memory > plan_.budgets[b].memory;
    });
    for (const std::size_t client : clients) {
      if (missing(plan_.trainers, rules_.min_trainers) == 0) return;
      improve(client);
    }
  }

 private:
  // Tries the client's other shapes and keeps the one that leaves the fewest trainers missing, if it is an
  // improvement.
  void improve(std::size_t client) {
    const Assignment asked = plan_.assignments[client];
    Assignment best = asked;
    std::int64_t best_count = missing(plan_.trainers, rules_.min_trainers);
    for (const BalanceKind balance : {rules_.balance, BalanceKind::deep}) {
      for (const int frozen : {asked.frozen_blocks, 0}) {
        Assignment& assignment = plan_.assignments[client];
        try {
          assignment =
              plan_client(table_, training_, plan_.budgets[client], balance, frozen, rules_.width_balance);
        } catch (const Error&) {  // this shape does not fit the client's budget: not a way out
          continue;
        }
        const std::int64_t count = missing(count_trainers(table_, plan_.assignments), rules_.min_trainers);
        if (count < best_count) {
          best = assignment;
          best_count = count;
        }
      }
    }
    plan_.assignments[client] = best;
    plan_.trainers = count_trainers(table_, plan_.assignments);
    if (best == asked) return;
    plan_.notes.push_back(fmt::format(
        "client {} trains {} instead of {}, for segments {}", client, describe(best), describe(asked),
        rules_.min_trainers > 1 ? fmt::format("with fewer than {} trainers", rules_.min_trainers)
                                : "without a trainer"));
  }

  const SegmentTable& table_;
  const TrainingShape& training_;
  FleetPlan& plan_;
  const FleetRules& rules_;
};

Assignment narrowest_of_all_blocks(const ModelOptions& m) {
  return {m.blocks, 0, std::min(1, m.heads), std::min(1, m.feed_forward)};
}

[[noreturn]] void refuse(const SegmentTable& table, const TrainingShape& training, const FleetPlan& plan,
                         const FleetRules& rules) {
  const auto fewest = std::min_element(plan.trainers.begin(), plan.trainers.end());
  const Segment& segment = table[SegmentId(static_cast<int>(fewest - plan.trainers.begin()))];
  if (narrow<std::size_t>(rules.min_trainers) > plan.assignments.size()) {
    fail(ExitCode::usage,
         "--min-trainers {} cannot be reached (there are {} clients), give more --clients or ask for at most "
         "so many trainers",
         rules.min_trainers, plan.assignments.size());
  }
  const std::string who = *fewest == 0 ? "nobody" : fmt::format("{} of them", *fewest);
  if (rules.submodel != SubmodelKind::fit) {
    fail(ExitCode::usage,
         "segment {} would be trained by {} ({} clients, --min-trainers {}, --submodel {}), use {}",
         segment.name, who, plan.assignments.size(), rules.min_trainers, to_string(rules.submodel),
         rules.frozen_blocks > 0                    ? "--frozen-blocks 0 or --submodel fit"
         : rules.submodel == SubmodelKind::smallest ? "--balance deep, fewer --blocks or --submodel fit"
                                                    : "a smaller --min-trainers or --submodel fit");
  }
  // A client that holds it would be one more.
  const auto needed = static_cast<double>(
      estimate_cost(table, narrowest_of_all_blocks(table.options()), training).memory.total());
  std::int64_t most = 0;
  for (const ClientBudget& budget : plan.budgets) most = std::max(most, budget.memory);
  fail(ExitCode::usage,
       "segment {} would be trained by {} ({} clients, each segment needs {} of them; the largest budget is "
       "{}, and a client needs {} to train all segments), give clients more memory, lower {}"
       "--batch-size or --frozen-blocks, or use fewer --blocks",
       segment.name, who, plan.assignments.size(), rules.min_trainers,
       format_bytes(static_cast<double>(most)), format_bytes(needed),
       rules.min_trainers > 1 ? "--min-trainers, " : "");
}

/// "clients 0, 3 and 4 more": those for which `is_one` holds; empty where there are none.
template <typename Condition>
std::string name_clients(std::size_t clients, Condition is_one) {
  constexpr int kNamed = 8;
  std::string text;
  int count = 0;
  for (std::size_t c = 0; c < clients; ++c) {
    if (!is_one(c)) continue;
    if (++count <= kNamed) text += (text.empty() ? "" : ", ") + std::to_string(c);
  }
  if (count == 0) return "";
  return fmt::format("client{} {}{}", count > 1 ? "s" : "", text,
                     count > kNamed ? fmt::format(" and {} more", count - kNamed) : "");
}

/// Everybody who takes part trains the full model.
void give_full_models(const SegmentTable& table, const TrainingShape& training, const FleetRules& rules,
                      FleetPlan& plan) {
  Assignment full = full_assignment(table.options());
  full.frozen_blocks = rules.frozen_blocks;
  const PlanCost cost = estimate_cost(table, full, training);
  const auto too_small = [&](std::size_t c) {
    TrainingShape shape = training;
    shape.micro_batch = choose_micro_batch(table, training, full, plan.budgets[c]);
    return !plan.budgets[c].holds(estimate_cost(table, full, shape));
  };
  const bool drop = rules.submodel == SubmodelKind::drop;
  std::int64_t most = 0;
  for (std::size_t c = 0; c < plan.budgets.size(); ++c) {
    plan.assignments.push_back(drop && too_small(c) ? Assignment{} : full);
    most = std::max(most, plan.budgets[c].memory);
  }
  if (std::none_of(plan.assignments.begin(), plan.assignments.end(),
                   [](const Assignment& a) { return a.takes_part(); })) {
    fail(ExitCode::usage,
         "--submodel drop leaves no client (the full model needs {} and {} parameters, the largest budget is "
         "{}), give a client more memory (and all FLOPs with --compute-budgets) or use --submodel fit",
         format_bytes(static_cast<double>(cost.memory.total())), cost.parameters,
         format_bytes(static_cast<double>(most)));
  }
  const std::string small = name_clients(plan.budgets.size(), too_small);
  if (small.empty()) return;
  plan.notes.push_back(small + (drop ? ": no part in training, the full model does not fit (--submodel drop)"
                                     : ": trained beyond the budget (--submodel full)"));
}

void give_smallest_submodel(const SegmentTable& table, const TrainingShape& training, FleetPlan& plan) {
  const auto memory = [&](const Assignment& a) {
    return a.takes_part() ? largest_cost(table, a, training).memory.total() : INT64_MAX;
  };
  const Assignment smallest =
      *std::min_element(plan.assignments.begin(), plan.assignments.end(),
                        [&](const Assignment& a, const Assignment& b) { return memory(a) < memory(b); });
  const auto larger = [&](const Assignment& a) { return a.takes_part() && !(a == smallest); };
  const std::string changed =
      name_clients(plan.assignments.size(), [&](std::size_t c) { return larger(plan.assignments[c]); });
  std::replace_if(plan.assignments.begin(), plan.assignments.end(), larger, smallest);
  if (!changed.empty()) {
    plan.notes.push_back(changed +
                         ": less than the budget holds, as everybody trains the same (--submodel smallest)");
  }
}

Assignment plan_one(const SegmentTable& table, const TrainingShape& training, const ClientBudget& budget,
                    const FleetRules& rules) {
  try {
    return rules.rolling_windows ? plan_rolling_client(table, training, budget, rules.balance)
                                 : plan_client(table, training, budget, rules.balance, rules.frozen_blocks,
                                               rules.width_balance);
  } catch (const Error&) {
    if (!rules.drop_too_small) throw;
    return {};
  }
}

void add_costs(const SegmentTable& table, const TrainingShape& training, FleetPlan& plan) {
  for (std::size_t client = 0; client < plan.assignments.size(); ++client) {
    const Assignment& assignment = plan.assignments[client];
    TrainingShape shape = training;
    shape.micro_batch = choose_micro_batch(table, training, assignment, plan.budgets[client]);
    plan.micro_batches.push_back(shape.micro_batch);
    plan.costs.push_back(assignment.takes_part() ? largest_cost(table, assignment, shape) : PlanCost{});
  }
}

void name_dropped(const FleetRules& rules, FleetPlan& plan) {
  const std::string dropped =
      name_clients(plan.assignments.size(), [&](std::size_t c) { return !plan.assignments[c].takes_part(); });
  if (dropped.empty()) return;
  plan.notes.push_back(
      fmt::format("{}: no part in training, the budget holds no {} submodel (--drop-too-small)", dropped,
                  to_string(rules.balance)));
}

}  // namespace

std::string to_string(SubmodelKind kind) {
  switch (kind) {
    case SubmodelKind::fit:
      return "fit";
    case SubmodelKind::full:
      return "full";
    case SubmodelKind::smallest:
      return "smallest";
    case SubmodelKind::drop:
      return "drop";
  }
  return "unknown";
}

int FleetPlan::deepest() const {
  int deepest = 0;
  for (const Assignment& a : assignments) deepest = std::max(deepest, a.kept_blocks);
  return deepest;
}

int FleetPlan::least_trainers() const {
  return trainers.empty() ? 0 : *std::min_element(trainers.begin(), trainers.end());
}

int most_trainers(const SegmentTable& table, const TrainingShape& training,
                  const std::vector<ClientBudget>& budgets, int clients) {
  const PlanCost cost = estimate_cost(table, narrowest_of_all_blocks(table.options()), training);
  int able = 0;
  for (int c = 0; c < clients; ++c)
    able += budgets[static_cast<std::size_t>(c) % budgets.size()].holds(cost) ? 1 : 0;
  return able;
}

FleetPlan plan_fleet(const SegmentTable& table, const TrainingShape& training,
                     const std::vector<ClientBudget>& budgets, int clients, const FleetRules& asked) {
  if (clients < 1 || budgets.empty()) {
    fail(ExitCode::usage,
         "a fleet of {} clients and {} budgets cannot train (one of each is the least), give --clients and "
         "--budgets",
         clients, budgets.size());
  }
  FleetRules rules = asked;
  if (rules.min_trainers == 0) {
    // Other kinds have one shape for everybody.
    rules.min_trainers = rules.submodel == SubmodelKind::fit
                             ? std::max(1, most_trainers(table, training, budgets, clients))
                             : 1;
  }
  FleetPlan plan;
  for (int client = 0; client < clients; ++client)
    plan.budgets.push_back(budgets[static_cast<std::size_t>(client) % budgets.size()]);
  if (rules.submodel == SubmodelKind::full || rules.submodel == SubmodelKind::drop) {
    give_full_models(table, training, rules, plan);
  } else {
    // Clients with the same budget have the same plan.
    for (std::size_t client = 0; client < plan.budgets.size(); ++client) {
      plan.assignments.push_back(client < budgets.size()
                                     ? plan_one(table, training, plan.budgets[client], rules)
                                     : plan.assignments[client - budgets.size()]);
    }
    name_dropped(rules, plan);
    if (rules.submodel == SubmodelKind::smallest) give_smallest_submodel(table, training, plan);
  }
  plan.trainers = count_trainers(table, plan.assignments);
  if (rules.submodel == SubmodelKind::fit) Coverage(table, training, plan, rules).repair();
  const int blocks = rules.submodel == SubmodelKind::smallest ? plan.deepest() : table.options().blocks;
  for (const Segment& segment : table) {
    if (segment.block < blocks &&
        plan.trainers[static_cast<std::size_t>(segment.id.value())] < rules.min_trainers)
      refuse(table, training, plan, rules);
  }
  if (blocks < table.options().blocks) {
    plan.notes.push_back(
        fmt::format("the model that is trained has {} of the {} blocks (--submodel smallest)", blocks,
                    table.options().blocks));
  }
  add_costs(table, training, plan);
  return plan;
}

namespace {

/// Gives clients whose limits do not hold their submodels smaller ones.
void keep_to_limits(const SegmentTable& table, const TrainingShape& training, const FleetRules& rules,
                    const std::vector<MeasuredLimit>& limits, FleetPlan& plan) {
  for (std::size_t c = 0; c < limits.size(); ++c) {
    if (limits[c] == MeasuredLimit{}) continue;
    Assignment& assignment = plan.assignments[c];
    ClientBudget& budget = plan.budgets[c];
    TrainingShape shape = training;
    shape.micro_batch = choose_micro_batch(table, training, assignment, budget);
    budget.step_flops = std::min(budget.step_flops, limits[c].step_flops);
    budget.memory = std::min(budget.memory, limits[c].memory);
    if (!assignment.takes_part() || budget.holds(largest_cost(table, assignment, shape))) continue;
    // Its worker chooses the pieces of a batch by the budget of the start, which may hold a whole one.
    shape.micro_batch = 0;
    const Assignment before = assignment;
    try {
      assignment = plan_one(table, shape, budget, rules);
    } catch (const Error&) {  // the limit is below all submodels: what is best now is the least
      assignment = {};
    }
    if (!assignment.takes_part())
      assignment = smallest_submodel(table, rules.balance, rules.frozen_blocks, rules.width_balance);
    const bool memory = budget.memory == limits[c].memory &&
                        largest_cost(table, before, shape).memory.total() > budget.memory;
    plan.notes.push_back(fmt::format("client {} trains {} instead of {} ({})", c, describe(assignment),
                                     describe(before),
                                     memory ? fmt::format("its machine has {} of free memory",
                                                          format_bytes(static_cast<double>(budget.memory)))
                                            : "it computes more slowly than before"));
  }
}

}  // namespace

FleetPlan plan_present(const SegmentTable& table, const TrainingShape& training, const FleetPlan& start,
                       const std::vector<bool>& present, const std::vector<MeasuredLimit>& limits,
                       const FleetRules& asked) {
  FleetRules rules = asked;
  if (rules.min_trainers == 0) rules.min_trainers = std::max(1, start.least_trainers());
  const bool shapes = rules.submodel == SubmodelKind::fit;
  const auto within = [&](const std::vector<MeasuredLimit>& kept) {
    FleetPlan plan;
    plan.budgets = start.budgets;
    for (std::size_t c = 0; c < present.size(); ++c)
      plan.assignments.push_back(present[c] ? start.assignments[c] : Assignment{});
    if (shapes) keep_to_limits(table, training, rules, kept, plan);
    plan.trainers = count_trainers(table, plan.assignments);
    if (shapes) Coverage(table, training, plan, rules).repair(present);
    return plan;
  };
  FleetPlan plan = within(limits);
  if (missing(plan.trainers, rules.min_trainers) > 0) {
    std::vector<MeasuredLimit> of_memory = limits;
    for (MeasuredLimit& limit : of_memory) limit.step_flops = HUGE_VAL;
    FleetPlan slower = within(of_memory);
    if (missing(slower.trainers, rules.min_trainers) < missing(plan.trainers, rules.min_trainers))
      plan = std::move(slower);
  }
  for (std::size_t c = 0; c < present.size(); ++c) {
    if (!present[c]) plan.assignments[c] = start.assignments[c];
  }
  plan.budgets = start.budgets;
  add_costs(table, training, plan);
  return plan;
}

// Halves of halves, none less than the shape's: what the plan counted on is only needed where memory is
// short, and smaller pieces are slower.
int choose_micro_batch(const SegmentTable& table, const TrainingShape& training, const Assignment& assignment,
                       const ClientBudget& budget) {
  TrainingShape shape = training;
  shape.micro_batch = 0;
  if (!assignment.takes_part() || !training.accumulates()) return 0;
  int piece = training.batch_size;
  while (piece > training.micro_batch &&
         largest_cost(table, assignment, shape).memory.total() > budget.memory) {
    piece = std::max(training.micro_batch, (piece + 1) / 2);
    shape.micro_batch = piece;
  }
  return shape.micro_batch;
}

}  // namespace cos2p
