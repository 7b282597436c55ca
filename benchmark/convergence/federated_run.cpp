#include "convergence/federated_run.hpp"

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "cos2p/kernels/merge.hpp"
#include "cos2p/server/server_core.hpp"

namespace cos2p::convergence {
namespace {

Buffer buffer_of(std::int64_t bytes) {
  const auto size = static_cast<std::size_t>(bytes);
  auto* data = static_cast<std::byte*>(std::calloc(1, size));
  if (data == nullptr) throw std::bad_alloc();
  return {data, size, size, nullptr, [](void*, std::byte* released, std::size_t) { std::free(released); }};
}

struct Client {
  int id = 0;
  SubmodelPlan plan;
  int rounds = 0;                       ///< local rounds that it delivered
  std::vector<double> pulled;           ///< the whole model, segment after segment
  std::vector<std::uint64_t> versions;  ///< of each segment, as pulled
  std::vector<std::size_t> trained;     ///< indices of the values that it trains
};

/// Even and odd pairs of clients keep the two halves of the units, so that each unit sees all kinds of data
/// equally often.
UnitSet half_of(std::int64_t units, bool second) {
  std::vector<std::int32_t> kept;
  for (std::int64_t u = 0; u < units / 2; ++u)
    kept.push_back(static_cast<std::int32_t>(second ? units / 2 + u : u));
  return {units, kept};
}

class Federation {
 public:
  Federation(const SegmentTable& table, const Problem& problem, const RunSettings& settings)
      : table_(table), problem_(problem), settings_(settings), store_(table), core_(table, store_, setup()) {
    COS2P_ASSERT(table.parameters() == static_cast<std::int64_t>(problem.dimension()));
    std::size_t begin = 0;
    for (const Segment& segment : table) {
      const auto numel = static_cast<std::size_t>(segment.numel);
      store_.restore(segment.id, std::vector<float>(numel, 0.0F), 0);
      begin_.push_back(begin);
      begin += numel;
    }
    for (int c = 0; c < settings.clients(); ++c) {
      Client client{c, plan_of(c), 0, {}, {}, {}};
      for (const SegmentId id : client.plan.trained_segments()) {
        const std::int64_t numel = table[id].numel_with(client.plan.units(id).size());
        for (std::int64_t i = 0; i < numel; ++i) {
          client.trained.push_back(begin_[static_cast<std::size_t>(id.value())] +
                                   static_cast<std::size_t>(client.plan.full_index(id, i)));
        }
      }
      pull(client);
      clients_.push_back(std::move(client));
    }
  }

  RunResult run() {
    RunResult result;
    for (int q = 0; q < settings_.rounds; ++q) {
      measure(q, result);
      std::vector<int> now;
      for (int c = 0; c < settings_.prompt; ++c) now.push_back(c);
      const int first = settings_.prompt + q % (settings_.delay + 1) * settings_.late();
      for (int c = first; c < first + settings_.late(); ++c) now.push_back(c);
      for (const int c : now) deliver(clients_[static_cast<std::size_t>(c)], q);
      // Only now, so that all of them start again from the model that this round made.
      for (const int c : now) pull(clients_[static_cast<std::size_t>(c)]);
    }
    COS2P_ASSERT(core_.finished() && core_.updates_dropped() == 0);
    const std::vector<RoundRow>& rows = core_.history().rounds;
    COS2P_ASSERT(static_cast<int>(rows.size()) == settings_.rounds);
    result.n_star = rows.front().n_star;
    for (const RoundRow& row : rows) {
      COS2P_ASSERT(row.segments_merged == row.segments_total);
      result.n_star = std::min(result.n_star, row.n_star);
      result.mean_trainers += static_cast<double>(row.updates) / row.segments_merged / settings_.rounds;
      result.tau += static_cast<double>(row.staleness_max) * row.staleness_max / settings_.rounds;
    }
    return result;
  }

 private:
  bool is_full(int client) const { return settings_.full == 0 || client < settings_.full; }

  SubmodelPlan plan_of(int client) const {
    if (is_full(client)) return SubmodelPlan::full(table_);
    const ModelOptions& model = table_.options();
    const bool second = client / problem_.kinds() % 2 == 1;
    return {table_, 1, 0, {half_of(model.heads, second)}, {half_of(model.feed_forward, second)}};
  }

  ServerCore::Setup setup() const {
    ServerCore::Setup setup;
    setup.policy.kind = PolicyKind::semi_async;
    setup.policy.min_updates = settings_.delivering;
    setup.policy.deadline_s = 0;
    setup.policy.staleness_bound = settings_.delay;
    setup.policy.discount = settings_.discount;
    setup.policy.weighting = WeightingKind::uniform;
    setup.policy.normalize = NormalizeKind::updates;  // the mean over N_q^i that the theorem speaks of
    setup.policy.pace_correction = false;             // all are equally fast
    setup.rounds = settings_.rounds;
    setup.threads = 1;
    const ModelOptions& model = table_.options();
    for (int c = 0; c < settings_.clients(); ++c) {
      ClientRecord record;
      record.samples = 1;
      record.assignment =
          is_full(c) ? full_assignment(model) : Assignment{1, 0, model.heads / 2, model.feed_forward / 2, 0};
      setup.clients.push_back(record);
    }
    return setup;
  }

