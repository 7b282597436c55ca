#include "cos2p/server/aggregator.hpp"

#include <algorithm>
#include <cstring>
#include <functional>
#include <limits>

#include "cos2p/server/staging_pool.hpp"
#include "cos2p/support/error.hpp"
#include "cos2p/support/narrow.hpp"
#include "depth_momentum.hpp"

namespace cos2p {
namespace {

UnitSet units_of(const Segment& segment, const MessageHeader& header, const Buffer& body) {
  if (segment.units == 0) return {};
  const auto* bitmap = reinterpret_cast<const std::uint8_t*>(body.data());
  return UnitSet::from_bitmap(segment.units, {bitmap, static_cast<std::size_t>(header.bitmap_bytes)});
}

/// -1 where no number of values has this size.
std::int64_t value_count(const MessageHeader& header) {
  return packed_count(header.value_type, header.body_bytes - values_offset(header.bitmap_bytes));
}

}  // namespace

std::string to_string(UpdateVerdict verdict) {
  switch (verdict) {
    case UpdateVerdict::accepted:
      return "accepted";
    case UpdateVerdict::stale:
      return "stale";
    case UpdateVerdict::duplicate:
      return "duplicate";
    case UpdateVerdict::not_finite:
      return "not finite";
    case UpdateVerdict::malformed:
      return "malformed";
  }
  return "unknown";
}

bool part_in_range(const MessageHeader& header, std::int64_t offset, Span<const std::byte> part) {
  if (header.kind != MessageKind::segment_update) return true;
  const std::int64_t values = values_offset(header.bitmap_bytes);
  const std::int64_t first = std::max(offset, values);
  const std::int64_t last = std::min(offset + static_cast<std::int64_t>(part.size()),
                                     values + deciding_bytes(header.value_type, value_count(header)));
  if (last <= first) return true;
  // Workers fill slot after slot. In pieces that values do not begin and end with, they cannot be looked at
  // here: then the whole update is, once it is there.
  const std::int64_t size = header.value_type == ValueType::bf16 ? 2 : 4;
  if (offset % size != 0 || last % size != 0) return false;
  return values_in_range(header.value_type, part.subspan(static_cast<std::size_t>(first - offset),
                                                         static_cast<std::size_t>(last - first)));
}

PackedValues Aggregator::Pending::values() const {
  return {header.value_type, body.data() + values_offset(header.bitmap_bytes), value_count(header)};
}

Aggregator::Aggregator(const SegmentTable& table, ModelStore& store, const PolicyOptions& policy,
                       std::vector<Trainer> trainers, int threads)
    : table_(table), store_(store), policy_(policy), rule_(merge_rule(policy)), threads_(threads) {
  const auto segments = static_cast<std::size_t>(table.size());
  for (Trainer& trainer : trainers) {
    largest_samples_ = std::max(largest_samples_, trainer.samples);
    ClientState client;
    client.trainer = trainer;
    client.may_push = std::vector<std::atomic<bool>>(segments);
    give(client, trainer.assignment, 0);
    client.last_round.assign(segments, -1);
    client.segment_units.resize(segments);
    clients_.push_back(std::move(client));
  }
  segments_.resize(segments);
  for (const Segment& segment : table) {
    if (policy.server_momentum > 0)
      segments_[static_cast<std::size_t>(segment.id.value())].velocity.assign(
          static_cast<std::size_t>(segment.numel), 0.0F);
  }
  if (policy.depth_momentum > 0) {
    std::vector<Assignment> assignments;
    for (const ClientState& client : clients_) assignments.push_back(client.trainer.assignment);
    depth_momentum_ = std::make_unique<DepthMomentum>(table, assignments, policy.depth_momentum);
  }
  records_.resize(segments);
  contributed_.assign(segments, std::vector<bool>(clients_.size(), false));
}

Aggregator::~Aggregator() = default;

bool Aggregator::trains_now(const ClientState& client, const Segment& segment) const {
  return client.trainer.active &&
         trains(table_, window_at(table_, client.trainer.assignment, client.round), segment);
}

void Aggregator::give(ClientState& client, const Assignment& assignment, int from) const {
  // Plans change with every worker that comes or goes; an update that is so many of them old is stale.
  constexpr std::size_t kKept = 32;
  if (!client.given.empty() && client.given.back().assignment == assignment) return;
  client.given.push_back({assignment, from});
  if (client.given.size() > kKept) client.given.erase(client.given.begin() + 1);
  for (const Segment& segment : table_) {
    if (trains(table_, assignment, segment))
      client.may_push[static_cast<std::size_t>(segment.id.value())] = true;
  }
}

void Aggregator::set_assignment(ClientId client, const Assignment& assignment, int server_round) {
  ClientState& state = clients_[static_cast<std::size_t>(client.value())];
  for (const Segment& segment : table_) {
    // Who begins to train a segment is not behind those who have trained it all along.
    if (!trains(table_, assignment, segment) || trains(table_, state.trainer.assignment, segment)) continue;
    std::int32_t& last_round = state.last_round[static_cast<std::size_t>(segment.id.value())];
    last_round = std::max(last_round, state.round - 1);
  }
  give(state, assignment, server_round);
  state.trainer.assignment = assignment;
}

const Assignment* Aggregator::assignment_of(const MessageHeader& header) const {
  const std::vector<Given>& given = clients_[static_cast<std::size_t>(header.client)].given;
  const auto has = [&](const Given& each) {
    return trains(table_, window_at(table_, each.assignment, header.client_round),
                  table_[SegmentId(header.segment)]);
  };
  const auto then = std::find_if(given.rbegin(), given.rend(), [&](const Given& each) {
    return each.from <= header.server_round && has(each);
  });
  if (then != given.rend()) return &then->assignment;
  const auto any = std::find_if(given.begin(), given.end(), has);
  return any == given.end() ? nullptr : &any->assignment;
}

void Aggregator::set_round(ClientId client, int local_round) {
  clients_[static_cast<std::size_t>(client.value())].round = local_round;
}

double Aggregator::weight_of(const Trainer& trainer, const Assignment& kept) const {
  double weight = policy_.weighting == WeightingKind::uniform ? 1 : trainer.samples / largest_samples_;
  if (policy_.width_exponent > 0 && !table_.options().linear()) {
    const ModelOptions& model = table_.options();
    const double share = (static_cast<double>(kept.heads) / model.heads +
                          static_cast<double>(kept.neurons) / model.feed_forward) /
                         2;
    weight *= std::pow(share, policy_.width_exponent);
  }
  return quantize_weight(std::max(weight, 1 / kWeightSteps));
}

/// Deliveries of the slowest present trainer over this client's own, for the update's segment; at least 1/16,
/// so that a client that hangs does not hold the model still.
double Aggregator::pace(const MessageHeader& header) const {
  constexpr double kLeast = 1.0 / 16;
  // In lockstep nobody is fast: who delivered more often was drawn more often, by chance.
  if (!policy_.pace_correction || policy_.lockstep()) return 1;
  const auto segment = static_cast<std::size_t>(header.segment);
  int slowest = header.client_round + 1;
  for (const ClientState& client : clients_) {
    if (!trains_now(client, table_[SegmentId(header.segment)])) continue;
    // A rolling client has been through rounds in which it did not train this segment.
    const int rounds = client.trainer.assignment.rolling != 0 ? client.round : client.last_round[segment] + 1;
    slowest = std::min(slowest, std::max(1, rounds));
  }
  return std::max(kLeast, static_cast<double>(slowest) / (header.client_round + 1));
}

UpdateVerdict Aggregator::check_shape(const MessageHeader& header, std::string& reason) const {
  if (header.client < 0 || header.client >= narrow<std::int32_t>(clients_.size())) {
    reason = fmt::format("client {} is not one of the {} of this run", header.client, clients_.size());
    return UpdateVerdict::malformed;
  }
  if (header.segment < 0 || header.segment >= table_.size()) {
    reason = fmt::format("segment {} is not one of the {} of this model", header.segment, table_.size());
    return UpdateVerdict::malformed;
  }
  const Segment& segment = table_[SegmentId(header.segment)];
  const ClientState& client = clients_[static_cast<std::size_t>(header.client)];
  if (!client.may_push[static_cast<std::size_t>(header.segment)]) {
    reason = fmt::format("client {} does not train {}", header.client, segment.name);
    return UpdateVerdict::malformed;
  }
  if (header.client_round < 0 || header.client_round >= kLastRound) {
    reason = fmt::format("local round {} cannot be", header.client_round);
    return UpdateVerdict::malformed;
  }
  if (!is_known(header.value_type)) {
    reason = fmt::format("{}: values of type {} cannot be", segment.name,
                         static_cast<std::uint16_t>(header.value_type));
    return UpdateVerdict::malformed;
  }
  const std::int64_t bitmap = segment.units > 0 ? UnitSet::bitmap_bytes(segment.units) : 0;
  const std::int64_t values = header.body_bytes - values_offset(bitmap);
  const std::int64_t smallest = packed_bytes(header.value_type, segment.numel_with(0));
  const std::int64_t largest = packed_bytes(header.value_type, segment.numel);
  if (header.bitmap_bytes != bitmap || values < smallest || values > largest || value_count(header) < 0) {
    reason = fmt::format(
        "{}: {} bytes with a unit bitmap of {} cannot be (bitmap {}, {} values {} to {} bytes)", segment.name,
        header.body_bytes, header.bitmap_bytes, bitmap, to_string(header.value_type), smallest, largest);
    return UpdateVerdict::malformed;
  }
  return UpdateVerdict::accepted;
}

UpdateVerdict Aggregator::check_age(const MessageHeader& header, std::string& reason) const {
  const Segment& segment = table_[SegmentId(header.segment)];
  const ClientState& client = clients_[static_cast<std::size_t>(header.client)];
  const std::uint64_t version = store_.version(SegmentId(header.segment));
  if (header.base_version > version) {
    reason = fmt::format("{}: base version {} is newer than {}", segment.name, header.base_version, version);
    return UpdateVerdict::malformed;
  }
  // First: whoever repeats itself is at fault, however old that has become by now.
  if (header.client_round <= client.last_round[static_cast<std::size_t>(header.segment)]) {
    reason = fmt::format("{}: local round {} came before", segment.name, header.client_round);
    return UpdateVerdict::duplicate;
  }
  if (version - header.base_version > static_cast<std::uint64_t>(rule_.staleness_bound)) {
    reason = fmt::format("{}: {} versions old (bound {})", segment.name, version - header.base_version,
                         rule_.staleness_bound);
    return UpdateVerdict::stale;
  }
  return UpdateVerdict::accepted;
}

UpdateVerdict Aggregator::take(Message update, double now_s, Form form, std::string& reason) {
  UpdateVerdict verdict = check_shape(update.header, reason);
  if (verdict == UpdateVerdict::accepted) verdict = check_age(update.header, reason);
  if (verdict != UpdateVerdict::accepted) return verdict;
  const MessageHeader& header = update.header;
  const SegmentId id(header.segment);
  const Segment& segment = table_[id];
  ClientState& client = clients_[static_cast<std::size_t>(header.client)];
  const Assignment* const assignment = assignment_of(header);
  if (assignment == nullptr) {
    reason = fmt::format("client {} does not train {} in its local round {}", header.client, segment.name,
                         header.client_round);
    return UpdateVerdict::malformed;
  }
  Pending pending;
  pending.header = header;
  try {
    pending.units = units_of(segment, header, update.body);
  } catch (const Error& e) {
    reason = e.what();
    return UpdateVerdict::malformed;
  }
  if (value_count(header) != segment.numel_with(pending.units.size())) {
    reason = fmt::format("{}: {} values for {} of {} units, expected {}", segment.name, value_count(header),
                         pending.units.size(), segment.units, segment.numel_with(pending.units.size()));
    return UpdateVerdict::malformed;
  }
  pending.body = std::move(update.body);
  const PackedValues values = pending.values();
  if (!update.values_in_range && !values_in_range(values.type, values.deciding())) {
    reason = fmt::format("{}: a value is not a number, infinite, or above {}", segment.name, kValueLimit);
    return UpdateVerdict::not_finite;
  }
  pending.staleness = narrow<std::int32_t>(store_.version(id) - header.base_version);
  if (form == Form::pushed && policy_.merge != pushed_kind(policy_, header.value_type)) {
    if (pending.staleness > 0) {
      reason = fmt::format("{}: what it was trained from, {} versions ago, is not known any more",
                           segment.name, pending.staleness);
      return UpdateVerdict::stale;
    }
    subtract_present(segment, pending);
    const PackedValues difference = pending.values();
    if (!values_in_range(difference.type, difference.deciding())) {
      reason = fmt::format("{}: a value is {} or more away from what it was trained from", segment.name,
                           kValueLimit);
      return UpdateVerdict::not_finite;
    }
  }
  pending.weight = weight_of(client.trainer, *assignment);
  pending.discounted =
      quantize_weight(pending.weight * staleness_discount(policy_, pending.staleness) * pace(header));
  client.last_round[static_cast<std::size_t>(header.segment)] = header.client_round;
  client.segment_units[static_cast<std::size_t>(header.segment)] = pending.units;
  SegmentState& state = segments_[static_cast<std::size_t>(header.segment)];
  if (state.open_since_s < 0) state.open_since_s = now_s;
  state.pending.push_back(std::move(pending));
  if (state.updates() >= kMaxUpdatesPerMerge / 2) fold(id);
  return UpdateVerdict::accepted;
}

/// Makes the values of an update what they add to those that the server has.
void Aggregator::subtract_present(const Segment& segment, Pending& pending) const {
  const auto count = static_cast<std::size_t>(value_count(pending.header));
  std::vector<float> present(count), pushed(count);
  gather_segment(segment, pending.units, store_.values(segment.id), present);
  std::byte* const body = pending.body.data() + values_offset(pending.header.bitmap_bytes);
  std::memcpy(pushed.data(), body, count * sizeof(float));
  std::transform(pushed.begin(), pushed.end(), present.begin(), pushed.begin(), std::minus<>());
  std::memcpy(body, pushed.data(), count * sizeof(float));
}

int Aggregator::active_trainers(SegmentId id) const {
  return static_cast<int>(std::count_if(clients_.begin(), clients_.end(), [&](const ClientState& client) {
    return trains_now(client, table_[id]);
  }));
}

double Aggregator::open_since_s() const {
  double since = std::numeric_limits<double>::infinity();
  for (const SegmentState& state : segments_) {
    if (state.updates() > 0) since = std::min(since, state.open_since_s);
  }
  return since;
}

std::vector<SegmentMerge> Aggregator::merge_ready(double now_s) {
  std::vector<SegmentMerge> merges;
  for (const Segment& segment : table_) {
    SegmentState& state = segments_[static_cast<std::size_t>(segment.id.value())];
    if (state.updates() == 0) continue;
    const int needed = std::max(1, std::min(rule_.min_updates, active_trainers(segment.id)));
    const bool late = rule_.deadline_s > 0 && now_s - state.open_since_s >= rule_.deadline_s;
    // In lockstep the update of somebody who has gone since does not stand for one who is still at it.
    const bool enough = state.updates() >= needed && (!policy_.lockstep() || all_delivered(segment, state));
    if (enough || late || state.updates() >= kMaxUpdatesPerMerge - 1) merges.push_back(merge(segment.id));
  }
  return merges;
}

bool Aggregator::all_delivered(const Segment& segment, const SegmentState& state) const {
  const std::vector<bool> delivered = delivered_to(state);
  for (std::size_t c = 0; c < clients_.size(); ++c) {
    if (!delivered[c] && trains_now(clients_[c], segment)) return false;
  }
  return true;
}

/// Per client: whether an update of it waits for the next merge.
std::vector<bool> Aggregator::delivered_to(const SegmentState& state) const {
  std::vector<bool> delivered(clients_.size(), false);
  for (const Pending& pending : state.pending)
    delivered[static_cast<std::size_t>(pending.header.client)] = true;
  for (std::int32_t client : state.folded_clients) delivered[static_cast<std::size_t>(client)] = true;
  return delivered;
}

MergeInput Aggregator::input_of(const Pending& pending) {
  return {pending.values(), &pending.units, pending.weight, pending.discounted};
}

Anchor Aggregator::anchor(const Segment& segment, const SegmentState& state) const {
  Anchor result;
  if (policy_.normalize != NormalizeKind::trainers) return result;
  const std::vector<bool> delivered = delivered_to(state);
  result.units.assign(static_cast<std::size_t>(segment.units), 0);
  for (std::size_t c = 0; c < clients_.size(); ++c) {
    const ClientState& client = clients_[c];
    if (delivered[c] || !trains_now(client, segment)) continue;
    const double weight = weight_of(client.trainer, client.trainer.assignment);
    result.shared += weight;
    const UnitSet& units = client.segment_units[static_cast<std::size_t>(segment.id.value())];
    if (units.total() == segment.units) {
      for (std::int32_t unit : units.kept()) result.units[static_cast<std::size_t>(unit)] += weight;
    } else {
      // It has not told its units yet: each is one of them with the same probability.
      const BlockWidth width =
          width_in(table_.options(), client.trainer.assignment, std::max(0, segment.block));
      const int kept = segment.kind == SegmentKind::attention ? width.heads : width.neurons;
      const double share = quantize_weight(
          weight * std::min(1.0, static_cast<double>(kept) /
                                     static_cast<double>(std::max<std::int64_t>(segment.units, 1))));
      for (double& unit : result.units) unit += share;
    }
  }
  return result;
}

SegmentMerge Aggregator::merge(SegmentId id) {
  const Segment& segment = table_[id];
  SegmentState& state = segments_[static_cast<std::size_t>(id.value())];
  std::vector<MergeInput> inputs;
  std::vector<std::int32_t> senders;
  SegmentMerge result;
  result.segment = id;
  result.staleness = state.folded_staleness;
  std::vector<bool>& contributed = contributed_[static_cast<std::size_t>(id.value())];
  for (std::int32_t client : state.folded_clients) contributed[static_cast<std::size_t>(client)] = true;
  for (const Pending& pending : state.pending) {
    inputs.push_back(input_of(pending));
    senders.push_back(pending.header.client);
    result.staleness.push_back(pending.staleness);
    contributed[static_cast<std::size_t>(pending.header.client)] = true;
  }
  const Anchor present = anchor(segment, state);
  const std::vector<MergeInput> sent = inputs;
  if (depth_momentum_) depth_momentum_->distil(segment, senders, inputs);
  MergeStep step;
  step.deltas = policy_.merge == MergeKind::deltas;
  step.changed = policy_.normalize == NormalizeKind::changed;
  step.rate = policy_.server_rate;
  step.momentum = policy_.server_momentum;
  step.velocity = state.velocity.data();
  const MergeKernel kernel(segment, inputs, &state.sums, present, step);
  result.version =
      store_.publish(id, threads_, [&](std::int64_t begin, Span<float> part) { kernel.merge(begin, part); });
  if (depth_momentum_) depth_momentum_->learn(segment, senders, sent);
  result.updates = narrow<int>(result.staleness.size());
  SegmentRecord& record = records_[static_cast<std::size_t>(id.value())];
  record.version = result.version;
  record.updates += result.updates;
  record.trainers = std::count(contributed.begin(), contributed.end(), true);
  record.last_updates = result.updates;
  record.last_staleness = *std::max_element(result.staleness.begin(), result.staleness.end());
  state.pending.clear();
  state.folded_staleness.clear();
  state.folded_clients.clear();
  state.sums.clear();
  state.open_since_s = -1;
  return result;
}

void Aggregator::fold(SegmentId id) {
  SegmentState& state = segments_[static_cast<std::size_t>(id.value())];
  std::vector<MergeInput> inputs;
  for (const Pending& pending : state.pending) {
    inputs.push_back(input_of(pending));
    state.folded_staleness.push_back(pending.staleness);
    state.folded_clients.push_back(pending.header.client);
  }
  accumulate_segment(table_[id], inputs, state.sums, threads_, policy_.normalize == NormalizeKind::changed);
  state.pending.clear();
}

void Aggregator::fold_largest() {
  std::int64_t largest = 0;
  SegmentId chosen;
  for (const Segment& segment : table_) {
    std::int64_t bytes = 0;
    for (const Pending& pending : segments_[static_cast<std::size_t>(segment.id.value())].pending)
      bytes += pending.header.body_bytes;
    if (bytes > largest) {
      largest = bytes;
      chosen = segment.id;
    }
  }
  if (chosen.valid()) fold(chosen);
}

void Aggregator::set_active(ClientId client, bool active) {
  clients_[static_cast<std::size_t>(client.value())].trainer.active = active;
}

std::vector<UnitSet> Aggregator::kept_units(ClientId client, SegmentKind kind) const {
  const ClientState& state = clients_[static_cast<std::size_t>(client.value())];
  const bool told = std::any_of(state.segment_units.begin(), state.segment_units.end(),
                                [](const UnitSet& units) { return units.size() > 0; });
  if (!told) return {};
  const Assignment& assignment = state.given.front().assignment;
  std::vector<UnitSet> result;
  for (int block = 0; block < assignment.kept_blocks; ++block) {
    const Segment& segment =
        table_[kind == SegmentKind::attention ? table_.attention(block) : table_.feed_forward(block)];
    const UnitSet& units = state.segment_units[static_cast<std::size_t>(segment.id.value())];
    if (!trains(table_, assignment, segment)) {
      result.push_back(UnitSet::all(segment.units));
    } else {
      result.push_back(units.size() > 0 ? units : UnitSet(segment.units, {}));
    }
  }
  return result;
}

}  // namespace cos2p
