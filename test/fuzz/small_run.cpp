#include "fuzz/small_run.hpp"

#include <cmath>
#include <cstdlib>
#include <map>
#include <new>

#include "cos2p/support/narrow.hpp"

namespace cos2p::fuzz {
namespace {

Buffer buffer_of(const Bytes& bytes) {
  // Exactly as large as what is in it, so that the address sanitizer sees who reads behind its end.
  auto* data = static_cast<std::byte*>(std::malloc(bytes.empty() ? 1 : bytes.size()));
  if (data == nullptr) throw std::bad_alloc();
  if (!bytes.empty()) std::memcpy(data, bytes.data(), bytes.size());
  return {data, bytes.size(), bytes.size(), nullptr,
          [](void*, std::byte* released, std::size_t) { std::free(released); }};
}

InputEncoding small_input(SmallModel kind) {
  InputEncoding input;
  if (kind == SmallModel::texts) {
    input.vocabulary.emplace(std::vector<std::string>{"[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "##b"}, true,
                             "the target's vocabulary");
  } else {
    input.normalization = {{0.5F}, {0.25F}};
  }
  return input;
}

ServerCore::Setup small_setup(SmallModel kind, const PolicyOptions& policy,
                              std::vector<ClientRecord> clients) {
  ServerCore::Setup setup;
  setup.policy = policy;
  setup.rounds = 1000;
  setup.seed = 7;
  setup.threads = 1;
  setup.identity = {"0123456789abcdef", "0.1.0", "2025-01-31T12:00:00Z", "synthetic", {}};
  static const std::map<std::string, std::string> options = parse_options(Subcommand::train, "").in_effect;
  setup.identity.options = options;
  setup.input = small_input(kind);
  setup.clients = std::move(clients);
  return setup;
}

}  // namespace

ModelOptions small_model(SmallModel kind) {
  ModelOptions model;
  model.image_height = model.image_width = 4;
  model.patch = 2;
  model.dim = 4;
  model.blocks = 3;
  model.heads = 2;
  model.feed_forward = 9;
  model.classes = 3;
  if (kind == SmallModel::texts) {
    model.vocabulary = 6;
    model.max_length = 4;
  } else if (kind == SmallModel::linear) {
    model.dim = 0;
  }
  model.validate();
  return model;
}

std::vector<ClientRecord> small_clients(SmallModel kind) {
  const ModelOptions model = small_model(kind);
  std::vector<ClientRecord> clients(3);
  for (std::size_t c = 0; c < clients.size(); ++c) {
    ClientRecord& client = clients[c];
    client.budget = c == 0 ? "1" : "0.5";
    client.assignment = full_assignment(model);
    client.samples = 10 * (narrow<std::int64_t>(c) + 1);
    client.class_counts = {3, 3, 4};
  }
  if (kind == SmallModel::linear) return clients;
  clients[1].assignment = {2, 0, 1, 4, 0, WidthBalance::falling};
  clients[2].assignment = {3, 1, 2, 9, 1, WidthBalance::even};
  return clients;
}

PolicyOptions small_policy(std::uint8_t choice) {
  PolicyOptions policy;
  constexpr PolicyKind kKinds[] = {PolicyKind::semi_async, PolicyKind::sync, PolicyKind::async,
                                   PolicyKind::fedbuff};
  policy.kind = kKinds[choice & 3U];
  policy.deadline_s = 5;
  if ((choice & 4U) != 0) policy.merge = MergeKind::deltas;
  if ((choice & 8U) != 0) policy.server_momentum = 0.5;
  if ((choice & 16U) != 0) policy.depth_momentum = 0.25;
  if ((choice & 32U) != 0) policy.normalize = NormalizeKind::updates;
  if ((choice & 64U) != 0) policy.weighting = WeightingKind::uniform;
  if ((choice & 128U) != 0) policy.discount = DiscountKind::hinge;
  return policy;
}

SmallRun::SmallRun(SmallModel kind, const PolicyOptions& policy) : table(small_model(kind)), store(table) {
  for (const Segment& segment : table)
    store.restore(segment.id, std::vector<float>(static_cast<std::size_t>(segment.numel), 0.5F), 1);
  core = std::make_unique<ServerCore>(table, store, small_setup(kind, policy, small_clients(kind)));
}

SmallRun::SmallRun(SmallModel kind, const PolicyOptions& policy, const Checkpoint& resumed)
    : table(resumed.model), store(table) {
  core = std::make_unique<ServerCore>(table, store, small_setup(kind, policy, resumed.clients));
  core->restore(resumed);
}

Message WholeMessage::message() const {
  Message message;
  message.worker = WorkerRank(1);
  message.header = header;
  message.body = buffer_of(body);
  return message;
}

WholeMessage small_update(const Segment& segment, int client, int round, std::uint64_t base, int units,
                          float value, ValueType type) {
  WholeMessage whole;
  std::vector<std::int32_t> kept;
  for (std::int32_t u = 0; u < segment.units && (units == 0 || u < units); ++u) kept.push_back(u);
  const UnitSet set(segment.units, kept);
  const Bytes bitmap = segment.units > 0 ? set.bitmap() : Bytes{};
  MessageHeader& header = whole.header;
  header.value_type = type;
  header.client = client;
  header.client_round = round;
  header.segment = segment.id.value();
  header.base_version = base;
  header.weight = 1;
  header.bitmap_bytes = narrow<std::int64_t>(bitmap.size());
  const std::vector<float> values(static_cast<std::size_t>(segment.numel_with(set.size())), value);
  const auto at = static_cast<std::size_t>(values_offset(header.bitmap_bytes));
  const std::int64_t bytes = packed_bytes(type, narrow<std::int64_t>(values.size()));
  whole.body.assign(at + narrow<std::size_t>(bytes), 0);
  std::copy(bitmap.begin(), bitmap.end(), whole.body.begin());
  if (type == ValueType::float32) {
    std::memcpy(whole.body.data() + at, values.data(), values.size() * sizeof(float));
  } else {
    std::vector<std::uint16_t> lost(values.size(), 0);
    pack_values(type, values, lost,
                {reinterpret_cast<std::byte*>(whole.body.data() + at), narrow<std::size_t>(bytes)});
  }
  header.body_bytes = narrow<std::int64_t>(whole.body.size());
  return whole;
}

WholeMessage small_report(int client, int round) {
  WholeMessage whole;
  whole.header.kind = MessageKind::round_report;
  whole.header.client = client;
  whole.header.client_round = round;
  RoundReport report;
  report.samples = 20;
  report.steps = 2;
  report.loss = 0.75;
  report.compute_s = 1;
  report.waiting_s = 0.25;
  report.peak_memory = 1000;
  whole.body.resize(sizeof report);
  std::memcpy(whole.body.data(), &report, sizeof report);
  whole.header.body_bytes = narrow<std::int64_t>(whole.body.size());
  return whole;
}

Checkpoint small_checkpoint(SmallModel kind) {
  PolicyOptions policy;
  policy.merge = MergeKind::deltas;
  policy.server_momentum = 0.5;
  policy.depth_momentum = 0.25;
  policy.deadline_s = 100;
  SmallRun run(kind, policy);
  const std::vector<ClientRecord> clients = small_clients(kind);
  double now_s = 1;
  for (int round = 0; round < 3; ++round) {
    for (int client = 0; client < 3; ++client) {
      const Assignment& assignment = clients[static_cast<std::size_t>(client)].assignment;
      for (const Segment& segment : run.table) {
        const bool odd = (round + client + segment.id.value()) % 3 == 2;
        if (!trains(run.table, window_at(run.table, assignment, round), segment) || (round == 2 && odd))
          continue;
        const int units = segment.kind == SegmentKind::attention ? assignment.heads : assignment.neurons;
        run.core->handle(small_update(segment, client, round, run.store.version(segment.id), units,
                                      0.25F * static_cast<float>(client - 1))
                             .message(),
                         now_s += 0.5);
      }
      if (round < 2 || client == 0) run.core->handle(small_report(client, round).message(), now_s += 0.5);
    }
  }
  run.core->add_evaluation({{1, 0, 2.5, 0.5, 0.25}, {1, 2, 2.5, 0.5, 0.5}});
  run.core->add_member(WorkerRank(1), "active", 1.5);
  Checkpoint checkpoint = run.core->snapshot(now_s);
  RunState& state = checkpoint.state;  // and what a simulated run has beside
  state.next_start_s = {1, 2, -1};
  state.idle_since_s = {-1, 3, 4};
  state.taking_part = {1, 1, 0};
  state.away_until_s = {-1, -1, 9};
  InFlightRound flight;
  flight.client = 1;
  flight.client_round = 2;
  flight.deliver_at_s = 99;
  flight.updates = state.pending;
  state.in_flight.push_back(flight);
  return checkpoint;
}

void check_model(const SmallRun& run) {
  // An update moves a value by less than kValueLimit; an input is some hundred updates at most.
  constexpr float kLargest = 1e7F;
  for (const Segment& segment : run.table) {
    for (const float value : run.store.values(segment.id)) {
      if (!(std::abs(value) < kLargest))
        found(fmt::format("{} has the value {}, which no updates make of it", segment.name, value));
    }
  }
}

}  // namespace cos2p::fuzz
