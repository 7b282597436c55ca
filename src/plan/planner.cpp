#include "cos2p/plan/planner.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <exception>
#include <numeric>

#include "cos2p/support/bytes.hpp"
#include "cos2p/support/error.hpp"

namespace cos2p {
namespace {

std::int64_t memory_of(const SegmentTable& table, const Assignment& assignment,
                       const TrainingShape& training) {
  return estimate_cost(table, assignment, training).memory.total();
}

bool is_number(const std::string& text) {
  return !text.empty() && text.find_first_not_of("0123456789.") == std::string::npos &&
         std::count(text.begin(), text.end(), '.') <= 1 && text != ".";
}

bool starts_like_a_size(const std::string& text) {
  return !text.empty() && (std::string("0123456789.+-").find(text[0]) != std::string::npos);
}

bool fits_in_shape(const SegmentTable& table, const Assignment& assignment, const TrainingShape& training,
                   const ClientBudget& budget) {
  for (int round = 0; round < window_count(table, assignment); ++round) {
    if (!budget.holds(estimate_cost(table, window_at(table, assignment, round), training))) return false;
  }
  return true;
}

/// In pieces of the batch or as a whole: where weights outweigh activations, the sum of the pieces' gradients
/// takes more than pieces save.
bool fits(const SegmentTable& table, const Assignment& assignment, const TrainingShape& training,
          const ClientBudget& budget) {
  if (fits_in_shape(table, assignment, training, budget)) return true;
  TrainingShape whole = training;
  whole.micro_batch = 0;
  return training.accumulates() && fits_in_shape(table, assignment, whole, budget);
}

/// The submodels of one balance, from the smallest (step 1) to the largest (step steps()); cost grows with
/// the step.
class Ladder {
 public:
  /// `most_blocks`: no submodel is deeper.
  Ladder(const SegmentTable& table, BalanceKind balance, int frozen_blocks, int most_blocks,
         WidthBalance width = WidthBalance::even)
      : table_(table), balance_(balance), frozen_(frozen_blocks), most_blocks_(most_blocks), width_(width) {}

  int steps() const {
    const ModelOptions& m = table_.options();
    if (balance_ == BalanceKind::wide) return m.blocks;
    if (balance_ == BalanceKind::shallow) return width_steps() + m.blocks - 1;
    return std::max(m.blocks, width_steps());
  }

  Assignment at(int step) const {
    Assignment a = balance_ == BalanceKind::shallow ? shallow(step) : of_share(step);
    a.width_balance = width_;
    return a;
  }

 private:
  int width_steps() const { return std::max(table_.options().heads, table_.options().feed_forward); }

  Assignment of_share(int step) const {
    const ModelOptions& m = table_.options();
    const double share = static_cast<double>(step) / steps();
    Assignment a{depth(most_blocks_), frozen_, m.heads, m.feed_forward};
    if (balance_ != BalanceKind::deep)
      a.kept_blocks = depth(std::min(most_blocks_, rounded(share * m.blocks)));
    if (balance_ != BalanceKind::wide) {
      a.heads = std::min(m.heads, std::max(1, rounded(share * m.heads)));
      a.neurons = std::min(m.feed_forward, std::max(1, rounded(share * m.feed_forward)));
    }
    return a;
  }

  // First the width of the shallowest window grows, then its depth.
  Assignment shallow(int step) const {
    const ModelOptions& m = table_.options();
    const double share = std::min(1.0, static_cast<double>(step) / width_steps());
    return {depth(std::min(most_blocks_, std::max(1, step - width_steps() + 1))), frozen_,
            std::min(m.heads, std::max(1, rounded(share * m.heads))),
            std::min(m.feed_forward, std::max(1, rounded(share * m.feed_forward)))};
  }

  static int rounded(double value) { return static_cast<int>(std::lround(value)); }

  // The deepest window of at most `wanted` blocks that ends at an exit; the shallowest that trains a block
  // where there is none.
  int depth(int wanted) const {
    int best = 0;
    for (int exit : table_.options().exits) {
      const int window = exit + 1;
      if (window > frozen_ && (best == 0 || window <= wanted)) best = window;
    }
    return best;
  }

