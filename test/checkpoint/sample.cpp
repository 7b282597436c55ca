#include "sample.hpp"

#include <stdlib.h>

#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <limits>
#include <stdexcept>

#include "cos2p/support/random.hpp"

namespace cos2p::test {
namespace {

UnitSet random_units(Rng& rng, std::int64_t total) {
  std::vector<std::int32_t> kept;
  for (std::int32_t unit = 0; unit < total; ++unit) {
    if (rng.below(3) != 0) kept.push_back(unit);
  }
  return {total, std::move(kept)};
}

RoundReport random_report(Rng& rng) {
  RoundReport r;
  for (auto* field : {&r.samples, &r.steps, &r.updates, &r.bytes_pulled, &r.bytes_pushed, &r.peak_memory,
                      &r.peak_resident, &r.free_memory}) {
    *field = static_cast<std::int64_t>(rng());
  }
  for (auto* field : {&r.loss, &r.accuracy, &r.compute_s, &r.transfer_s, &r.waiting_s, &r.energy_j})
    *field = rng.normal();
  return r;
}

RoundRow random_round(Rng& rng) {
  RoundRow r;
  for (auto* field : {&r.round, &r.reports, &r.updates, &r.n_star, &r.segments_merged, &r.segments_total,
                      &r.staleness_max, &r.workers}) {
    *field = static_cast<std::int32_t>(rng.below(1000));
  }
  for (auto* field : {&r.time_s, &r.staleness_mean, &r.loss, &r.utilisation}) *field = rng.normal();
  r.dropped = static_cast<std::int64_t>(rng());
  return r;
}

PendingUpdate random_update(Rng& rng, const SegmentTable& table, std::int32_t clients) {
  PendingUpdate update;
  update.client = static_cast<std::int32_t>(rng.below(static_cast<std::uint64_t>(clients)));
  update.client_round = static_cast<std::int32_t>(rng.below(100));
  update.segment = static_cast<std::int32_t>(rng.below(static_cast<std::uint64_t>(table.size())));
  update.base_version = rng();
  update.weight = rng.uniform();
  const Segment& segment = table[SegmentId(update.segment)];
  const UnitSet units = random_units(rng, segment.units);
  if (segment.units > 0) update.bitmap = units.bitmap();
  update.values.resize(static_cast<std::size_t>(segment.numel_with(units.size())));
  for (float& value : update.values) value = static_cast<float>(rng.normal());
  return update;
}

ClientRecord random_client(Rng& rng, const ModelOptions& model, int client) {
  ClientRecord record;
  record.budget = client == 0 ? "0.5" : client == 1 ? "2GiB" : "";
  record.assignment = {1 + client, client == 2 ? 1 : 0,
                       1 + client, 20 * client + 1,
                       0,          client == 1 ? WidthBalance::rising : WidthBalance::even};
  record.memory_budget = static_cast<std::int64_t>(rng());
  record.predicted_memory = static_cast<std::int64_t>(rng.below(1U << 30));
  record.measured_memory = static_cast<std::int64_t>(rng.below(1U << 30));
  record.samples = static_cast<std::int64_t>(rng.below(1000));
  for (int i = 0; i < model.classes; ++i)
    record.class_counts.push_back(static_cast<std::int64_t>(rng.below(100)));
  record.rounds = static_cast<std::int32_t>(rng.below(50));
  if (client == 1) return record;  // no update yet: no masks
  for (int block = 0; block < record.assignment.kept_blocks; ++block) {
    record.heads.push_back(random_units(rng, model.heads));
    record.neurons.push_back(random_units(rng, model.feed_forward));
  }
  return record;
}

History random_history(Rng& rng) {
  History history;
  for (int i = 0; i < 37; ++i) history.rounds.push_back(random_round(rng));
  history.rounds.front().loss = std::numeric_limits<double>::quiet_NaN();
  for (std::int32_t i = 0; i < 9; ++i)
    history.evaluations.push_back({i / 3, i % 3, rng.normal(), rng.normal(), rng.uniform()});
  for (std::int32_t i = 0; i < 5; ++i)
    history.clients.push_back({i, i % 3, 7, rng.normal(), random_report(rng)});
  history.members = {{0, 1, rng.normal(), "active"}, {4, 2, rng.normal(), "suspect"}};
  history.merges = {{0, 3, 1, 2, 0}, {5, 4, 7, 1, 3}};
  return history;
}

RunState random_state(Rng& rng, const SegmentTable& table, int round, std::int32_t clients) {
  RunState state;
  state.round = round;
  state.time_s = 123.456;
  state.seed = ~std::uint64_t{5};
  for (int i = 0; i < table.size(); ++i) {
    state.open_since_s.push_back(i % 2 == 0 ? -1 : rng.uniform());
    state.open_updates.push_back(i);
  }
  for (const Segment& segment : table) {
    std::vector<float> velocity(static_cast<std::size_t>(segment.numel));
    for (float& value : velocity) value = static_cast<float>(rng.normal());
    if (segment.block == 1) state.class_deltas.push_back({2, segment.id.value(), velocity});
    if (round % 2 == 0) state.velocity.push_back(std::move(velocity));
  }
  for (int i = 0; i < 4; ++i) state.pending.push_back(random_update(rng, table, clients));
  for (int i = 0; i < 2; ++i) {
    InFlightRound item{i, 3 + i, rng.uniform(), i, {}, random_report(rng)};
    for (int u = 0; u < 3 * i; ++u) item.updates.push_back(random_update(rng, table, clients));
    state.in_flight.push_back(std::move(item));
  }
  state.taking_part = {1, 0, 1};
  state.away_until_s = {-1, 20.5, -1};
  state.idle_since_s = {4.5, -3.25, -1};
  state.next_start_s = {0.5, -1, std::numeric_limits<double>::infinity()};
  state.open_round = random_round(rng);
  state.open_weight = rng.uniform();
  state.open_compute_s = rng.uniform();
  state.open_waiting_s = rng.uniform();
  return state;
}

/// Appends fields to a string of bytes.
class ByteSink {
 public:
  template <typename... T>
  void put(const T&... values) {
    (one(values), ...);
  }
  std::string bytes;

