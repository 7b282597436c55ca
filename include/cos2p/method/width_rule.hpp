#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "cos2p/model/segment_table.hpp"
#include "cos2p/model/unit_set.hpp"
#include "cos2p/support/random.hpp"
#include "cos2p/support/span.hpp"

namespace cos2p {

/// Which k of a segment's d units a client trains. Every kept block gets the same share.
enum class WidthRule {
  magnitude,         ///< those whose values in the server's model have the largest L2 norm
  prefix,            ///< 0 .. k-1 (HeteroFL, FjORD)
  rolling,           ///< a window that moves by one unit with each choice (FedRolex)
  random,            ///< a fresh draw with each choice (federated dropout)
  covering,          ///< a draw with each choice in which all clients together hold every unit (RA-Fed)
  taylor,            ///< those whose removal changes the loss on the client's data most, to first order
  straight_through,  ///< scores trained on the client's data behind a top-k mask
  hard_concrete,     ///< stochastic gates trained on the client's data (Louizos et al. 2018)
};
std::string to_string(WidthRule rule);
/// Whether the rule looks at the client's data: it then runs a mask phase (plan/submodel_plan.hpp).
bool needs_data(WidthRule rule);

struct WidthOptions {
  WidthRule rule = WidthRule::magnitude;
  int reselect_every = 10;  ///< local rounds after which a client chooses its units anew; 0 = never
  int mask_steps = 10;      ///< batches of a mask phase
  /// Whether a client chooses before its local round `index` (and in its first, whatever that is).
  bool chooses_at(int index) const {
    return index == 0 || (reselect_every > 0 && index % reselect_every == 0);
  }
  /// Which choice local round `index` is in, 0-based; its first round is choice * reselect_every.
  int choice_of(int index) const { return reselect_every > 0 ? index / reselect_every : 0; }
};

// All return `count` of `total` units, 0 <= count <= total.

UnitSet prefix_units(std::int64_t total, std::int64_t count);
/// {(j - shift) mod total : 0 <= j < count}, FedRolex's window. `shift` is the number of the client's choice:
/// in lockstep and with a choice in every round that is the round, as published; otherwise a slow client's
/// window still passes over all units, which one that followed the server's rounds may not.
UnitSet rolling_units(std::int64_t total, std::int64_t count, std::int64_t shift);
/// Every subset of that size with the same probability.
UnitSet random_units(std::int64_t total, std::int64_t count, Rng& rng);
/// The units at positions (start + j) mod total, 0 <= j < count, of an order drawn from `order`. Clients that
/// draw the same order, each starting where the one before it ended, together hold every unit as evenly as
/// can be: each is held floor(K / total) or ceil(K / total) times, with K the sum of their counts.
UnitSet covering_units(std::int64_t total, std::int64_t count, std::int64_t start, Rng& order);
/// The largest scores; ties by index, a score that is not a number comes last.
UnitSet top_units(Span<const double> scores, std::int64_t count);

/// L2 norm of all of a unit's values, per unit. `values` is the full segment.
std::vector<double> unit_magnitudes(const Segment& segment, Span<const float> values);

}  // namespace cos2p
