#include "simulated_fleet.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <utility>

#include "cos2p/support/narrow.hpp"
#include "cos2p/support/random.hpp"

namespace cos2p {
namespace {

// Purposes of random streams.
constexpr std::uint64_t kStragglers = 0x736c6f77, kDropouts = 0x6c6f7374, kSampling = 0x64726177;
constexpr double kNever = std::numeric_limits<double>::infinity();

/// A moment as a key of a random stream: what is drawn then needs no counter that a checkpoint would have to
/// hold.
std::uint64_t key_of(double time_s) {
  std::uint64_t key = 0;
  static_assert(sizeof key == sizeof time_s);
  std::memcpy(&key, &time_s, sizeof key);
  return key;
}

PendingUpdate saved_update(const LocalUpdate& update) {
  const MessageHeader& header = update.header;
  const PackedValues values{header.value_type, update.values.data(),
                            packed_count(header.value_type, narrow<std::int64_t>(update.values.size()))};
  PendingUpdate saved{header.client,
                      header.client_round,
                      header.segment,
                      header.base_version,
                      header.weight,
                      update.bitmap,
                      std::vector<float>(static_cast<std::size_t>(values.count))};
  unpack_values(values, 0, saved.values);
  return saved;
}

/// As floats, whatever it was pushed as before: the values are the same.
LocalUpdate restored_update(const PendingUpdate& saved) {
  LocalUpdate update;
  const auto bitmap_bytes = narrow<std::int64_t>(saved.bitmap.size());
  const PackedValues values(saved.values);
  const std::int64_t bytes = packed_bytes(values.type, values.count);
  update.header = {MessageKind::segment_update,
                   values.type,
                   saved.client,
                   saved.client_round,
                   saved.segment,
                   saved.base_version,
                   saved.weight,
                   bitmap_bytes,
                   values_offset(bitmap_bytes) + bytes};
  update.bitmap = saved.bitmap;
  update.owned.assign(values.data, values.data + bytes);
  return update;
}

}  // namespace

/// A local round under way.
struct SimulatedFleet::Flight {
  int index = 0;
  double start_s = 0, deliver_at_s = 0;
  RoundReport times;                ///< compute, transfer and waiting seconds of the simulated device
  std::optional<LocalRound> round;  ///< once it was taken from the executors
};

struct SimulatedFleet::Client {
  ClientTask task;
  int next_index = 0;
  bool taking_part = true;
  double start_s = 0;   ///< of its next local round; < 0: it waits for the server
  double back_s = -1;   ///< when it is back from a dropout; < 0: it is not away
  double idle_s = -1;   ///< when it became idle, while it takes part; < 0: never
  double waited_s = 0;  ///< while it does not take part: how long it had waited before
  std::optional<Flight> flight;
};

/// Arriving messages go straight into the core.
class SimulatedFleet::Sink : public MessageSink {
 public:
  Sink(ServerCore& core, StagingPool& pool, const double& now_s) : core_(core), pool_(pool), now_s_(now_s) {}
  Verdict begin(WorkerRank, const MessageHeader& header, Buffer& body) override {
    std::string reason;
    if (core_.check_shape(header, reason) != UpdateVerdict::accepted) return Verdict::reject;
    body = std::move(*pool_.acquire(static_cast<std::size_t>(header.body_bytes)));
    return Verdict::accept;
  }
  void deliver(Message message) override { core_.handle(std::move(message), now_s_); }

