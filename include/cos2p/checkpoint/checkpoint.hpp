#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "cos2p/data/samples.hpp"
#include "cos2p/model/segment_table.hpp"
#include "cos2p/model/unit_set.hpp"
#include "cos2p/plan/submodel_plan.hpp"
#include "cos2p/transport/message.hpp"

namespace cos2p {

/// Present layout of the file, and the oldest that is read; others are refused. checkpoints/README.md
/// documents each path.
inline constexpr int kSchemaVersion = 6;
inline constexpr int kOldestSchemaVersion = 2;

/// What all processes of a run must have in common, in words: "cos2p 0.1.0, checkpoints of version 6, little
/// endian".
std::string program_in_words(const std::string& program_version);

/// /meta
struct RunIdentity {
  std::string run_id;  ///< 16 hex digits, drawn once per run, kept by a resume
  std::string program_version;
  std::string created;                         ///< ISO 8601, UTC
  std::string dataset;                         ///< "fashion-mnist"
  std::map<std::string, std::string> options;  ///< every option in effect
};

/// /segments, one row per segment
struct SegmentRecord {
  std::uint64_t version = 0;        ///< merges so far
  std::int64_t updates = 0;         ///< updates merged so far
  std::int64_t trainers = 0;        ///< distinct clients that ever contributed
  std::int32_t last_staleness = 0;  ///< largest of the last merge
  std::int32_t last_updates = 0;    ///< |N_q^i| of the last merge
};

/// /clients/<id>
struct ClientRecord {
  std::string budget;  ///< as written: "0.5", "2GiB", "orin-nano"
  Assignment assignment;
  std::int64_t memory_budget = 0, predicted_memory = 0, measured_memory = 0;  ///< bytes
  std::int64_t samples = 0;
  std::vector<std::int64_t> class_counts;
  std::int32_t rounds = 0;              ///< local rounds delivered; the next one has this index
  std::vector<UnitSet> heads, neurons;  ///< per kept block, as last trained; empty before the first update
};

/// /history/rounds, one row per server round
struct RoundRow {
  std::int32_t round = 0;
  double time_s = 0;         ///< since the start of the run (simulated for the in-process transport)
  std::int32_t reports = 0;  ///< local rounds that closed this round
  std::int32_t updates = 0;  ///< segment updates merged
  std::int32_t n_star = 0;   ///< min over merged segments of |N_q^i|
  std::int32_t segments_merged = 0, segments_total = 0;  ///< coverage
  double staleness_mean = 0;                             ///< tau_q, mean over merged updates
  std::int32_t staleness_max = 0;
  std::int64_t dropped = 0;  ///< messages and updates dropped so far
  double loss = 0;           ///< mean training loss of the reports, by samples
  double utilisation = 0;    ///< compute / (compute + waiting) of the reports
  std::int32_t workers = 0;  ///< alive
};
/// /history/evaluations, one row per evaluation and exit
struct EvaluationRow {
  std::int32_t round = 0;
  std::int32_t block = 0;  ///< exit head's block
  double time_s = 0;
  double loss = 0, accuracy = 0;
};
/// /history/clients, one row per local round
struct ClientRow {
  std::int32_t round = 0;  ///< server round in which it arrived
  std::int32_t client = 0;
  std::int32_t client_round = 0;
  double time_s = 0;
  RoundReport report;
};
/// /history/members, one row per change (between processes only)
struct MemberRow {
  std::int32_t round = 0;   ///< rounds closed
  std::int32_t worker = 0;  ///< rank
  double time_s = 0;
  char state[12] = {};  ///< joining, active, suspect, gone, left (src/server/membership.hpp)
};
/// /history/merges, one row per merge of a segment
struct MergeRow {
  std::int32_t round = 0;      ///< rounds closed
  std::int32_t segment = 0;    ///< row of /segments
  std::int64_t version = 0;    ///< the new one
  std::int32_t updates = 0;    ///< |N_q^i|
  std::int32_t staleness = 0;  ///< the largest of theirs, versions
};
struct History {
  std::vector<RoundRow> rounds;
  std::vector<EvaluationRow> evaluations;
  std::vector<ClientRow> clients;
  std::vector<MemberRow> members;
  std::vector<MergeRow> merges;
};

/// An update that was received and not merged yet; kept so that a resumed run continues to the same bits.
struct PendingUpdate {
  std::int32_t client = 0, client_round = 0, segment = 0;
  std::uint64_t base_version = 0;
  double weight = 0;
  std::vector<std::uint8_t> bitmap;
  std::vector<float> values;
};
/// A local round that was computed and not delivered yet (in-process transport only).
struct InFlightRound {
  std::int32_t client = 0, client_round = 0;
  double deliver_at_s = 0;  ///< simulated time
  /// 1: its updates are deltas, 0: values, whatever a merge takes (pushed_kind()); -1: what a merge takes
  std::int32_t deltas = -1;
  std::vector<PendingUpdate> updates;
  RoundReport report;
};

/// The mean delta with which clients of one depth last moved a segment (src/server/depth_momentum.hpp).
struct ClassDelta {
  std::int32_t depth = 0, segment = 0;
  std::vector<float> values;  ///< of the full segment
};

/// /state: what else a resume needs
struct RunState {
  std::int32_t round = 0;  ///< rounds closed
  double time_s = 0;
  std::uint64_t seed =
      0;  ///< random streams are named by (seed, purpose, client, local round): no more state is needed
  std::vector<double> open_since_s;  ///< per segment: arrival of the first pending update, < 0 where none
  std::vector<std::vector<float>> velocity;  ///< per segment, full; empty where the server has no momentum
  std::vector<ClassDelta> class_deltas;
  std::vector<PendingUpdate> pending;
  std::vector<InFlightRound> in_flight;
  std::vector<double>
      next_start_s;  ///< per client (in-process transport): when its next local round starts; < 0 = waiting
  std::vector<double>
      idle_since_s;  ///< per client (in-process transport): when its last local round arrived; -1 before. Of
                     ///< a client that does not take part: -(seconds that it has waited so far)
  /// Per client (in-process transport): whether it takes part now, and when it is back from a dropout (< 0:
  /// it is not away). Empty where all take part.
  std::vector<std::int32_t> taking_part;
  std::vector<double> away_until_s;
  // counters of the round that is still open
  std::vector<std::int32_t> open_updates;  ///< per segment: updates merged in it
  RoundRow open_round;
  double open_weight = 0, open_compute_s = 0, open_waiting_s = 0;
};

struct Checkpoint {
  RunIdentity identity;
  ModelOptions model;
  InputEncoding input;                     ///< how samples become network input
  std::vector<std::vector<float>> values;  ///< per segment, full
  std::vector<SegmentRecord> segments;
  std::vector<ClientRecord> clients;
  History history;
  RunState state;
};

/// Writes `DIR/checkpoint-<round, 6 digits>.h5`: aside, flushed, synced, renamed; points `DIR/latest` (a
/// relative symbolic link, replaced by rename) at it; removes all but the newest two. Returns the path.
/// Throws Error(environment) with the system's reason where it cannot be written (disk full, read-only,
/// quota): then nothing that was there before has changed.
std::string write_checkpoint(const std::string& directory, const Checkpoint& checkpoint);

/// Writes one file, whole or not at all; replaces what was there. Throws as write_checkpoint().
void write_checkpoint_file(const std::string& path, const Checkpoint& checkpoint);

/// Reads a file, or the newest whole checkpoint of a directory (`latest`; the one before it when that is
/// damaged, with a warning). Throws Error(checkpoint) naming the file and the reason: missing, cut, not HDF5,
/// not ours, another schema version, wrong shapes.
Checkpoint read_checkpoint(const std::string& path);

/// Throws Error(checkpoint) where `checkpoint`, read from `path`, is not of the model `expected`: names the
/// first segment and tensor that differ, with both shapes.
void require_model(const Checkpoint& checkpoint, const ModelOptions& expected, const std::string& path);

/// For `cos2p inspect`: segments, shapes, versions, trainers, masks as a picture in text, history; and the
/// same as JSON.
std::string inspect_text(const Checkpoint& checkpoint, const std::string& path);
std::string inspect_json(const Checkpoint& checkpoint, const std::string& path);

}  // namespace cos2p