 private:
  template <typename T>
  std::enable_if_t<std::is_arithmetic_v<T>> one(T value) {
    char raw[sizeof(T)];
    std::memcpy(raw, &value, sizeof(T));
    bytes.append(raw, sizeof(T));
  }
  void one(const std::string& text) {
    one(text.size());
    bytes += text;
  }
  template <typename T>
  void one(const std::vector<T>& values) {
    one(values.size());
    for (const auto& value : values) one(value);
  }
  void one(const UnitSet& u) { put(u.total(), u.kept()); }
  void one(const RoundReport& r) {
    put(r.samples, r.steps, r.updates, r.loss, r.accuracy, r.compute_s, r.transfer_s, r.waiting_s,
        r.bytes_pulled, r.bytes_pushed, r.peak_memory, r.peak_resident, r.energy_j, r.free_memory);
  }
  void one(const RoundRow& r) {
    put(r.round, r.time_s, r.reports, r.updates, r.n_star, r.segments_merged, r.segments_total,
        r.staleness_mean, r.staleness_max, r.dropped, r.loss, r.utilisation, r.workers);
  }
  void one(const EvaluationRow& r) { put(r.round, r.block, r.time_s, r.loss, r.accuracy); }
  void one(const ClientRow& r) { put(r.round, r.client, r.client_round, r.time_s, r.report); }
  void one(const MemberRow& r) { put(r.round, r.worker, r.time_s, std::string(r.state)); }
  void one(const MergeRow& r) { put(r.round, r.segment, r.version, r.updates, r.staleness); }
  void one(const ClassDelta& d) { put(d.depth, d.segment, d.values); }
  void one(const PendingUpdate& u) {
    put(u.client, u.client_round, u.segment, u.base_version, u.weight, u.bitmap, u.values);
  }
  void one(const InFlightRound& r) {
    put(r.client, r.client_round, r.deliver_at_s, r.deltas, r.updates, r.report);
  }
  void one(const SegmentRecord& s) {
    put(s.version, s.updates, s.trainers, s.last_staleness, s.last_updates);
  }
  void one(const ClientRecord& c) {
    put(c.budget, c.assignment.kept_blocks, c.assignment.frozen_blocks, c.assignment.rolling,
        c.assignment.heads, c.assignment.neurons, to_string(c.assignment.width_balance), c.memory_budget,
        c.predicted_memory, c.measured_memory, c.samples, c.class_counts, c.rounds, c.heads, c.neurons);
  }
};

}  // namespace

Checkpoint make_checkpoint(std::uint64_t seed, int round) {
  Rng rng(seed);
  Checkpoint c;
  c.identity = {"0123456789abcdef", "0.1.0", "2025-01-31T12:00:00Z", "synthetic", {}};
  c.identity.options = {{"rounds", "12"},
                        {"empty", ""},
                        {"budgets", std::string(20000, 'x')},
                        {"name", "Käse \"mit\" = Löchern\n"}};
  for (int i = 0; i < 60; ++i) c.identity.options["option-" + std::to_string(i)] = std::to_string(rng());
  c.model.image_height = c.model.image_width = 8;
  c.model.patch = 4;
  c.model.dim = 16;
  c.model.blocks = 3;
  c.model.heads = 4;
  c.model.feed_forward = 80;
  c.model.classes = 5;
  c.model.exits = {0, 2};
  if (seed % 5 == 4) {  // a model of texts
    c.input.vocabulary =
        Vocabulary({"[PAD]", "[UNK]", "[CLS]", "[SEP]", "é", "##字", "", "#"}, seed % 2 == 0, "");
    c.model.vocabulary = c.input.vocabulary->size();
    c.model.max_length = 7;
  } else {
    c.input.normalization = {{0.25F, 0.5F}, {0.1F, 0.2F}};
  }
  c.model.validate();
  const SegmentTable table(c.model);
  for (const Segment& segment : table) {
    std::vector<float> values(static_cast<std::size_t>(segment.numel));
    for (float& value : values) value = static_cast<float>(rng.normal());
    c.values.push_back(std::move(values));
    c.segments.push_back({rng(), static_cast<std::int64_t>(rng.below(99)),
                          static_cast<std::int64_t>(rng.below(9)), static_cast<std::int32_t>(rng.below(7)),
                          static_cast<std::int32_t>(rng.below(5))});
  }
  c.values[0][0] = std::numeric_limits<float>::quiet_NaN();
  c.values[0][1] = -std::numeric_limits<float>::infinity();
  for (int client = 0; client < 3; ++client) c.clients.push_back(random_client(rng, c.model, client));
  c.history = random_history(rng);
  c.state = random_state(rng, table, round, 3);
  return c;
}

std::string bytes_of(const Checkpoint& c) {
  ByteSink sink;
  sink.put(c.identity.run_id, c.identity.program_version, c.identity.created, c.identity.dataset,
           c.identity.options.size());
  for (const auto& [name, value] : c.identity.options) sink.put(name, value);
  const ModelOptions& m = c.model;
  sink.put(m.image_height, m.image_width, m.channels, m.patch, m.vocabulary, m.max_length, m.dim, m.blocks,
           m.heads, m.feed_forward, m.classes, m.exits);
  sink.put(c.input.normalization.mean, c.input.normalization.deviation, c.values, c.segments, c.clients);
  if (c.input.vocabulary) sink.put(c.input.vocabulary->to_text(), c.input.vocabulary->lower_case());
  sink.put(c.history.rounds, c.history.evaluations, c.history.clients, c.history.members, c.history.merges);
  const RunState& s = c.state;
  sink.put(s.round, s.time_s, s.seed, s.open_since_s, s.velocity, s.class_deltas, s.pending, s.in_flight,
           s.next_start_s, s.idle_since_s, s.taking_part, s.away_until_s, s.open_updates, s.open_round,
           s.open_weight, s.open_compute_s, s.open_waiting_s);
  return sink.bytes;
}

TemporaryDirectory::TemporaryDirectory() {
  path_ = (std::filesystem::temp_directory_path() / "cos2p-checkpoint-XXXXXX").string();
  if (::mkdtemp(path_.data()) == nullptr)
    throw std::runtime_error("cannot create a temporary directory " + path_);
}
TemporaryDirectory::~TemporaryDirectory() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

std::string read_bytes(const std::string& path) {
  std::ifstream stream(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

void write_bytes(const std::string& path, const std::string& bytes) {
  std::ofstream stream(path, std::ios::binary | std::ios::trunc);
  stream << bytes;
  stream.close();
  if (!stream) throw std::runtime_error("cannot write " + path);
}

}  // namespace cos2p::test
