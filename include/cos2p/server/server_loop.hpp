#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "cos2p/server/evaluator.hpp"
#include "cos2p/server/round_log.hpp"
#include "cos2p/server/server_core.hpp"
#include "cos2p/server/staging_pool.hpp"
#include "cos2p/transport/channel.hpp"
#include "cos2p/transport/join.hpp"

namespace cos2p {

struct ServerLoopOptions {
  std::string output;
  int evaluate_every = 1, checkpoint_every = 1;  ///< rounds; 0 = only at the end
  bool final_checkpoint = true;                  ///< evaluate and write a checkpoint at the end
  double suspect_after_s = 30;    ///< nobody waits for a worker whose heartbeat stands still for so long
  double worker_timeout_s = 120;  ///< and it counts as gone for good after so long
  int bad_messages = 0;           ///< a worker that sent more than so many is put out; 0 = never
  bool stop_uncovered = false;    ///< ends the run where a segment has lost its last trainer
  double farewell_s = 20;         ///< how long the end of a run waits for workers to leave
  double time_offset_s = 0;       ///< seconds of the run before a resume
};

/// What the server's loop needs from outside.
struct ServerLoopHooks {
  std::function<void()> progress;                ///< lets MPI move data
  std::function<bool()> stop_requested;          ///< Ctrl-C, SIGTERM
  std::function<bool(WorkerRank)> process_gone;  ///< known at once for workers of this host; may be empty
  /// The plan while only these clients (by client) are present; empty where plans do not change.
  std::function<FleetPlan(const std::vector<bool>& present)> replan;
  /// A client has reported a local round: true where `replan` would give it another submodel now. By client,
  /// what holds from now on. A client has got another worker. All empty or none.
  std::function<bool(const ClientRow& row)> observe;
  std::function<void(const std::vector<Assignment>& assignments)> plan_begun;
  std::function<void(ClientId)> seated;
  std::function<int(ClientId)> worker_of;  ///< rank of the worker that executes a client; 0 = an open seat
  /// Workers that have joined since the last call; empty where none may.
  std::function<std::vector<JoinServer::Newcomer>()> newcomers;
  std::function<void(WorkerRank)> dismiss;  ///< of those: it has gone, and its channel too
};

enum class ServerEnd { finished, stopped, no_workers, uncovered };

struct ServerResult {
  ServerEnd end = ServerEnd::finished;
  std::string checkpoint;  ///< path of the last one written; empty where none could be
  std::vector<EvaluationRow> evaluation;
  bool all_workers_left = true;  ///< nobody died: MPI_Finalize will not hang
};

/// Runs the server: the calling thread polls the channels (and is the only one that may call MPI), a second
/// one merges, a third one evaluates and writes checkpoints in the background. Never waits for a worker.
ServerResult run_server(ServerCore& core, StagingPool& pool,
                        std::vector<std::unique_ptr<ServerChannel>>& channels, Evaluator& evaluator,
                        RoundLog& log, const ServerLoopOptions& options, const ServerLoopHooks& hooks);

/// One evaluation as rows of the history.
std::vector<EvaluationRow> evaluate_checkpoint(Evaluator& evaluator, const Checkpoint& checkpoint);

/// Writes a checkpoint; where the disk refuses, says so once and returns an empty path: the run goes on.
std::string try_write_checkpoint(const std::string& directory, const Checkpoint& checkpoint);

}  // namespace cos2p
