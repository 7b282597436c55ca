#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "cos2p/data/dataset.hpp"

namespace cos2p {

enum class PartitionKind { iid, dirichlet, shards };
std::string to_string(PartitionKind kind);
PartitionKind parse_partition_kind(const std::string& text);

struct PartitionOptions {
  PartitionKind kind = PartitionKind::dirichlet;
  double dirichlet_alpha = 0.5;    ///< concentration; small = unlike clients
  int classes_per_client = 2;      ///< shards
  double size_exponent = 0;        ///< shards: of the power law of the clients' sizes; 0 = divided evenly
  std::int64_t minimum_size = 10;  ///< samples every client gets at least
  std::uint64_t seed = 0;
};

/// partition[c] = the sorted sample indices of client c. Disjoint; together every sample exactly once.
using Partition = std::vector<std::vector<std::int64_t>>;

/// Deterministic in (labels, classes, clients, options). How the kinds divide the samples:
///  iid        shuffled, sizes differ by one at most
///  dirichlet  each class by shares drawn from Dirichlet(alpha); drawn anew, a bounded number of times, until
///  every client
///             has its minimum, then repaired with samples of the largest clients
///  shards     every client holds exactly `classes_per_client` classes; a class is divided evenly among its
///  holders. With `size_exponent` a, each client draws a weight w >= 1 with P(w > x) = x^-a (Pareto); a
///             holder gets its part of the minimum size from each of its classes, and of the rest of a class
///             a share in proportion to its weight
/// Throws Error(usage) where it cannot be done (more clients than samples, minimum size unreachable, ...),
/// with the figures.
Partition make_partition(Span<const std::int32_t> labels, int classes, int clients,
                         const PartitionOptions& options);

/// A table: one row a client with its samples, the number of its classes and its count of each class (of more
/// than 20 classes, the largest class and its count instead), and a row of totals. Ends with a newline.
std::string partition_table(const Partition& partition, Span<const std::int32_t> labels, int classes);

}  // namespace cos2p
