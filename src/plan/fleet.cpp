#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "cos2p/plan/planner.hpp"
#include "cos2p/support/bytes.hpp"
#include "cos2p/support/error.hpp"

namespace cos2p {
namespace {

std::vector<int> count_trainers(const SegmentTable& table, const std::vector<Assignment>& assignments) {
  std::vector<int> trainers;
  for (const Segment& segment : table) {
    trainers.push_back(static_cast<int>(std::count_if(
        assignments.begin(), assignments.end(), [&](const Assignment& a) { return trains(a, segment); })));
  }
  return trainers;
}

std::int64_t uncovered(const std::vector<int>& trainers) {
  return std::count(trainers.begin(), trainers.end(), 0);
}

std::string describe(const Assignment& a) {
  return fmt::format("{} blocks ({} frozen), {} heads, {} neurons", a.kept_blocks, a.frozen_blocks, a.heads,
                     a.neurons);
}

/// Gives segments without a trainer one by planning single clients anew.
class Coverage {
 public:
  Coverage(const SegmentTable& table, const TrainingShape& training, FleetPlan& plan, BalanceKind balance)
      : table_(table), training_(training), plan_(plan), balance_(balance) {}

  void repair() {
    std::vector<std::size_t> clients(plan_.assignments.size());
    std::iota(clients.begin(), clients.end(), std::size_t{0});
    std::stable_sort(clients.begin(), clients.end(), [this](std::size_t a, std::size_t b) {
      return plan_.budgets[a].memory > plan_.budgets[b].memory;
    });
    for (std::size_t client : clients) {
      if (uncovered(plan_.trainers) == 0) return;
      improve(client);
    }
  }

 private:
  // Tries the client's other shapes and keeps the one that leaves the fewest segments without a trainer, if
  // it is an improvement.
  void improve(std::size_t client) {
    const Assignment asked = plan_.assignments[client];
    Assignment best = asked;
    std::int64_t best_count = uncovered(plan_.trainers);
    for (const BalanceKind balance : {balance_, BalanceKind::deep}) {
      for (const int frozen : {asked.frozen_blocks, 0}) {
        Assignment& assignment = plan_.assignments[client];
        try {
          assignment = plan_client(table_, training_, plan_.budgets[client], balance, frozen);
        } catch (const Error&) {  // this shape does not fit the client's budget: not a way out
          continue;
        }
        const std::int64_t count = uncovered(count_trainers(table_, plan_.assignments));
        if (count < best_count) {
          best = assignment;
          best_count = count;
        }
      }
    }
    plan_.assignments[client] = best;
    plan_.trainers = count_trainers(table_, plan_.assignments);
    if (best == asked) return;
    plan_.notes.push_back(
        fmt::format("client {} trains {} instead of {}, so that every segment has a trainer", client,
                    describe(best), describe(asked)));
  }

  const SegmentTable& table_;
  const TrainingShape& training_;
  FleetPlan& plan_;
  BalanceKind balance_;
};

[[noreturn]] void refuse(const SegmentTable& table, const TrainingShape& training, const FleetPlan& plan) {
  const auto first = std::find(plan.trainers.begin(), plan.trainers.end(), 0) - plan.trainers.begin();
  const Segment& segment = table[SegmentId(static_cast<int>(first))];
  // One client with the narrowest model of full depth, nothing frozen, would be enough.
  const Assignment narrowest{table.options().blocks, 0, 1, 1};
  const auto needed = static_cast<double>(estimate_cost(table, narrowest, training).memory.total());
  std::int64_t most = 0;
  for (const ClientBudget& budget : plan.budgets) most = std::max(most, budget.memory);
  fail(ExitCode::usage,
       "segment {} would be trained by nobody ({} clients, {} segments without a trainer; the largest budget "
       "is {}, and a "
       "client needs {} to train all segments), give a client more memory, lower --batch-size or "
       "--frozen-blocks, or use "
       "fewer --blocks",
       segment.name, plan.assignments.size(), uncovered(plan.trainers),
       format_bytes(static_cast<double>(most)), format_bytes(needed));
}

}  // namespace

int FleetPlan::least_trainers() const {
  return trainers.empty() ? 0 : *std::min_element(trainers.begin(), trainers.end());
}

FleetPlan plan_fleet(const SegmentTable& table, const TrainingShape& training,
                     const std::vector<ClientBudget>& budgets, int clients, BalanceKind balance,
                     int frozen_blocks) {
  if (clients < 1 || budgets.empty()) {
    fail(ExitCode::usage,
         "a fleet of {} clients and {} budgets cannot train (one of each is the least), give --clients and "
         "--budgets",
         clients, budgets.size());
  }
  FleetPlan plan;
  for (int client = 0; client < clients; ++client) {
    plan.budgets.push_back(budgets[static_cast<std::size_t>(client) % budgets.size()]);
    plan.assignments.push_back(plan_client(table, training, plan.budgets.back(), balance, frozen_blocks));
  }
  plan.trainers = count_trainers(table, plan.assignments);
  Coverage(table, training, plan, balance).repair();
  if (plan.least_trainers() == 0) refuse(table, training, plan);
  for (const Assignment& assignment : plan.assignments)
    plan.costs.push_back(estimate_cost(table, assignment, training));
  return plan;
}

}  // namespace cos2p
