#include "cos2p/data/partition.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <queue>
#include <utility>

#include "cos2p/support/error.hpp"
#include "cos2p/support/random.hpp"

namespace cos2p {
namespace {

enum Purpose : std::uint64_t {
  iid_stream = 0x61,
  dirichlet_stream = 0x62,
  shard_stream = 0x63,
  size_stream = 0x64
};
constexpr int most_draws = 50;  // of a whole Dirichlet partition, until every client has its minimum
constexpr double largest_alpha = 1e9;
constexpr double smallest_exponent = 0.1,
                 largest_exponent = 100;  // below, weights leave the range of a double

using Indices = std::vector<std::int64_t>;

std::vector<Indices> by_class(Span<const std::int32_t> labels, int classes) {
  std::vector<Indices> result(static_cast<std::size_t>(classes));
  for (std::size_t i = 0; i < labels.size(); ++i) {
    COS2P_ASSERT(labels[i] >= 0 && labels[i] < classes);
    result[static_cast<std::size_t>(labels[i])].push_back(static_cast<std::int64_t>(i));
  }
  return result;
}

/// Appends `part` of `parts` equal slices (sizes differ by one at most) of `from`.
void append_slice(const Indices& from, std::size_t part, std::size_t parts, Indices& to) {
  const auto begin = from.begin() + static_cast<std::ptrdiff_t>(from.size() * part / parts);
  const auto end = from.begin() + static_cast<std::ptrdiff_t>(from.size() * (part + 1) / parts);
  to.insert(to.end(), begin, end);
}

std::size_t smallest(const Partition& partition) {
  const auto less = [](const Indices& a, const Indices& b) { return a.size() < b.size(); };
  return std::min_element(partition.begin(), partition.end(), less)->size();
}

Partition make_iid(std::int64_t samples, std::size_t clients, const PartitionOptions& options) {
  Indices all(static_cast<std::size_t>(samples));
  std::iota(all.begin(), all.end(), 0);
  Rng(options.seed, {iid_stream}).shuffle(all);
  Partition partition(clients);
  for (std::size_t c = 0; c < clients; ++c) append_slice(all, c, clients, partition[c]);
  return partition;
}

/// Shares of one class, drawn from a symmetric Dirichlet distribution over the clients: gammas over their
/// sum.
std::vector<double> draw_shares(Rng& rng, std::size_t clients, double alpha) {
  std::vector<double> shares(clients);
  double sum = 0;
  for (double& share : shares) sum += share = rng.gamma(alpha);
  if (sum > 0) {
    for (double& share : shares) share /= sum;
  } else {
    shares[rng.below(clients)] =
        1;  // every gamma of a tiny alpha can underflow; one client with all is the limit
  }
  return shares;
}

Partition draw_dirichlet(const std::vector<Indices>& classes, std::size_t clients, double alpha, Rng& rng) {
  Partition partition(clients);
  for (Indices members : classes) {
    rng.shuffle(members);
    const std::vector<double> shares = draw_shares(rng, clients, alpha);
    double sum = 0;
    std::size_t begin = 0;
    for (std::size_t c = 0; c < clients; ++c) {
      sum += shares[c];
      const bool last = c + 1 == clients;
      const auto wanted = static_cast<std::size_t>(std::llround(sum * static_cast<double>(members.size())));
      const std::size_t end = last ? members.size() : std::clamp(wanted, begin, members.size());
      for (std::size_t i = begin; i < end; ++i) partition[c].push_back(members[i]);
      begin = end;
    }
  }
  return partition;
}

/// Moves randomly chosen samples from the client that is largest at the time to those below the minimum.
void repair_minimum(Partition& partition, std::size_t minimum, Rng& rng) {
  std::priority_queue<std::pair<std::size_t, std::size_t>> largest;  // (size, client)
  for (std::size_t c = 0; c < partition.size(); ++c) {
    if (partition[c].size() > minimum) largest.push({partition[c].size(), c});
  }
  for (Indices& poor : partition) {
    while (poor.size() < minimum) {
      const std::size_t donor = largest.top().second;  // exists: clients * minimum <= samples
      largest.pop();
      Indices& rich = partition[donor];
      std::swap(rich[rng.below(rich.size())], rich.back());
      poor.push_back(rich.back());
      rich.pop_back();
      if (rich.size() > minimum) largest.push({rich.size(), donor});
    }
  }
}

Partition make_dirichlet(const std::vector<Indices>& classes, std::size_t clients,
                         const PartitionOptions& options) {
  const double alpha = options.dirichlet_alpha;
  if (!(alpha > 0 && alpha <= largest_alpha)) {
    fail(ExitCode::usage,
         "--dirichlet-alpha {} is not possible (it must be above 0 and at most {:g}), give 0.5 for unlike "
         "clients or 100 for almost equal ones",
         alpha, largest_alpha);
  }
  Rng rng(options.seed, {dirichlet_stream});
  const auto minimum = static_cast<std::size_t>(options.minimum_size);
  Partition partition;
  for (int draw = 0; draw < most_draws; ++draw) {
    partition = draw_dirichlet(classes, clients, alpha, rng);
    if (smallest(partition) >= minimum) return partition;
  }
  repair_minimum(partition, minimum, rng);
  return partition;
}

/// How many clients hold each class: at least one, at most all, `total` together, about in proportion to its
/// samples.
std::vector<std::size_t> holders_per_class(const std::vector<Indices>& classes, std::size_t clients,
                                           std::size_t total) {
  std::vector<std::size_t> holders(classes.size());
  std::priority_queue<std::pair<double, std::size_t>> neediest;  // (samples per holder, class)
  for (std::size_t k = 0; k < classes.size(); ++k) {
    if (classes[k].empty()) continue;
    holders[k] = 1;
    --total;
    neediest.push({static_cast<double>(classes[k].size()), k});
  }
  while (total > 0) {
    const std::size_t k = neediest.top().second;
    neediest.pop();
    if (holders[k] == clients) continue;
    ++holders[k];
    --total;
    neediest.push({static_cast<double>(classes[k].size()) / static_cast<double>(holders[k]), k});
  }
  return holders;
}

/// Deals the classes out: each client takes those with the most places left, ties by lot. This always works
/// out, because no class has more places than there are clients left.
std::vector<std::vector<std::size_t>> deal_classes(std::vector<std::size_t> places, std::size_t clients,
                                                   std::size_t each, Rng& rng) {
  std::vector<std::vector<std::size_t>> holders(places.size());  // clients of each class
  std::vector<std::size_t> order(places.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  for (std::size_t c = 0; c < clients; ++c) {
    rng.shuffle(order);
    std::stable_sort(order.begin(), order.end(),
                     [&](std::size_t a, std::size_t b) { return places[a] > places[b]; });
    for (std::size_t i = 0; i < each; ++i) {
      COS2P_ASSERT(places[order[i]] > 0);
      --places[order[i]];
      holders[order[i]].push_back(c);
    }
  }
  return holders;
}

/// Of each client, P(w > x) = x^-exponent for x >= 1.
std::vector<double> draw_weights(std::size_t clients, const PartitionOptions& options) {
  Rng rng(options.seed, {size_stream});
  std::vector<double> weights(clients);
  for (double& weight : weights) weight = std::pow(1 - rng.uniform(), -1 / options.size_exponent);
  return weights;
}

/// Where not each of a class's holders can have `least` of its samples.
void refuse_too_small(std::size_t samples, std::size_t holders, std::size_t least,
                      const PartitionOptions& options) {
  if (samples >= holders * least) return;
  fail(ExitCode::usage,
       "the shards are too small (a class of {} samples has {} holders who need {} each: --minimum-size {}, "
       "--classes-per-client {}), take fewer clients or a smaller --minimum-size",
       samples, holders, least, options.minimum_size, options.classes_per_client);
}

/// Divides a class among its holders: `least` samples each, and the rest in proportion to their weights.
void deal_members(const Indices& members, const std::vector<std::size_t>& holders,
                  const std::vector<double>& weights, std::size_t least, Partition& partition) {
  double total = 0, sum = 0;
  for (const std::size_t c : holders) total += weights[c];
  const auto rest = static_cast<double>(members.size() - holders.size() * least);
  std::size_t begin = 0;
  for (std::size_t h = 0; h < holders.size(); ++h) {
    sum += weights[holders[h]];
    const bool last = h + 1 == holders.size();
    const auto wanted = (h + 1) * least + static_cast<std::size_t>(std::llround(rest * (sum / total)));
    const std::size_t end = last ? members.size() : std::min(wanted, members.size());
    Indices& to = partition[holders[h]];
    for (; begin < end; ++begin) to.push_back(members[begin]);
  }
}

Partition make_shards(std::vector<Indices> classes, std::size_t clients, const PartitionOptions& options) {
  const auto present = static_cast<std::size_t>(
      std::count_if(classes.begin(), classes.end(), [](const Indices& members) { return !members.empty(); }));
  if (options.classes_per_client < 1 || static_cast<std::size_t>(options.classes_per_client) > present) {
    fail(ExitCode::usage,
         "--classes-per-client {} is not possible (the training data have {} classes), give 1 to {}",
         options.classes_per_client, present, present);
  }
  const auto each = static_cast<std::size_t>(options.classes_per_client);
  if (clients * each < present) {
    fail(ExitCode::usage,
         "{} clients with --classes-per-client {} cannot hold all data ({} classes, {} places), give at "
         "least {} classes per client",
         clients, each, present, clients * each, (present + clients - 1) / clients);
  }
  if (options.size_exponent != 0 &&
      !(options.size_exponent >= smallest_exponent && options.size_exponent <= largest_exponent)) {
    fail(ExitCode::usage,
         "--size-exponent {} is not possible (0, or {} to {}), give 1.5 for very unequal clients or 0 for "
         "equal "
         "ones",
         options.size_exponent, smallest_exponent, largest_exponent);
  }
  Rng rng(options.seed, {shard_stream});
  const auto holders = deal_classes(holders_per_class(classes, clients, clients * each), clients, each, rng);
  Partition partition(clients);
  const bool unequal = options.size_exponent > 0;
  const std::vector<double> weights = unequal ? draw_weights(clients, options) : std::vector<double>{};
  const std::size_t least =
      std::max<std::size_t>(1, (static_cast<std::size_t>(options.minimum_size) + each - 1) / each);
  for (std::size_t k = 0; k < classes.size(); ++k) {
    rng.shuffle(classes[k]);
    if (unequal) {
      refuse_too_small(classes[k].size(), holders[k].size(), least, options);
      deal_members(classes[k], holders[k], weights, least, partition);
      continue;
    }
    for (std::size_t h = 0; h < holders[k].size(); ++h) {
      append_slice(classes[k], h, holders[k].size(), partition[holders[k][h]]);
    }
  }
  // Moving samples would give a client a class it must not have, so there is no repair here.
  if (smallest(partition) < static_cast<std::size_t>(options.minimum_size)) {
    fail(ExitCode::usage,
         "the shards are too small (one client would get {} samples, the minimum is {}), take fewer clients "
         "or a smaller --minimum-size",
         smallest(partition), options.minimum_size);
  }
  return partition;
}

}  // namespace

std::string to_string(PartitionKind kind) {
  switch (kind) {
    case PartitionKind::iid:
      return "iid";
    case PartitionKind::dirichlet:
      return "dirichlet";
    case PartitionKind::shards:
      break;
  }
  return "shards";
}

PartitionKind parse_partition_kind(const std::string& text) {
  for (const PartitionKind kind : {PartitionKind::iid, PartitionKind::dirichlet, PartitionKind::shards}) {
    if (text == to_string(kind)) return kind;
  }
  fail(ExitCode::usage,
       "--partition {} is unknown (it is no way to divide the data), choose one of iid, dirichlet, shards",
       text);
}

Partition make_partition(Span<const std::int32_t> labels, int classes, int clients,
                         const PartitionOptions& options) {
  const auto samples = static_cast<std::int64_t>(labels.size());
  if (clients < 1)
    fail(ExitCode::usage,
         "{} clients cannot share the data (there must be one at least), give a positive number", clients);
  if (clients > samples) {
    fail(ExitCode::usage,
         "{} clients cannot share {} training samples (each needs one at least), take fewer clients or more "
         "data",
         clients, samples);
  }
  if (options.minimum_size < 0 || options.minimum_size > samples / clients) {
    fail(ExitCode::usage,
         "{} clients cannot have {} samples each (there are {} training samples), take fewer clients or a "
         "--minimum-size of 1 to {}",
         clients, options.minimum_size, samples, samples / clients);
  }
  const auto count = static_cast<std::size_t>(clients);
  Partition partition;
  switch (options.kind) {
    case PartitionKind::iid:
      partition = make_iid(samples, count, options);
      break;
    case PartitionKind::dirichlet:
      partition = make_dirichlet(by_class(labels, classes), count, options);
      break;
    case PartitionKind::shards:
      partition = make_shards(by_class(labels, classes), count, options);
      break;
  }
  for (Indices& indices : partition) std::sort(indices.begin(), indices.end());
  return partition;
}

}  // namespace cos2p
