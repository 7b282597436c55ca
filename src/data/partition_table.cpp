#include <algorithm>
#include <numeric>

#include "cos2p/data/partition.hpp"
#include "cos2p/support/error.hpp"

namespace cos2p {
namespace {

constexpr int most_columns = 20;  // more classes than this are summed up instead of shown one by one

using Row = std::vector<std::string>;

std::string aligned(const std::vector<Row>& rows) {
  std::vector<std::size_t> widths(rows.front().size());
  for (const Row& row : rows) {
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  std::string text;
  for (const Row& row : rows) {
    for (std::size_t i = 0; i < row.size(); ++i)
      text += fmt::format("{}{:>{}}", i == 0 ? "" : "  ", row[i], widths[i]);
    text += '\n';
  }
  return text;
}

Row make_row(const std::string& title, const std::vector<std::int64_t>& counts) {
  const auto present = counts.size() - static_cast<std::size_t>(std::count(counts.begin(), counts.end(), 0));
  const std::int64_t samples = std::accumulate(counts.begin(), counts.end(), std::int64_t{0});
  Row row{title, fmt::format("{}", samples), fmt::format("{}", present)};
  if (counts.size() <= static_cast<std::size_t>(most_columns)) {
    for (const std::int64_t count : counts) row.push_back(count == 0 ? "." : fmt::format("{}", count));
  } else {
    const auto largest = std::max_element(counts.begin(), counts.end());
    row.push_back(samples == 0 ? "." : fmt::format("{}", largest - counts.begin()));
    row.push_back(fmt::format("{}", *largest));
  }
  return row;
}

}  // namespace

std::string partition_table(const Partition& partition, Span<const std::int32_t> labels, int classes) {
  Row head{"client", "samples", "classes"};
  if (classes <= most_columns) {
    for (int k = 0; k < classes; ++k) head.push_back(fmt::format("#{}", k));
  } else {
    head.insert(head.end(), {"largest class", "its samples"});
  }
  std::vector<Row> rows{head};
  std::vector<std::int64_t> total(static_cast<std::size_t>(classes));
  for (std::size_t c = 0; c < partition.size(); ++c) {
    std::vector<std::int64_t> counts(total.size());
    for (const std::int64_t i : partition[c]) {
      const auto label = static_cast<std::size_t>(labels[static_cast<std::size_t>(i)]);
      COS2P_ASSERT(label < counts.size());
      ++counts[label];
      ++total[label];
    }
    rows.push_back(make_row(fmt::format("{}", c), counts));
  }
  rows.push_back(make_row("total", total));
  return aligned(rows);
}

}  // namespace cos2p
