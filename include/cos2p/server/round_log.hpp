#pragma once

#include <cstdint>
#include <cstdio>
#include <string>
#include <vector>

#include "cos2p/checkpoint/checkpoint.hpp"

namespace cos2p {

/// What a run tells while it goes: one line a round (and a progress bar below it where standard output is a
/// terminal), and metrics.csv, evaluations.csv and clients.csv in the output directory. One thread at a time.
class RoundLog {
 public:
  /// Writes the rows of `history` (of a resumed run) first. A directory that cannot be written throws
  /// Error(environment). A table that has `most_rows` (0 = any number) begins anew, and its content is kept
  /// as one more file (metrics.1.csv).
  RoundLog(const std::string& directory, int rounds, bool quiet, const History& history, int most_rows);
  ~RoundLog();
  RoundLog(const RoundLog&) = delete;
  RoundLog& operator=(const RoundLog&) = delete;

  void round(const RoundRow& row);
  /// `rows`: one evaluation, a row an exit, sorted by block.
  void evaluation(const std::vector<EvaluationRow>& rows);
  void client(const ClientRow& row);
  /// A line above the progress bar, and in the log's file.
  void line(const std::string& text);

 private:
  struct Table {
    std::string path, header;
    std::FILE* file = nullptr;
    std::int64_t rows = 0;
  };
  void open(Table& table) const;
  void write_row(Table& table, const std::string& row);
  void draw_bar();

  int rounds_;
  std::int64_t most_rows_;
  bool quiet_, terminal_;
  bool retelling_ = false;  ///< rows of a resumed run, told before
  bool failed_ = false;     ///< a full disk is reported once
  int round_ = 0;
  double start_s_, first_round_s_ = -1;
  int first_round_ = 0;
  std::string accuracy_;
  Table metrics_, evaluations_, clients_;
};

}  // namespace cos2p