  const SegmentTable& table_;
  BalanceKind balance_;
  int frozen_, most_blocks_;
  WidthBalance width_;
};

[[noreturn]] void refuse_budget(const SegmentTable& table, const TrainingShape& training,
                                const ClientBudget& budget, BalanceKind balance, const Assignment& smallest) {
  const PlanCost cost = estimate_cost(table, smallest, training);
  if (cost.parameters > budget.parameters) {
    fail(ExitCode::usage,
         "budget '{}' is too small (the smallest {} submodel has {} parameters, {} more than the {} given), "
         "give a larger share or choose {}",
         budget.text, to_string(balance), cost.parameters, cost.parameters - budget.parameters,
         budget.parameters, balance == BalanceKind::wide ? "another --balance" : "a larger --model");
  }
  if (cost.step_flops > budget.step_flops) {
    fail(
        ExitCode::usage,
        "the compute budget beside budget '{}' is too small (a step of the smallest {} submodel takes {:.3g} "
        "FLOPs, {:.3g} are given), give a larger share with --compute-budgets{}",
        budget.text, to_string(balance), cost.step_flops, budget.step_flops,
        balance == BalanceKind::wide ? " or use --balance shallow" : "");
  }
  const std::int64_t least = cost.memory.total();
  fail(ExitCode::usage,
       "budget '{}' is too small (the smallest {} submodel needs {} to train with --batch-size {}, {} more "
       "than the {} given), give more memory, "
       "lower --batch-size{}",
       budget.text, to_string(balance), format_bytes(static_cast<double>(least)), training.batch_size,
       format_bytes(static_cast<double>(least - budget.memory)),
       format_bytes(static_cast<double>(budget.memory)),
       balance == BalanceKind::wide ? " or use --balance shallow" : " or choose a smaller --model");
}

}  // namespace

std::string to_string(BalanceKind kind) {
  switch (kind) {
    case BalanceKind::balanced:
      return "balanced";
    case BalanceKind::deep:
      return "deep";
    case BalanceKind::wide:
      return "wide";
    case BalanceKind::shallow:
      return "shallow";
  }
  return "unknown";
}

BalanceKind parse_balance_kind(const std::string& text) {
  for (BalanceKind kind :
       {BalanceKind::balanced, BalanceKind::deep, BalanceKind::wide, BalanceKind::shallow}) {
    if (to_string(kind) == text) return kind;
  }
  fail(ExitCode::usage,
       "--balance '{}' is unknown (known: balanced, deep, wide, shallow), choose one of them", text);
}

namespace {

/// What shares of the full model are shares of: its training with the whole batch at once.
std::int64_t full_memory(const SegmentTable& table, TrainingShape training) {
  training.micro_batch = 0;
  return memory_of(table, full_assignment(table.options()), training);
}

}  // namespace

void limit_compute(std::vector<ClientBudget>& budgets, const std::vector<double>& shares,
                   const SegmentTable& table, const TrainingShape& training) {
  if (budgets.empty() || shares.empty()) return;
  const std::size_t own = budgets.size(), all = std::lcm(own, shares.size());
  const double full = estimate_cost(table, full_assignment(table.options()), training).step_flops;
  for (std::size_t c = 0; c < all; ++c) {
    if (c >= own) budgets.push_back(budgets[c % own]);
    // A little more, so that a share of 1 holds the full model whatever is rounded.
    budgets[c].step_flops = shares[c % shares.size()] * full * (1 + 1e-9);
  }
}

double budget_share(const ClientBudget& budget, const SegmentTable& table, const TrainingShape& training) {
  const auto of = [](std::int64_t part, std::int64_t whole) {
    return std::min(1.0, static_cast<double>(part) / static_cast<double>(whole));
  };
  return std::min(of(budget.memory, full_memory(table, training)), of(budget.parameters, table.parameters()));
}

ClientBudget parse_budget(const std::string& text, const SegmentTable& table, const TrainingShape& training,
                          const std::string& option) {
  ClientBudget budget;
  budget.text = text;
  budget.device = find_device_profile("cpu");
  if (text.size() > 1 && text.back() == '%' && is_number(text.substr(0, text.size() - 1))) {
    const double percent = std::strtod(text.c_str(), nullptr);
    if (percent <= 0 || percent > 100) {
      fail(ExitCode::usage,
           "{} '{}' is no share of the full model's parameters (it must be above 0 % and at most 100 %), "
           "give for example 50%",
           option, text);
    }
    budget.parameters = std::llround(percent / 100 * static_cast<double>(table.parameters()));
    budget.memory = full_memory(table, training);
    return budget;
  }
  const double number = is_number(text) ? std::strtod(text.c_str(), nullptr) : -1.0;
  if (is_number(text) && (number <= 1.0 || text.find('.') != std::string::npos)) {
    if (number <= 0.0 || number > 1.0) {
      fail(ExitCode::usage,
           "{} '{}' is no share of the full model (it must be above 0 and at most 1), give 0.5, 2GiB or a "
           "device such as orin-nano",
           option, text);
    }
    budget.memory = std::llround(number * static_cast<double>(full_memory(table, training)));
  } else if (starts_like_a_size(text)) {
    const std::uint64_t bytes = parse_bytes(text, option);
    budget.memory = static_cast<std::int64_t>(std::min<std::uint64_t>(bytes, INT64_MAX));
  } else {
    try {
      budget.device = find_device_profile(text);
    } catch (const Error& error) {
      fail(ExitCode::usage, "{} '{}' is no share (0.5 or 50%) and no size (2GiB), and {}", option, text,
           error.what());
    }
    budget.text = budget.device.name;  // shorter where a profile is written out
    budget.memory = static_cast<std::int64_t>(usable_memory(budget.device));
  }
  return budget;
}

Assignment plan_client(const SegmentTable& table, const TrainingShape& training, const ClientBudget& budget,
                       BalanceKind balance, int frozen_blocks, WidthBalance width) {
  const int blocks = table.options().blocks;
  if (frozen_blocks < 0 || frozen_blocks >= blocks) {
    fail(ExitCode::usage,
         "--frozen-blocks {} leaves nothing to train (the model has {} blocks), freeze between 0 and {}",
         frozen_blocks, blocks, blocks - 1);
  }
  // `deep` gives up a block only where not even the narrowest submodel fits.
  int most_blocks = blocks;
  while (balance == BalanceKind::deep && most_blocks > frozen_blocks + 1 &&
         !fits(table, Ladder(table, balance, frozen_blocks, most_blocks, width).at(1), training, budget)) {
    --most_blocks;
  }
  const Ladder ladder(table, balance, frozen_blocks, most_blocks, width);
  if (!fits(table, ladder.at(1), training, budget))
    refuse_budget(table, training, budget, balance, ladder.at(1));
  int fitting = 1, too_large = ladder.steps() + 1;
  while (too_large - fitting > 1) {
    const int middle = (fitting + too_large) / 2;
    (fits(table, ladder.at(middle), training, budget) ? fitting : too_large) = middle;
  }
  return ladder.at(fitting);
}

Assignment smallest_submodel(const SegmentTable& table, BalanceKind balance, int frozen_blocks,
                             WidthBalance width) {
  const int most_blocks = balance == BalanceKind::deep ? frozen_blocks + 1 : table.options().blocks;
  return Ladder(table, balance, frozen_blocks, most_blocks, width).at(1);
}

PlanCost largest_cost(const SegmentTable& table, const Assignment& assignment,
                      const TrainingShape& training) {
  PlanCost largest;
  for (int round = 0; round < window_count(table, assignment); ++round) {
    const PlanCost cost = estimate_cost(table, window_at(table, assignment, round), training);
    if (round == 0 || cost.memory.total() > largest.memory.total()) largest = cost;
  }
  return largest;
}

Assignment plan_rolling_client(const SegmentTable& table, const TrainingShape& training,
                               const ClientBudget& budget, BalanceKind balance) {
  const ModelOptions& m = table.options();
  // Every block must come into some window: none is shorter than the largest distance between exits.
  int shortest = 0, last = -1;
  for (const int exit : m.exits) {
    shortest = std::max(shortest, exit - last);
    last = exit;
  }
  // `first`: the first window that the client takes.
  const auto try_ladder = [&](BalanceKind kind, int first, Assignment& best) {
    const Ladder ladder(table, kind, 0, m.blocks);
    bool found = false;
    for (int step = 1; step <= ladder.steps(); ++step) {
      Assignment rolling = ladder.at(step);
      const int length = std::max(shortest, rolling.kept_blocks);
      if (length == m.blocks) break;
      rolling.frozen_blocks = m.blocks - length;
      rolling.kept_blocks = m.blocks;
      rolling.rolling = first;
      if (window_count(table, rolling) < 1 || !fits(table, rolling, training, budget)) break;
      best = rolling;
      found = true;
    }
    return found;
  };
  Assignment best;
  std::exception_ptr too_small;
  try {
    best = plan_client(table, training, budget, balance, 0);
    if (best.kept_blocks == m.blocks) return best;
  } catch (const Error&) {
    too_small = std::current_exception();
  }
  if (try_ladder(balance, 1, best)) return best;
  if (balance == BalanceKind::wide && try_ladder(BalanceKind::balanced, 1, best)) return best;
  // Where the embedding is what does not fit, it stays frozen.
  if (too_small && !try_ladder(balance, 2, best)) std::rethrow_exception(too_small);
  return best;
}

}  // namespace cos2p
