#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "cos2p/checkpoint/checkpoint.hpp"
#include "cos2p/kernels/merge.hpp"
#include "cos2p/plan/planner.hpp"
#include "cos2p/server/policy.hpp"
#include "cos2p/transport/model_store.hpp"

namespace cos2p {

class DepthMomentum;

/// What the aggregator knows of a client.
struct Trainer {
  double samples = 0;  ///< its weight where updates are weighted by samples
  Assignment assignment;
  bool active = true;  ///< its worker lives
};

/// What became of a segment update.
enum class UpdateVerdict { accepted, stale, duplicate, not_finite, malformed };
std::string to_string(UpdateVerdict verdict);

/// Whether the values that lie in a part of a message's body, which begins at `offset`, are all in range
/// (kernels/merge.hpp); false too where a part cuts values.
bool part_in_range(const MessageHeader& header, std::int64_t offset, Span<const std::byte> part);

/// One merge of one segment.
struct SegmentMerge {
  SegmentId segment;
  std::uint64_t version = 0;            ///< the new one
  int updates = 0;                      ///< |N_q^i|
  std::vector<std::int32_t> staleness;  ///< delta of each of them
};

/// Segment-wise, per-unit aggregation with versions and staleness. Deterministic: the merged bits depend on
/// which updates were merged, not on the order in which they came (kernels/merge.hpp). One thread at a time.
class Aggregator {
 public:
  Aggregator(const SegmentTable& table, ModelStore& store, const PolicyOptions& policy,
             std::vector<Trainer> trainers, int threads);
  ~Aggregator();
  Aggregator(const Aggregator&) = delete;
  Aggregator& operator=(const Aggregator&) = delete;

  /// Checks an update before memory is given to it: known client and segment, sizes that can be. Any thread
  /// may call it. Fills `reason`.
  UpdateVerdict check_shape(const MessageHeader& header, std::string& reason) const;
  /// Takes a whole update into the pending ones; `reason` says why it was not.
  UpdateVerdict add(Message update, double now_s, std::string& reason) {
    return take(std::move(update), now_s, Form::pushed, reason);
  }
  /// Merges every segment whose rule is fulfilled.
  std::vector<SegmentMerge> merge_ready(double now_s);

  /// Turns the held update buffers of the segment that holds most into sums, to free their memory.
  void fold_largest();
  void set_active(ClientId client, bool active);
  /// What the client trains in local rounds that begin from that round of the server on. What it still
  /// delivers of what it trained before is taken as well, with the weight that it had then.
  void set_assignment(ClientId client, const Assignment& assignment, int server_round);
  /// The local round that a client is in: decides what it trains where its window is rolling.
  void set_round(ClientId client, int local_round);
  int active_trainers(SegmentId id) const;
  /// When the oldest pending update came; infinity where none is pending.
  double open_since_s() const;

  const std::vector<SegmentRecord>& records() const { return records_; }
  /// Kept units of each block that the client kept at the start, as last seen in updates, of `kind` attention
  /// (heads) or feed-forward (neurons); empty before the first update. A frozen block keeps all; one that no
  /// update came of yet, none.
  std::vector<UnitSet> kept_units(ClientId client, SegmentKind kind) const;

  /// For checkpoints. Updates that were folded into sums and not merged are not part of one.
  void save(Checkpoint& checkpoint) const;
  void restore(const Checkpoint& checkpoint);

 private:
  struct Pending {
    MessageHeader header;
    UnitSet units;
    Buffer body;
    double weight = 0;  ///< quantized share of the largest client's
    double discounted = 0;
    std::int32_t staleness = 0;
    PackedValues values() const;
  };
  struct SegmentState {
    std::vector<Pending> pending;
    PartialSums sums;
    std::vector<std::int32_t> folded_staleness;
    std::vector<std::int32_t> folded_clients;
    double open_since_s = -1;
    std::vector<float> velocity;  ///< per value, where the server has momentum
    int updates() const { return static_cast<int>(pending.size() + folded_staleness.size()); }
  };
  struct Given {
    Assignment assignment;
    int from = 0;  ///< the server's round
  };
  struct ClientState {
    Trainer trainer;
    std::vector<Given> given;                 ///< what it has had: that of the start, then the newest
    std::vector<std::atomic<bool>> may_push;  ///< per segment: one of them trains it
    int round = 0;                            ///< local round that it is in
    std::vector<std::int32_t> last_round;     ///< per segment, of the last accepted update; -1 before
    std::vector<UnitSet> segment_units;       ///< per segment, as last seen
  };
  /// What the values of an update are: what its client pushed (pushed_kind()), or what a merge takes.
  enum class Form { pushed, merged };
  UpdateVerdict take(Message update, double now_s, Form form, std::string& reason);
  UpdateVerdict check_age(const MessageHeader& header, std::string& reason) const;
  /// Whether the client lives and trains the segment in the round that it is in.
  bool trains_now(const ClientState& client, const Segment& segment) const;
  /// What the client trained in the update's local round, if it trained the segment; null where it cannot
  /// have.
  const Assignment* assignment_of(const MessageHeader& header) const;
  void give(ClientState& client, const Assignment& assignment, int from) const;
  double weight_of(const Trainer& trainer, const Assignment& kept) const;
  double pace(const MessageHeader& header) const;
  Anchor anchor(const Segment& segment, const SegmentState& state) const;
  bool all_delivered(const Segment& segment, const SegmentState& state) const;
  std::vector<bool> delivered_to(const SegmentState& state) const;
  SegmentMerge merge(SegmentId id);
  void subtract_present(const Segment& segment, Pending& pending) const;
  static MergeInput input_of(const Pending& pending);
  void fold(SegmentId id);

  const SegmentTable& table_;
  ModelStore& store_;
  PolicyOptions policy_;
  MergeRule rule_;
  int threads_;
  double largest_samples_ = 1;
  std::vector<ClientState> clients_;
  std::vector<SegmentState> segments_;
  std::vector<SegmentRecord> records_;
  std::unique_ptr<DepthMomentum> depth_momentum_;  ///< null where it is 0
  std::vector<std::vector<bool>> contributed_;     ///< per segment, per client
};

}  // namespace cos2p
