#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "cos2p/checkpoint/checkpoint.hpp"
#include "cos2p/server/aggregator.hpp"
#include "cos2p/server/event_log.hpp"

namespace cos2p {

/// The server as a state machine: messages and the time in, merges and closed rounds out. It knows neither
/// MPI nor threads, so that a run between processes and a run inside one process are the same code. Used by
/// one thread at a time.
///
/// A round closes when min(min_updates, active clients) local rounds have been reported in it, or
/// `deadline_s` after the first report. Segments merge by themselves in between (Aggregator).
class ServerCore {
 public:
  struct Setup {
    PolicyOptions policy;
    int rounds = 0;
    std::uint64_t seed = 0;
    int threads =
        0;  ///< that merge; 0 = all cores, at most 8: merges are short, and other ranks share the cores
    RunIdentity identity;
    InputEncoding input;
    std::vector<ClientRecord> clients;  ///< budgets, assignments, samples; without masks and rounds
    /// The newest rows that each table of the history keeps (and up to half as many more; not fewer than
    /// there are clients); 0 = all.
    int history_rows = 0;
  };
  ServerCore(const SegmentTable& table, ModelStore& store, Setup setup);

  /// Called with each round that closes, before the next one opens.
  std::function<void(const RoundRow&)> on_round_closed;
  /// Called with each local round that is delivered.
  std::function<void(const ClientRow&)> on_reported;
  /// Called with each update that is dropped.
  std::function<void(const MessageHeader&, UpdateVerdict, const std::string& reason)> on_dropped;
  /// Called when it changes which segments have no active trainer though the plan gives them some, or whether
  /// one has no trainer, in the latest plan, that could come back (suspects may); with their names, in table
  /// order.
  std::function<void(const std::vector<std::string>& untrained, bool lost)> on_coverage_changed;

  /// Called when a plan that set_plan() was given takes effect, before on_round_closed.
  std::function<void()> on_plan_changed;

  /// Verdict on a message before memory is given to it; any thread may ask.
  UpdateVerdict check_shape(const MessageHeader& header, std::string& reason) const;
  void handle(Message message, double now_s);
  /// Lets deadlines pass.
  void tick(double now_s);
  /// The next moment at which tick() would do something; infinity where there is none.
  double next_deadline_s() const;

  void set_active(ClientId client, bool active, double now_s);
  /// Nobody waits for a suspect. In lockstep, one that comes back after its round has closed owes the report
  /// of that round: what it still pushes for it is dropped, and it takes part again from the next round that
  /// it starts. One that had delivered before it fell silent begins with the round that is open.
  void set_suspect(ClientId client, bool suspect, double now_s);
  /// Another assignment for each client: from the next round on, so that in lockstep nobody is waited for in
  /// vain. Say it before clients are set active or not: then a segment that this plan covers is not lost.
  void set_plan(std::vector<Assignment> plan, double now_s);
  /// The plan that was set last, or that of the start.
  const std::vector<Assignment>& latest_plan() const { return next_plan_.empty() ? plan_ : next_plan_; }
  const std::vector<Assignment>& plan() const { return plan_; }  ///< of the open round, by client
  const std::vector<bool>& present() const { return present_; }
  /// Whether another worker may go on with this client now: in lockstep not before the round closes in which
  /// it has reported.
  bool may_start(ClientId client) const {
    return !setup_.policy.lockstep() || !reported_[static_cast<std::size_t>(client.value())];
  }
  /// A line for /history/members.
  void add_member(WorkerRank worker, const std::string& state, double now_s);
  /// What the channels say, for the rows of rounds: workers that are alive, and messages dropped so far.
  void set_channels(int workers, std::int64_t drops);
  void fold_largest(double now_s);
  /// Is told everything from now on; null = nobody.
  void set_events(EventSink* events) { events_ = events; }

  bool finished() const { return state_round_ >= setup_.rounds; }
  int round() const { return state_round_; }
  int segments() const { return table_.size(); }
  Notice notice(Notice::Phase phase) const;
  std::vector<ClientTask> tasks() const;  ///< of all clients
  std::int64_t updates_dropped() const { return dropped_; }
  const History& history() const { return history_; }
  const ModelStore& store() const {
    return store_;
  }  ///< the published model, for ServerChannel::serve_pull()
  void add_evaluation(const std::vector<EvaluationRow>& rows);

  /// Everything a resume needs, copied.
  Checkpoint snapshot(double now_s) const;
  void restore(const Checkpoint& checkpoint);

 private:
  void report(const Message& message, double now_s);
  /// Whether this message belongs to a round that closed without its client.
  bool owes(const MessageHeader& header, double now_s);
  void note(const std::vector<SegmentMerge>& merges);
  template <typename Row>
  void keep_newest(std::vector<Row>& rows) const;
  void advance(double now_s);
  void close_round_if_due(double now_s);
  void start_clients();
  bool is_active(std::size_t client) const {
    return present_[client] && !suspect_[client] && !owing_[client];
  }
  void activity_changed(ClientId client, double now_s);
  void check_coverage();
  void begin_plan();
  template <typename Trainer>
  std::vector<std::string> segments_without(const std::vector<Assignment>& plan, Trainer is_trainer) const;

  const SegmentTable& table_;
  const ModelStore& store_;
  EventSink* events_ = nullptr;
  Setup setup_;
  MergeRule rule_;
  Aggregator aggregator_;
  std::vector<Assignment> plan_, next_plan_;  ///< by client; the next one is empty where there is none
  std::vector<bool> present_, suspect_,
      owing_;                           ///< per client: as set_active(), set_suspect() and rounds left it
  std::vector<bool> reported_;          ///< in the open round
  std::vector<std::string> untrained_;  ///< this and the next: as on_coverage_changed was told last
  bool lost_ = false;
  History history_;
  int state_round_ = 0;
  int workers_ = 0;
  std::int64_t dropped_ = 0, channel_drops_ = 0;
  // the round that is open
  RoundRow open_;
  double open_since_s_ = -1;
  double loss_sum_ = 0, sample_sum_ = 0, compute_s_ = 0, waiting_s_ = 0;
  double staleness_sum_ = 0;
  std::vector<std::int32_t> merged_updates_;  ///< per segment
};

}  // namespace cos2p