 private:
  ServerCore& core_;
  StagingPool& pool_;
  const double& now_s_;
};

SimulatedFleet::SimulatedFleet(const Experiment& experiment, ModelStore& store, ServerCore& core,
                               StagingPool& pool, RoundExecutors& executors)
    : experiment_(experiment),
      core_(core),
      executors_(executors),
      times_(experiment, experiment.options.simulation.speeds),
      simulation_(experiment.options.simulation),
      places_(simulation_.clients_per_round > 0 ? simulation_.clients_per_round : experiment.clients),
      sink_(std::make_unique<Sink>(core, pool, now_s_)),
      clients_(static_cast<std::size_t>(experiment.clients)) {
  channel_ = make_in_process_channel(*experiment.table, store, WorkerRank(1), experiment.options.ring, 1,
                                     [this] { channel_->server->poll(*sink_, 1); });
  channel_->server->set_notice(core.notice(Notice::Phase::running));
  const std::vector<ClientTask> tasks = core.tasks();
  for (std::size_t c = 0; c < clients_.size(); ++c) {
    clients_[c].task = tasks[c];
    clients_[c].next_index = tasks[c].next_round;
    if (tasks[c].assignment.takes_part()) continue;
    clients_[c].taking_part = false;
    clients_[c].back_s = kNever;
  }
}

SimulatedFleet::~SimulatedFleet() = default;

void SimulatedFleet::begin_run() {
  choose_for_round();
}

bool SimulatedFleet::lockstep() const {
  return experiment_.options.policy.lockstep();
}

/// The core, for what may change the model: after all rounds that were begun have read it.
ServerCore& SimulatedFleet::settled() {
  executors_.wait_until_pulled();
  return core_;
}

SimulatedFleet::Event SimulatedFleet::next_event(double& when, int& client) const {
  Event event = Event::none;
  when = kNever;
  const auto consider = [&](double at_s, Event kind, int c) {
    if (!std::isfinite(at_s)) return;
    // The order of the kinds decides between equal times, then that of the clients.
    if (at_s > when || (at_s == when && std::pair(kind, c) >= std::pair(event, client))) return;
    when = at_s;
    event = kind;
    client = c;
  };
  if (const double deadline_s = core_.next_deadline_s(); std::isfinite(deadline_s))
    consider(deadline_s, Event::deadline, -1);
  for (int c = 0; c < experiment_.clients; ++c) {
    const Client& each = clients_[static_cast<std::size_t>(c)];
    if (each.flight) {
      consider(each.flight->deliver_at_s, Event::delivery, c);
    } else if (each.back_s >= 0) {
      consider(each.back_s, Event::back, c);
    } else if (each.start_s >= 0) {
      consider(each.start_s, Event::start, c);
    }
  }
  return event;
}

bool SimulatedFleet::step() {
  double when = 0;
  int client = -1;
  const Event event = next_event(when, client);
  if (event == Event::none) return false;
  now_s_ = std::max(now_s_, when);
  switch (event) {
    case Event::deadline:
      settled().tick(now_s_);
      break;
    case Event::delivery:
      return deliver(client);
    case Event::back:
      come_back(client);
      break;
    case Event::start:
      // A round that a signal interrupted begins again at its old time.
      begin(client, when);
      break;
    case Event::none:
      break;
  }
  return true;
}

void SimulatedFleet::begin(int c, double start_s) {
  Client& client = clients_[static_cast<std::size_t>(c)];
  const ClientId id(c);
  Rng dropouts(experiment_.options.seed, {kDropouts, static_cast<std::uint64_t>(c), key_of(start_s)});
  if (dropouts.uniform() < simulation_.dropout_probability) {
    lose_round(c, start_s);
    return;
  }
  Flight flight;
  flight.index = client.next_index;
  flight.start_s = start_s;
  RoundReport& times = flight.times;
  times.steps = executors_.steps(id);
  times.compute_s =
      times_.choice_s(id, flight.index) + times_.compute_s(id, flight.index, narrow<int>(times.steps));
  times.transfer_s = times_.transfer_s(id, flight.index);
  times.waiting_s = client.idle_s >= 0 ? start_s - client.idle_s : 0;
  Rng stragglers(experiment_.options.seed,
                 {kStragglers, static_cast<std::uint64_t>(c), static_cast<std::uint64_t>(flight.index)});
  if (stragglers.uniform() < simulation_.straggler_probability)
    times.compute_s *= simulation_.straggler_factor;
  flight.deliver_at_s = start_s + times.compute_s + times.transfer_s;
  client.start_s = -1;
  executors_.start(client.task, flight.index, core_.notice(Notice::Phase::running));
  client.flight = std::move(flight);
}

/// The client is away until the lost round would have ended, and the time of a dropout longer. The server
/// knows at once.
void SimulatedFleet::lose_round(int c, double start_s) {
  Client& client = clients_[static_cast<std::size_t>(c)];
  const ClientId id(c);
  client.back_s = start_s + times_.choice_s(id, client.next_index) +
                  times_.compute_s(id, client.next_index, executors_.steps(id)) +
                  times_.transfer_s(id, client.next_index) + simulation_.dropout_s;
  client.idle_s = -1;
  replace(c);
  // Where that was the last one, others are asked at once.
  if (lockstep() && taking_part() == 0) choose_for_round();
}

void SimulatedFleet::come_back(int c) {
  clients_[static_cast<std::size_t>(c)].back_s = -1;
  if (lockstep()) {
    if (taking_part() == 0) choose_for_round();  // otherwise it waits for the next server round
  } else if (taking_part() < places_) {
    enlist(c);
  }
}

/// Waits until the client's round is computed; false where it was interrupted: then it is to start again.
bool SimulatedFleet::computed(int c) {
  Client& client = clients_[static_cast<std::size_t>(c)];
  Flight& flight = *client.flight;
  if (flight.round) return true;
  flight.round = executors_.take(ClientId(c));
  if (flight.round) {
    RoundReport& report = flight.round->report;
    COS2P_ASSERT(report.steps == flight.times.steps);
    report.compute_s = flight.times.compute_s;
    report.transfer_s = flight.times.transfer_s;
    report.waiting_s = flight.times.waiting_s;
    report.bytes_pulled = times_.pull_bytes(ClientId(c), flight.index);
    return true;
  }
  client.start_s = flight.start_s;
  client.flight.reset();
  return false;
}

bool SimulatedFleet::deliver(int c) {
  if (!computed(c)) return false;
  Client& client = clients_[static_cast<std::size_t>(c)];
  const LocalRound round = std::move(*client.flight->round);
  client.flight.reset();
  client.next_index = round.index + 1;
  client.idle_s = now_s_;
  settled();
  channel_->server->heartbeat();
  push_round(*channel_->worker, round, PushTime::simulated);
  while (channel_->server->poll(*sink_, 64) > 0) continue;
  if (lockstep()) return true;  // round_closed() says who goes on
  client.start_s = now_s_;
  if (places_ < experiment_.clients) replace(c);
  return true;
}

void SimulatedFleet::round_closed() {
  if (lockstep()) choose_for_round();
}

int SimulatedFleet::taking_part() const {
  return narrow<int>(std::count_if(clients_.begin(), clients_.end(),
                                   [](const Client& client) { return client.taking_part; }));
}

/// Who could take part: not at work, and not away.
std::vector<int> SimulatedFleet::idle_clients() const {
  std::vector<int> idle;
  for (int c = 0; c < experiment_.clients; ++c) {
    const Client& client = clients_[static_cast<std::size_t>(c)];
    if (!client.flight && client.back_s < 0) idle.push_back(c);
  }
  return idle;
}

/// Draws the clients of the next server round; the first ones of a run that is not in lockstep, too.
void SimulatedFleet::choose_for_round() {
  std::vector<int> chosen = idle_clients();
  if (chosen.size() > static_cast<std::size_t>(places_)) {
    Rng(experiment_.options.seed, {kSampling, key_of(now_s_)}).shuffle(chosen);
    chosen.resize(static_cast<std::size_t>(places_));
    std::sort(chosen.begin(), chosen.end());
  }
  for (const int c : chosen) enlist(c);
  for (const int c : idle_clients()) {
    if (!std::binary_search(chosen.begin(), chosen.end(), c)) bench(c);
  }
}

/// Gives the place of a client that delivered or dropped out to one that is drawn among the idle ones,
/// perhaps to itself.
void SimulatedFleet::replace(int c) {
  const bool away = clients_[static_cast<std::size_t>(c)].back_s >= 0;
  if (!lockstep()) {
    std::vector<int> others;
    for (const int each : idle_clients()) {
      if (each == c || !clients_[static_cast<std::size_t>(each)].taking_part) others.push_back(each);
    }
    if (!others.empty()) {
      Rng rng(experiment_.options.seed, {kSampling, static_cast<std::uint64_t>(c), key_of(now_s_)});
      const int drawn = others[rng.below(others.size())];
      if (drawn == c) return;
      enlist(drawn);
    } else if (!away) {
      return;
    }
  }
  bench(c);
}

void SimulatedFleet::enlist(int c) {
  Client& client = clients_[static_cast<std::size_t>(c)];
  if (!client.taking_part) {
    client.taking_part = true;
    client.idle_s = client.waited_s > 0 ? now_s_ - client.waited_s : -1;
    client.waited_s = 0;
    settled().set_active(ClientId(c), true, now_s_);
  }
  client.start_s = now_s_;
}

void SimulatedFleet::bench(int c) {
  Client& client = clients_[static_cast<std::size_t>(c)];
  client.start_s = -1;
  if (!client.taking_part) return;
  client.taking_part = false;
  if (client.idle_s >= 0) client.waited_s += now_s_ - client.idle_s;
  client.idle_s = -1;
  settled().set_active(ClientId(c), false, now_s_);
}

void SimulatedFleet::save(Checkpoint& checkpoint) {
  RunState& state = checkpoint.state;
  for (int c = 0; c < experiment_.clients; ++c) {
    Client& client = clients_[static_cast<std::size_t>(c)];
    if (client.flight && computed(c)) {
      InFlightRound saved;
      saved.client = c;
      saved.client_round = client.flight->index;
      saved.deliver_at_s = client.flight->deliver_at_s;
      const RunOptions& options = experiment_.options;
      saved.deltas = pushed_kind(options.policy, options.local.push_dtype) == MergeKind::deltas ? 1 : 0;
      saved.report = client.flight->round->report;
      for (const LocalUpdate& update : client.flight->round->updates)
        saved.updates.push_back(saved_update(update));
      state.in_flight.push_back(std::move(saved));
    }
    state.next_start_s.push_back(client.start_s);
    state.idle_since_s.push_back(client.taking_part ? client.idle_s : -client.waited_s);
    state.taking_part.push_back(client.taking_part ? 1 : 0);
    state.away_until_s.push_back(client.back_s);
  }
  executors_.save_units(checkpoint);
}

void SimulatedFleet::restore(const Checkpoint& checkpoint) {
  const RunState& state = checkpoint.state;
  now_s_ = state.time_s;
  executors_.restore_units(checkpoint);
  for (std::size_t c = 0; c < clients_.size(); ++c) {
    Client& client = clients_[c];
    client.next_index = client.task.next_round;
    // A run between processes leaves these empty: then all start now who have not reported in an open round
    // of lockstep.
    const bool starts = core_.may_start(ClientId(narrow<std::int32_t>(c)));
    client.start_s = c < state.next_start_s.size() ? state.next_start_s[c] : (starts ? now_s_ : -1);
    client.taking_part = c >= state.taking_part.size() || state.taking_part[c] != 0;
    client.back_s = c < state.away_until_s.size() ? state.away_until_s[c] : -1;
    const double idle_s = c < state.idle_since_s.size() ? state.idle_since_s[c] : -1;
    client.idle_s = client.taking_part ? idle_s : -1;
    client.waited_s = client.taking_part ? 0 : -idle_s;
    core_.set_active(ClientId(narrow<std::int32_t>(c)), client.taking_part, now_s_);
  }
  // They are delivered as float32. What another program or policy pushed in another form is computed again,
  // as is what was still being computed.
  const PolicyOptions& policy = experiment_.options.policy;
  const bool wants_deltas = pushed_kind(policy, ValueType::float32) == MergeKind::deltas;
  for (const InFlightRound& saved : state.in_flight) {
    const bool has_deltas = saved.deltas < 0 ? policy.merge == MergeKind::deltas : saved.deltas == 1;
    Client& client = clients_[static_cast<std::size_t>(saved.client)];
    if (has_deltas != wants_deltas) {
      client.start_s = now_s_;
      continue;
    }
    Flight flight;
    flight.index = saved.client_round;
    flight.deliver_at_s = saved.deliver_at_s;
    flight.round.emplace();
    flight.round->client = ClientId(saved.client);
    flight.round->index = saved.client_round;
    flight.round->report = saved.report;
    for (const PendingUpdate& update : saved.updates)
      flight.round->updates.push_back(restored_update(update));
    flight.round->own_values();
    executors_.restore_units(*flight.round);
    client.flight = std::move(flight);
  }
}

}  // namespace cos2p
