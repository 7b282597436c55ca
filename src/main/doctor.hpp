#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "cos2p/config/run_options.hpp"
#include "cos2p/plan/device_profile.hpp"
#include "cos2p/transport/mpi_runtime.hpp"

namespace cos2p::doctor {

enum class Verdict { ok, warning, bad };

/// One thing that was looked at.
struct Finding {
  std::string check;  ///< "BLAS"
  std::string value;  ///< "OpenBLAS 0.3.21 (openmp), kernels SkylakeX"
  std::string brief;  ///< the same for a column
  Verdict verdict = Verdict::ok;
  std::string cure;  ///< what to do about it; empty where all is well
};

/// What one rank found, and what the ranks have to agree on.
struct RankReport {
  int rank = 0;
  std::string host, version, architecture, libraries;
  double clock_s = 0;   ///< wall clock, seconds since 1970, when everybody looked at it
  std::string profile;  ///< profile_text() of what calibrate() measured; empty where it was not asked to
  std::vector<Finding> findings;
};
std::string to_text(const RankReport& report);  ///< for another rank
RankReport from_text(const std::string& text);

/// What is written, sent and trained on trial: a ViT of dim 192 for pictures of 32x32, 2.7 million values.
ModelOptions trial_model();

/// Looks at this machine; writes and removes a checkpoint in `output`.
RankReport examine(const RunOptions& options, int rank, int local_rank);

/// The way between the server and a worker, as a run would use it.
struct Link {
  int rank = 0;
  double push = 0, pull = 0;  ///< bytes/s
  double latency_s = 0;       ///< of one read of the server's memory
};
struct Links {
  std::string component;    ///< "osc/rdma (messages)"
  std::vector<Link> links;  ///< of workers
};
/// Collective over at least two ranks; filled at the server alone. Throws Error(environment) where a pair's
/// fabric does not work.
Links probe_links(MpiRuntime& mpi);

/// Measures this process: training FLOP/s, memory and its bandwidth. The link is gigabit Ethernet's until
/// somebody who measured it says otherwise.
DeviceProfile calibrate(const RunOptions& options, int local_rank);

/// Differences between the ranks: findings of the server.
std::vector<Finding> compare_ranks(const std::vector<RankReport>& reports);

std::string report_text(const std::vector<RankReport>& reports, const std::vector<Finding>& common,
                        const Links& links);
nlohmann::ordered_json report_json(const std::vector<RankReport>& reports, const std::vector<Finding>& common,
                                   const Links& links);

}  // namespace cos2p::doctor
