#include "cos2p/server/round_log.hpp"

#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdlib>
#include <cstring>

#include "cos2p/support/clock.hpp"
#include "cos2p/support/error.hpp"
#include "cos2p/support/logging.hpp"

namespace cos2p {
namespace {

/// Whether a person looks at standard output. mpirun gives its ranks a terminal of its own making, so that
/// there the launcher has to tell.
bool on_terminal() {
  const char* told = std::getenv("COS2P_TERMINAL");
  if (told != nullptr) return std::strcmp(told, "1") == 0;
  return isatty(STDOUT_FILENO) != 0 && std::getenv("OMPI_COMM_WORLD_SIZE") == nullptr;
}

}  // namespace

RoundLog::RoundLog(const std::string& directory, int rounds, bool quiet, const History& history,
                   int most_rows)
    : rounds_(rounds),
      most_rows_(most_rows),
      quiet_(quiet),
      terminal_(!quiet && on_terminal()),
      start_s_(monotonic_seconds()) {
  metrics_ = {directory + "/metrics",
              "round,time_s,reports,updates,n_star,segments_merged,segments_total,staleness_mean,"
              "staleness_max,dropped,loss,utilisation,workers\n"};
  evaluations_ = {directory + "/evaluations", "round,block,time_s,loss,accuracy\n"};
  clients_ = {
      directory + "/clients",
      "round,client,client_round,time_s,samples,steps,updates,loss,accuracy,compute_s,transfer_s,waiting_s,"
      "bytes_pulled,bytes_pushed,peak_memory_bytes,peak_resident_bytes,energy_j,free_memory_bytes\n"};
  for (Table* table : {&metrics_, &evaluations_, &clients_}) {
    open(*table);
    if (table->file == nullptr) {
      fail(ExitCode::environment, "{}.csv cannot be written ({}), choose another directory with --output",
           table->path, std::strerror(errno));
    }
  }
  quiet_ = retelling_ = true;
  for (const RoundRow& row : history.rounds) round(row);
  for (const EvaluationRow& row : history.evaluations) evaluation({row});
  for (const ClientRow& row : history.clients) client(row);
  quiet_ = quiet;
  retelling_ = false;
  draw_bar();
}

RoundLog::~RoundLog() {
  clear_progress_bar();
  for (const Table* table : {&metrics_, &evaluations_, &clients_}) {
    if (table->file != nullptr) std::fclose(table->file);
  }
}

/// Leaves `file` null where it cannot be opened.
void RoundLog::open(Table& table) const {
  table.rows = 0;
  table.file = std::fopen((table.path + ".csv").c_str(), "w");
  if (table.file != nullptr) std::fputs(table.header.c_str(), table.file);
}

void RoundLog::write_row(Table& table, const std::string& row) {
  if (most_rows_ > 0 && table.rows >= most_rows_ && table.file != nullptr) {
    std::fclose(table.file);
    std::rename((table.path + ".csv").c_str(), (table.path + ".1.csv").c_str());
    table.file = nullptr;
  }
  if (table.file == nullptr) open(table);
  ++table.rows;
  const bool written =
      table.file != nullptr && std::fputs(row.c_str(), table.file) >= 0 && std::fflush(table.file) == 0;
  if (!written && !failed_)
    spdlog::warn("metrics cannot be written ({}), the run goes on without them", std::strerror(errno));
  failed_ = !written;
}

void RoundLog::round(const RoundRow& r) {
  write_row(metrics_,
            fmt::format("{},{:.3f},{},{},{},{},{},{:.4f},{},{},{:.6f},{:.4f},{}\n", r.round, r.time_s,
                        r.reports, r.updates, r.n_star, r.segments_merged, r.segments_total, r.staleness_mean,
                        r.staleness_max, r.dropped, r.loss, r.utilisation, r.workers));
  if (first_round_s_ < 0 && !quiet_) {
    first_round_s_ = monotonic_seconds();
    first_round_ = r.round;
  }
  round_ = r.round;
  line(
      fmt::format("round {:>4}/{}  {:>7.1f} s  loss {:.4f}  N* {}  coverage {}/{}  staleness {:.2f} (max {}) "
                  " use {:.0f} %  dropped {}",
                  r.round, rounds_, r.time_s, r.loss, r.n_star, r.segments_merged, r.segments_total,
                  r.staleness_mean, r.staleness_max, 100 * r.utilisation, r.dropped));
}

void RoundLog::evaluation(const std::vector<EvaluationRow>& rows) {
  std::string exits;
  for (const EvaluationRow& row : rows) {
    write_row(evaluations_, fmt::format("{},{},{:.3f},{:.6f},{:.6f}\n", row.round, row.block, row.time_s,
                                        row.loss, row.accuracy));
    exits += fmt::format(" {:.1f}", 100 * row.accuracy);
  }
  if (rows.empty()) return;
  accuracy_ = fmt::format("{:.1f} %", 100 * rows.back().accuracy);
  line(fmt::format("  after round {}: test accuracy {} (loss {:.4f}); by exit, shallow to deep:{}",
                   rows.back().round, accuracy_, rows.back().loss, exits));
}

void RoundLog::client(const ClientRow& row) {
  const RoundReport& r = row.report;
  write_row(clients_,
            fmt::format("{},{},{},{:.3f},{},{},{},{:.6f},{:.6f},{:.4f},{:.4f},{:.4f},{},{},{},{},{},{}\n",
                        row.round, row.client, row.client_round, row.time_s, r.samples, r.steps, r.updates,
                        r.loss, r.accuracy, r.compute_s, r.transfer_s, r.waiting_s, r.bytes_pulled,
                        r.bytes_pushed, r.peak_memory, r.peak_resident,
                        std::isnan(r.energy_j) ? "" : fmt::format("{:.3f}", r.energy_j), r.free_memory));
}

void RoundLog::line(const std::string& text) {
  if (quiet_) {
    if (!retelling_) record(text);
    return;
  }
  say(text);
  draw_bar();
}

void RoundLog::draw_bar() {
  if (!terminal_ || rounds_ <= 0) return;
  constexpr int kWidth = 32;
  const int done = std::min(kWidth, kWidth * round_ / rounds_);
  std::string left;
  if (first_round_s_ >= 0 && round_ > first_round_) {
    const double seconds =
        (monotonic_seconds() - first_round_s_) / (round_ - first_round_) * (rounds_ - round_);
    left = fmt::format("  {:.0f} s left", seconds);
  }
  fmt::print("[{:#<{}}{:.<{}}] {}/{}{}{}", "", done, "", kWidth - done, round_, rounds_, left,
             accuracy_.empty() ? "" : "  accuracy " + accuracy_);
  std::fflush(stdout);
  progress_bar_stands();
}

}  // namespace cos2p
