#pragma once

#include <cstdint>
#include <deque>
#include <utility>
#include <vector>

#include "cos2p/plan/planner.hpp"
#include "cos2p/support/typed_id.hpp"

namespace cos2p {

/// What clients' reports say of their devices while a run goes on, and the limits for their submodels that
/// follow. A client's speed is compared with its own at the start, under the same submodel: who computes
/// slower by a factor gets as many FLOPs a step as it now does in the time of a step at the start, until it
/// is faster again by that factor, or nearly as fast as at first. A client whose machine has less memory free
/// than its submodel's training needs gets 90 % of what is free, until that has grown by half or is enough
/// for its submodel of the start. All by medians of a few local rounds.
class FleetWatch {
 public:
  /// `speed_change`: the factor, above 1; 0 = speed limits nothing. What is given outlives the watch.
  FleetWatch(const SegmentTable& table, const TrainingShape& training, const FleetPlan& start,
             double speed_change);

  /// What one local round showed.
  struct Observation {
    ClientId client;
    int local_round = 0;
    double time_s = 0;  ///< when it was reported
    std::int64_t steps = 0;
    double compute_s = 0;
    std::int64_t free_memory = 0;  ///< bytes; 0 = not known
  };
  /// True where the client's limit is another one now.
  bool observe(const Observation& seen);
  /// Another worker, perhaps on another device, executes the client from now on.
  void forget(ClientId client);
  /// These hold from now on, by client.
  void begin_plan(const std::vector<Assignment>& assignments);
  const std::vector<MeasuredLimit>& limits() const { return limits_; }  ///< by client

  /// Medians are of so many rounds, or of all in so many seconds where these are more. Rounds right after a
  /// new plan do not count: they may be of the one before, or choose units.
  static constexpr std::size_t kRounds = 5;
  static constexpr double kSeconds = 10;
  static constexpr int kSettling = 2;

 private:
  class Measured {
   public:
    /// True where there are enough of them for a median.
    bool add(double time_s, double value);
    double median() const;

   private:
    std::deque<std::pair<double, double>> values_;  ///< (s, value), newest last
  };
  struct Client {
    Assignment assignment;
    double needed_memory = 0;  ///< bytes, predicted
    int settling = kSettling;  ///< rounds that still do not count
    Measured flops, free;      ///< FLOP/s and bytes
    double start_flops = 0;    ///< FLOP/s under the plan of the start, at first; 0 = not known yet
    double first_flops = 0;    ///< FLOP/s under this assignment when it was new; 0 = not known yet
    double pace = 1;           ///< of the device against itself at the start, when this plan was made
  };
  bool judge_speed(Client& client, MeasuredLimit& limit, const Assignment& start_assignment,
                   double step_flops) const;
  bool judge_memory(const Client& client, MeasuredLimit& limit, double start_need) const;
  void set_assignment(std::size_t client, const Assignment& assignment);

  const SegmentTable& table_;
  const TrainingShape& training_;
  const FleetPlan& start_;
  double speed_change_;
  std::vector<Client> clients_;
  std::vector<MeasuredLimit> limits_;
};

}  // namespace cos2p
