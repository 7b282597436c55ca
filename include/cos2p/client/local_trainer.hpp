#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cos2p/config/run_options.hpp"
#include "cos2p/data/samples.hpp"
#include "cos2p/transport/channel.hpp"

namespace cos2p {

/// One segment as trained by a client, ready to be pushed.
struct LocalUpdate {
  MessageHeader header;
  std::vector<std::uint8_t> bitmap;  ///< kept units
  /// Of the kept units, or what training added to them (MergeKind), packed as the header says; borrowed from
  /// the trainer until its next round, or from `owned`.
  Span<const std::byte> values;
  std::vector<std::byte> owned;
  /// Copies borrowed values.
  void own_values();
};

/// What one local round of one client gave.
struct LocalRound {
  ClientId client;
  Assignment assignment;             ///< of the task
  int index = 0;                     ///< which local round of this client, 0-based
  int started_in = 0;                ///< server round that was open when it began
  std::vector<LocalUpdate> updates;  ///< one per trained segment, in table order
  RoundReport report;
  /// Copies borrowed values, so that the round may wait while the trainer goes on.
  void own_values();
};

/// Which units of each kept block a client trains.
struct UnitChoice {
  std::vector<UnitSet> heads, neurons;  ///< per kept block
};

/// Executes local rounds of any client of this process: pull, choose units, train, and hand over what is to
/// be pushed. A client's randomness is named by (seed, client, local round); its optimizer starts anew in
/// each local round.
class LocalTrainer {
 public:
  struct Setup {
    const SegmentTable* table = nullptr;  ///< outlives the trainer, like the next three
    const Samples* samples = nullptr;
    const Partition* partition = nullptr;
    const std::vector<Assignment>* fleet = nullptr;  ///< of all clients, by client
    LocalTrainingOptions local;
    WidthOptions width;
    MergeKind pushed = MergeKind::values;  ///< pushed_kind()
    std::uint64_t seed = 0;
    std::string device = "auto";
    int local_rank = 0, local_ranks = 1;          ///< among the processes of this machine
    const std::vector<double>* shares = nullptr;  ///< per client: budget_share(); for weight masks
    /// Samples at a time of a client with this assignment (choose_micro_batch); 0 or empty = whole batches.
    std::function<int(ClientId client, const Assignment& assignment)> micro_batch;
    bool shares_process = false;  ///< with other clients: then no report has a peak of resident memory
  };
  explicit LocalTrainer(Setup setup);
  ~LocalTrainer();

  /// Called before each optimizer step, the first time after all of the model was read; false ends the round
  /// early.
  using KeepGoing = std::function<bool()>;
  /// Local round `index` of the task's client; nothing where `keep_going` ended it.
  std::optional<LocalRound> run(ModelReader& server, const ClientTask& task, int index, const Notice& notice,
                                const KeepGoing& keep_going);

  /// Units chosen so far, by client; set_units() continues those of a checkpoint.
  const std::map<int, UnitChoice>& units() const;
  void set_units(ClientId client, UnitChoice choice);
  /// Optimizer steps of one local round of a client with so many samples.
  int steps_per_round(std::int64_t samples) const;
  std::string device_name() const;
  const SegmentTable& table() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// What a push adds to the times in its report.
enum class PushTime {
  waited_for,  ///< its seconds, and those of a full ring as waiting
  hidden,      ///< its seconds: the client computes meanwhile
  simulated    ///< nothing
};
/// Pushes a local round: its segment updates, then its report. False where the server no longer listens.
bool push_round(WorkerChannel& channel, const LocalRound& round, PushTime time = PushTime::waited_for);

/// Learning rate in a server round: linear warm-up, then constant or a cosine to zero.
double learning_rate(const LocalTrainingOptions& local, int round, int rounds);

}  // namespace cos2p
