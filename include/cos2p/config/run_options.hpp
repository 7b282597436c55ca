#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "cos2p/data/batch.hpp"
#include "cos2p/data/dataset.hpp"
#include "cos2p/data/partition.hpp"
#include "cos2p/method/objective_options.hpp"
#include "cos2p/method/width_rule.hpp"
#include "cos2p/model/model_options.hpp"
#include "cos2p/plan/planner.hpp"
#include "cos2p/transport/channel.hpp"

namespace cos2p {

/// The last two are published settings of the others, and of how updates are merged (policy_settings.hpp).
enum class PolicyKind { sync, semi_async, async, fedasync, fedbuff };
/// What a merge takes: the trained values, or what training added to the values that the client received.
enum class MergeKind { values, deltas };
enum class DiscountKind { constant, polynomial, hinge };
enum class WeightingKind { samples, uniform };
/// How far a merge moves a value when not every trainer of it has delivered: `updates` averages those that
/// came; `trainers` lets the absent ones hold the present value, so that one client alone cannot overwrite
/// the others; `changed` (of deltas) averages each single value over the updates that changed it (FIARSE).
enum class NormalizeKind { updates, trainers, changed };
/// Which values of the blocks' matrices a client trains, the others being 0 for it: all, or those of largest
/// magnitude, as many as its budget's share (model/weight_mask.hpp).
enum class WeightMaskKind { none, magnitude };
enum class ScheduleKind { constant, cosine };
enum class TransportKind { rma, in_process };

/// When segments are merged, and what a late update counts. The three policies are numbers of this one rule:
/// a segment is merged when min(min_updates, its trainers) updates have come, or `deadline_s` after its first
/// one.
struct PolicyOptions {
  PolicyKind kind = PolicyKind::semi_async;
  int min_updates = 2;      ///< sync: the largest int, which means all trainers; async: 1
  double deadline_s = 30;   ///< 0 = none (sync, async)
  int staleness_bound = 8;  ///< versions; an update staler than this is dropped
  DiscountKind discount = DiscountKind::polynomial;
  double discount_a = 0.5;  ///< polynomial: (1+d)^-a; hinge: 1 if d <= b else 1/(a(d-b)+1)
  double discount_b = 4;
  WeightingKind weighting = WeightingKind::samples;
  /// A client's weight is multiplied by (its share of a block's units)^width_exponent: the narrower a
  /// submodel, the further is what it learns from what the full model needs.
  double width_exponent = 0;
  NormalizeKind normalize = NormalizeKind::trainers;
  /// A client that delivers k times as often as the slowest trainer of a segment counts 1/k each time:
  /// otherwise the model leans to the data of fast clients.
  bool pace_correction = true;
  MergeKind merge = MergeKind::values;
  /// A merge goes rate * v along v <- momentum * v + mean, mean = (mean of the updates) - (present values) or
  /// the mean delta (FedAvgM).
  double server_rate = 1;
  double server_momentum = 0;
  /// beta of src/server/depth_momentum.hpp: how much of the delta of a client's last block comes from deeper
  /// clients (InclusiveFL); 0 = none.
  double depth_momentum = 0;
  bool lockstep() const { return kind == PolicyKind::sync; }
  bool at_once() const { return kind == PolicyKind::async || kind == PolicyKind::fedasync; }
};

struct LocalTrainingOptions {
  int local_steps = 0;  ///< optimizer steps per local round; 0 = local_epochs passes over the client's data
  double local_epochs = 1;
  int batch_size = 32;
  int micro_batch = 0;  ///< TrainingShape::micro_batch, at the least
  OptimizerKind optimizer = OptimizerKind::sgd;
  double learning_rate = 0.05;
  double momentum = 0.9;  ///< SGD
  double weight_decay = 0;
  ScheduleKind schedule = ScheduleKind::constant;
  int warmup_rounds = 0;    ///< linear from 0 over so many server rounds
  int schedule_rounds = 0;  ///< length of the cosine, server rounds; 0 = rounds
  double clip_norm = 1.0;   ///< of all gradients together; 0 = none
  bool scale_kept_units = true;
  int ordered_dropout = 0;  ///< widths of dropout_ladder(), of which each step draws one; 0 = the whole width
  bool ordered_dropout_distillation =
      false;  ///< a step trains the whole width, and the drawn one imitates it
  WeightMaskKind weight_mask = WeightMaskKind::none;
  ValueType push_dtype = ValueType::float32;  ///< of the values that are pushed
  bool overlap = false;                       ///< WorkerLoopOptions::overlap
  ObjectiveOptions objective;
};

/// What clients push. In lockstep a client received what the server still has, so that the server can
/// subtract it and the client need not keep it; not from rounded values, of which the client keeps what
/// rounding took.
MergeKind pushed_kind(const PolicyOptions& policy, ValueType push_dtype);
/// What of these options decides the cost of a step.
TrainingShape training_shape(const LocalTrainingOptions& local, MergeKind pushed);

/// How texts become word pieces.
struct TextOptions {
  std::string vocabulary;      ///< a vocab.txt; empty = made from the training texts
  int vocabulary_size = 8192;  ///< of one that is made
  bool cased = false;          ///< keep upper case and accents
};

/// What the simulated clock knows beside the profiles of the devices; docs/simulation.md has the formulas.
struct SimulationOptions {
  std::string profile = "orin-nano";  ///< device of the clients whose budget names none
  std::vector<double> speeds{1};      ///< per client in turn: factor of its device's FLOP/s
  double link = 0;                    ///< bytes/s of every client; 0 = that of its device
  int clients_per_round = 0;          ///< clients that take part at a time; 0 = all
  double straggler_probability = 0;   ///< that a local round computes straggler_factor times as long
  double straggler_factor = 4;
  double dropout_probability = 0;  ///< that a local round is lost
  double dropout_s = 60;           ///< seconds after such a round's end at which the client is back
};

/// What cos2p compare runs; the rest of its options are those of each run.
struct ComparisonOptions {
  std::vector<std::string> methods;     ///< rows: "co-s2p" or "co-s2p:min-updates=4"
  std::vector<std::uint64_t> seeds{0};  ///< each row runs once with each
  std::vector<std::string> overrides;   ///< "METHOD:name=value,..."
  int jobs = 0;                         ///< runs at a time; 0 = cores
  double target_accuracy = 0;           ///< share in [0, 1]; 0 = none
};

/// Every option of every subcommand, in one struct; each command line offers the part it uses.
struct RunOptions {
  // data
  DatasetOptions dataset;
  PartitionOptions partition;
  AugmentOptions augment;
  TextOptions text;
  // model
  std::string model_name = "micro";
  ModelOptions model;  ///< after the data's shape and --dim, --blocks, ... have been applied and validated
  bool patch_given = false;
  // fleet
  std::vector<std::string> budgets{
      "1"};  ///< per client in turn: share of the full model's training memory, bytes, or a device
  std::vector<double> compute_budgets;  ///< per client in turn: share of the full model's FLOPs; empty = none
  int clients = 0;  ///< 0 = one per worker (in-process: one per budget of the longer list)
  FleetRules fleet;
  // training
  std::string method = "co-s2p";  ///< of method/method.hpp; its settings are in the options they set
  PolicyOptions policy;
  LocalTrainingOptions local;
  WidthOptions width;
  int rounds = 10;  ///< of the whole run; a resumed run goes on to this number
  std::uint64_t seed = 0;
  SimulationOptions simulation;
  ComparisonOptions comparison;
  std::vector<double> emulate_speeds;  ///< train: as simulation.speeds, slept; empty = none
  // run
  std::string output = "runs/latest";
  std::string resume;           ///< directory or file; empty = start anew
  int evaluate_every = 1;       ///< server rounds; 0 = only at the end
  int checkpoint_every = 1;     ///< server rounds; 0 = only at the end
  std::string device = "auto";  ///< auto, cpu, cuda, cuda:N
  int threads = 0;              ///< per rank; 0 = cores of the host shared among its ranks
  TransportKind transport = TransportKind::rma;
  RingOptions ring;
  double suspect_after_s = 30, worker_timeout_s = 120;  ///< ServerLoopOptions
  int bad_messages = 100;                               ///< ServerLoopOptions
  bool replan = true;       ///< where a segment has too few trainers left, others get other submodels
  double replan_speed = 0;  ///< factor by which a client's speed changes before its submodel does; 0 = never
  bool stop_uncovered = false;
  bool accept_joins = false;
  int join_port = 0;   ///< 0 = a free one
  int open_seats = 0;  ///< clients, the last ones, that wait for workers that join
  bool event_log = false;
  std::int64_t event_log_limit = std::int64_t{4} << 30;  ///< bytes; 0 = none
  int history_rows = 0;        ///< newest rows that each table of the history keeps; 0 = all
  std::int64_t log_limit = 0;  ///< bytes of run.log, of which one more is kept; 0 = none
  bool quiet = false;
  // join
  std::string server;       ///< HOST or HOST:PORT; empty = as the key says
  int seats = 0;            ///< clients to execute; 0 = as many as an average worker
  double retry_for_s = 60;  ///< how long a server that cannot be reached is tried again
  int part = 0;             ///< replay: number of the event log's part; 0 = all
  // plan, inspect, evaluate, doctor, join, replay
  bool json = false;
  std::string calibrate;        ///< doctor: file for the measured profile; empty = none
  bool this_host_only = false;  ///< doctor: MPI is not tried
  bool links_only = false;      ///< doctor: what one that was started alone asks two ranks for
  std::string file;             ///< the checkpoint, the key of a run or its directory
  int evaluation_batch = 250;
};

enum class Subcommand { train, plan, inspect, evaluate, simulate, compare, doctor, join, replay };

struct CommandLine {
  Subcommand subcommand = Subcommand::train;
  RunOptions options;
  /// Every option in effect, as name -> value in the spelling of a configuration file; recorded in
  /// options.toml and /meta. Options that have no meaning beside the others (--momentum with adamw) are not
  /// in it.
  std::map<std::string, std::string> in_effect;
  /// What the user gave (command line, environment or file), spelled as in `in_effect`; the others have their
  /// defaults. Beside --resume also what may have a meaning only with the checkpoint's options.
  std::map<std::string, std::string> given;
};

/// Parses the command line, `--config FILE` (TOML; the same names) and COS2P_* environment variables, in this
/// order of precedence. Prints help or version and sets `finished` where that was asked for. Throws
/// Error(usage) naming the option, the value, where it stands and what is accepted.
CommandLine parse_command_line(int argc, const char* const* argv, bool& finished);

/// `in_effect` as a configuration file that `--config` reads back to the same options.
std::string to_toml(const std::map<std::string, std::string>& in_effect);
/// A text as a value of `in_effect`: in quotes, with what needs it escaped.
std::string toml_text(const std::string& text);
/// Options written as such a file, for a subcommand.
CommandLine parse_options(Subcommand subcommand, const std::string& toml);

std::string to_string(Subcommand subcommand);
std::string to_string(PolicyKind kind);
std::string to_string(DiscountKind kind);
std::string to_string(WeightingKind kind);
std::string to_string(NormalizeKind kind);
std::string to_string(MergeKind kind);
std::string to_string(WeightMaskKind kind);
std::string to_string(TransportKind kind);
std::string to_string(OptimizerKind kind);
std::string to_string(ScheduleKind kind);

}  // namespace cos2p
