#pragma once

#include <cstdint>
#include <vector>

#include "convergence/problem.hpp"
#include "cos2p/config/run_options.hpp"
#include "cos2p/model/segment_table.hpp"

namespace cos2p::convergence {

/// A model of 256 values in seven segments, two blocks deep: what it would compute does not matter here.
SegmentTable segment_table();

struct RunSettings {
  int delivering = 1;  ///< clients whose local rounds close a server round
  int delay = 0;       ///< rounds between a client's pull and the merge of what it trained from it
  int prompt = 0;      ///< of those that deliver, how many are the same in every round, without delay; less
                       ///< than `delivering`
  int full = 0;  ///< clients that train everything; the others train the embedding and block 0 with half
                 ///< of its units. 0 = all of them; with a delay it must be 0
  int local_steps = 1;                             ///< E
  int rounds = 1;                                  ///< Q
  double rate = 0;                                 ///< eta
  DiscountKind discount = DiscountKind::constant;  ///< of stale updates; polynomial is (1+delay)^-1/2
  std::uint64_t seed = 1;
  /// Those that are not prompt take turns, in delay + 1 groups.
  int late() const { return delivering - prompt; }
  int clients() const { return prompt + late() * (delay + 1); }
};

struct RunResult {
  double gradient = 0;       ///< (1/Q) sum over rounds q of |grad f(x_q)|^2
  double bound = 0;          ///< f(x_0) / (eta E Q) + eta L sigma^2 / (2 N*)
  int n_star = 0;            ///< min over rounds and segments of |N_q^i|, as the server logged it
  double mean_trainers = 0;  ///< mean over rounds and segments of |N_q^i|
  double tau = 0;            ///< (1/Q) sum of tau_q^2, tau_q the largest staleness in round q, as logged
  /// Mean squared derivative per value in the second half of the run: of block 0's segments and of block 1's.
  double late_block_0 = 0, late_block_1 = 0;
};

/// Runs the server's own ServerCore over a ModelStore: clients pull its segments, take E steps of SGD on
/// their f_k (client c has kind c mod kinds) and send it the values of what they train. Units that a client
/// does not keep stay at their pulled values, so that masks decide who trains what and not which function it
/// is. Throws Error(internal) where the server drops an update or closes another number of rounds.
RunResult run(const SegmentTable& table, const Problem& problem, const RunSettings& settings);

}  // namespace cos2p::convergence