  void pull(Client& client) const {
    client.pulled.clear();
    client.versions.clear();
    for (const Segment& segment : table_) {
      const Span<const float> values = store_.values(segment.id);
      client.pulled.insert(client.pulled.end(), values.begin(), values.end());
      client.versions.push_back(store_.version(segment.id));
    }
  }

  void measure(int round, RunResult& result) const {
    std::vector<double> x;
    for (const Segment& segment : table_) {
      const Span<const float> values = store_.values(segment.id);
      x.insert(x.end(), values.begin(), values.end());
    }
    const std::vector<double> gradient = problem_.gradient(x);
    result.gradient += squared_norm(gradient) / settings_.rounds;
    if (round < settings_.rounds / 2) return;
    double sums[2] = {0, 0}, counts[2] = {0, 0};
    for (const Segment& segment : table_) {
      if (segment.block < 0) continue;
      const std::size_t begin = begin_[static_cast<std::size_t>(segment.id.value())];
      for (std::size_t i = begin; i < begin + static_cast<std::size_t>(segment.numel); ++i)
        sums[segment.block] += gradient[i] * gradient[i];
      counts[segment.block] += static_cast<double>(segment.numel);
    }
    const int measured = settings_.rounds - settings_.rounds / 2;
    result.late_block_0 += sums[0] / counts[0] / measured;
    result.late_block_1 += sums[1] / counts[1] / measured;
  }

  void deliver(Client& client, double now_s) {
    std::vector<double> x = client.pulled;
    Rng rng(settings_.seed,
            {2, static_cast<std::uint64_t>(client.id), static_cast<std::uint64_t>(client.rounds)});
    for (int step = 0; step < settings_.local_steps; ++step) {
      const std::vector<double> g = problem_.stochastic_gradient(client.id % problem_.kinds(), x, rng);
      for (const std::size_t i : client.trained) x[i] -= settings_.rate * g[i];
    }
    const std::vector<float> values(x.begin(), x.end());
    for (const SegmentId id : client.plan.trained_segments()) core_.handle(update(client, id, values), now_s);
    Message report;
    report.header.kind = MessageKind::round_report;
    report.header.client = client.id;
    report.header.client_round = client.rounds++;
    report.header.body_bytes = sizeof(RoundReport);
    report.body = buffer_of(report.header.body_bytes);
    core_.handle(std::move(report), now_s);
  }

  Message update(const Client& client, SegmentId id, const std::vector<float>& values) const {
    const Segment& segment = table_[id];
    const auto index = static_cast<std::size_t>(id.value());
    const UnitSet& units = client.plan.units(id);
    const std::vector<std::uint8_t> bitmap = units.bitmap();
    const std::int64_t numel = segment.numel_with(units.size());
    Message message;
    MessageHeader& header = message.header;
    header.client = client.id;
    header.client_round = client.rounds;
    header.segment = id.value();
    header.base_version = client.versions[index];
    header.weight = 1;
    header.bitmap_bytes = static_cast<std::int64_t>(bitmap.size());
    header.body_bytes = values_offset(header.bitmap_bytes) + numel * static_cast<std::int64_t>(sizeof(float));
    message.body = buffer_of(header.body_bytes);
    if (!bitmap.empty()) std::memcpy(message.body.data(), bitmap.data(), bitmap.size());
    gather_segment(segment, units, {values.data() + begin_[index], static_cast<std::size_t>(segment.numel)},
                   {reinterpret_cast<float*>(message.body.data() + values_offset(header.bitmap_bytes)),
                    static_cast<std::size_t>(numel)});
    return message;
  }

  const SegmentTable& table_;
  const Problem& problem_;
  const RunSettings settings_;
  ModelStore store_;
  ServerCore core_;
  std::vector<std::size_t> begin_;  ///< index of each segment's first value in x
  std::vector<Client> clients_;
};

}  // namespace

SegmentTable segment_table() {
  ModelOptions options;
  options.image_height = options.image_width = 4;
  options.patch = 1;
  options.dim = 2;
  options.blocks = 2;
  options.heads = 2;
  options.feed_forward = 8;
  options.classes = 10;
  options.validate();
  return SegmentTable(options);
}

RunResult run(const SegmentTable& table, const Problem& problem, const RunSettings& settings) {
  COS2P_ASSERT(settings.full == 0 || settings.delay == 0);
  COS2P_ASSERT(settings.prompt >= 0 && settings.late() > 0);
  RunResult result = Federation(table, problem, settings).run();
  const std::vector<double> start(problem.dimension(), 0);
  const double distance = settings.rate * settings.local_steps * settings.rounds;  // eta E Q
  result.bound = problem.value(start) / distance +
                 settings.rate * Problem::kSmoothness * problem.noise_variance() / (2 * result.n_star);
  return result;
}

}  // namespace cos2p::convergence
