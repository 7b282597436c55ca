#include "cos2p/server/server_core.hpp"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <limits>
#include <thread>

#include "cos2p/support/error.hpp"
#include "cos2p/support/narrow.hpp"

namespace cos2p {
namespace {

std::vector<Trainer> trainers_of(const std::vector<ClientRecord>& clients) {
  std::vector<Trainer> trainers;
  trainers.reserve(clients.size());
  for (const ClientRecord& client : clients)
    trainers.push_back({static_cast<double>(client.samples), client.assignment, true});
  return trainers;
}

int merge_threads(int asked) {
  if (asked > 0) return asked;
  return std::min(8, std::max(1, narrow<int>(std::thread::hardware_concurrency())));
}

}  // namespace

ServerCore::ServerCore(const SegmentTable& table, ModelStore& store, Setup setup)
    : table_(table),
      store_(store),
      setup_(std::move(setup)),
      rule_(merge_rule(setup_.policy)),
      aggregator_(table, store, setup_.policy, trainers_of(setup_.clients), merge_threads(setup_.threads)),
      merged_updates_(static_cast<std::size_t>(table.size()), 0) {
  for (const ClientRecord& client : setup_.clients) {
    plan_.push_back(client.assignment);
    present_.push_back(client.assignment.takes_part());
  }
  suspect_.assign(present_.size(), false);
  owing_ = reported_ = suspect_;
}

UpdateVerdict ServerCore::check_shape(const MessageHeader& header, std::string& reason) const {
  if (header.kind == MessageKind::segment_update) return aggregator_.check_shape(header, reason);
  if (header.kind == MessageKind::round_report && header.body_bytes == sizeof(RoundReport))
    return UpdateVerdict::accepted;
  reason = fmt::format("a message of kind {} with {} bytes cannot be",
                       static_cast<std::uint32_t>(header.kind), header.body_bytes);
  return UpdateVerdict::malformed;
}

void ServerCore::handle(Message message, double now_s) {
  if (events_ != nullptr) events_->message(message, now_s);
  if (message.header.kind == MessageKind::round_report) {
    report(message, now_s);
    return;
  }
  const MessageHeader header = message.header;
  std::string reason;
  UpdateVerdict verdict = UpdateVerdict::stale;
  if (owes(header, now_s)) {
    reason = "its round has closed without it";
  } else {
    verdict = aggregator_.add(std::move(message), now_s, reason);
  }
  if (verdict != UpdateVerdict::accepted) {
    ++dropped_;
    if (on_dropped) on_dropped(header, verdict, reason);
    return;
  }
  note(aggregator_.merge_ready(now_s));
}

bool ServerCore::owes(const MessageHeader& header, double now_s) {
  if (header.client < 0 || header.client >= narrow<std::int32_t>(owing_.size())) return false;
  const auto c = static_cast<std::size_t>(header.client);
  if (!owing_[c] || header.server_round != state_round_) return owing_[c];
  // It had nothing to catch up with, and is at the round that is open now.
  owing_[c] = false;
  activity_changed(ClientId(header.client), now_s);
  return false;
}

void ServerCore::report(const Message& message, double now_s) {
  const MessageHeader& header = message.header;
  std::string reason;
  if (header.client < 0 || header.client >= narrow<std::int32_t>(setup_.clients.size()) ||
      header.body_bytes != sizeof(RoundReport)) {
    reason = fmt::format("a round report of client {} with {} bytes", header.client, header.body_bytes);
  } else if (header.client_round >= kLastRound) {  // the next one has a number, too
    reason = fmt::format("local round {} cannot be", header.client_round);
  } else if (header.client_round < setup_.clients[static_cast<std::size_t>(header.client)].rounds) {
    reason = fmt::format("local round {} was reported before", header.client_round);
  }
  if (!reason.empty()) {
    ++dropped_;
    if (on_dropped) on_dropped(header, UpdateVerdict::malformed, reason);
    return;
  }
  RoundReport body;
  std::memcpy(&body, message.body.data(), sizeof body);
  ClientRecord& client = setup_.clients[static_cast<std::size_t>(header.client)];
  client.rounds = header.client_round + 1;
  if (!setup_.policy.lockstep()) aggregator_.set_round(ClientId(header.client), client.rounds);
  client.measured_memory = std::max(client.measured_memory, body.peak_memory);
  const auto c = static_cast<std::size_t>(header.client);
  // A report that was owed stands in the round before: a resume takes those of the open one for delivered.
  const bool late = owing_[c] && header.server_round != state_round_;
  history_.clients.push_back(
      {late ? state_round_ - 1 : state_round_, header.client, header.client_round, now_s, body});
  if (on_reported) on_reported(history_.clients.back());
  keep_newest(history_.clients);
  if (owes(header, now_s)) {
    owing_[c] = false;
    activity_changed(ClientId(header.client), now_s);
    return;
  }
  reported_[c] = true;
  if (open_since_s_ < 0) open_since_s_ = now_s;
  ++open_.reports;
  loss_sum_ += body.loss * static_cast<double>(body.samples);
  sample_sum_ += static_cast<double>(body.samples);
  compute_s_ += body.compute_s;
  waiting_s_ += body.waiting_s;
  close_round_if_due(now_s);
}

void ServerCore::note(const std::vector<SegmentMerge>& merges) {
  for (const SegmentMerge& merge : merges) {
    merged_updates_[static_cast<std::size_t>(merge.segment.value())] += merge.updates;
    open_.updates += merge.updates;
    for (std::int32_t staleness : merge.staleness) {
      staleness_sum_ += staleness;
      open_.staleness_max = std::max(open_.staleness_max, staleness);
    }
    history_.merges.push_back({state_round_, merge.segment.value(), narrow<std::int64_t>(merge.version),
                               merge.updates,
                               *std::max_element(merge.staleness.begin(), merge.staleness.end())});
    if (events_ != nullptr) events_->published(merge.segment, merge.version, store_.checksum(merge.segment));
  }
  keep_newest(history_.merges);
}

void ServerCore::tick(double now_s) {
  if (events_ != nullptr) events_->tick(now_s);
  advance(now_s);
}

void ServerCore::fold_largest(double now_s) {
  if (events_ != nullptr) events_->folded(now_s);
  aggregator_.fold_largest();
}

/// Lets what is due happen.
void ServerCore::advance(double now_s) {
  note(aggregator_.merge_ready(now_s));
  close_round_if_due(now_s);
}

double ServerCore::next_deadline_s() const {
  if (rule_.deadline_s <= 0) return std::numeric_limits<double>::infinity();
  double since = aggregator_.open_since_s();
  if (open_since_s_ >= 0) since = std::min(since, open_since_s_);
  return since + rule_.deadline_s;
}

void ServerCore::close_round_if_due(double now_s) {
  int active = 0;
  bool all_reported = open_.reports > 0;
  for (std::size_t c = 0; c < present_.size(); ++c) {
    if (!is_active(c)) continue;
    ++active;
    all_reported = all_reported && reported_[c];
  }
  const int needed = std::max(1, std::min(rule_.min_updates, active));
  const bool late = rule_.deadline_s > 0 && open_.reports > 0 && now_s - open_since_s_ >= rule_.deadline_s;
  // In lockstep a report of somebody who has gone since does not stand for one who is still at it.
  const bool due = setup_.policy.lockstep() ? all_reported : open_.reports >= needed || late;
  if (finished() || !due) return;
  open_.round = ++state_round_;
  open_.time_s = now_s;
  open_.segments_total = table_.size();
  open_.n_star = 0;
  for (std::int32_t updates : merged_updates_) {
    if (updates == 0) continue;
    ++open_.segments_merged;
    open_.n_star = open_.n_star == 0 ? updates : std::min(open_.n_star, updates);
  }
  open_.staleness_mean = open_.updates > 0 ? staleness_sum_ / open_.updates : 0;
  open_.dropped = dropped_ + channel_drops_;
  open_.loss = sample_sum_ > 0 ? loss_sum_ / sample_sum_ : 0;
  open_.utilisation = compute_s_ + waiting_s_ > 0 ? compute_s_ / (compute_s_ + waiting_s_) : 1;
  open_.workers = workers_;
  const RoundRow closed = open_;
  history_.rounds.push_back(closed);
  keep_newest(history_.rounds);
  open_ = RoundRow{};
  open_since_s_ = -1;
  loss_sum_ = sample_sum_ = compute_s_ = waiting_s_ = staleness_sum_ = 0;
  std::fill(merged_updates_.begin(), merged_updates_.end(), 0);
  for (std::size_t c = 0; setup_.policy.lockstep() && c < suspect_.size(); ++c)
    owing_[c] = owing_[c] || (suspect_[c] && !reported_[c]);
  reported_.assign(reported_.size(), false);
  if (!next_plan_.empty()) begin_plan();
  if (setup_.policy.lockstep()) start_clients();
  if (events_ != nullptr) events_->round_closed(closed);
  if (on_round_closed) on_round_closed(closed);
}

/// In one go for half of the rows, so that a row costs no more than to write it. A resume in lockstep needs
/// the open round's reports, of which a client has one.
template <typename Row>
void ServerCore::keep_newest(std::vector<Row>& rows) const {
  if (setup_.history_rows == 0) return;
  const std::size_t kept = std::max(static_cast<std::size_t>(setup_.history_rows), setup_.clients.size());
  if (rows.size() > kept + kept / 2) rows.erase(rows.begin(), rows.end() - static_cast<std::ptrdiff_t>(kept));
}

/// Each client goes on with the round after those it delivered.
void ServerCore::start_clients() {
  for (std::size_t c = 0; c < setup_.clients.size(); ++c)
    aggregator_.set_round(ClientId(narrow<std::int32_t>(c)), setup_.clients[c].rounds);
}

void ServerCore::set_active(ClientId client, bool active, double now_s) {
  if (events_ != nullptr) events_->active(client, active, now_s);
  present_[static_cast<std::size_t>(client.value())] = active;
  if (!active) owing_[static_cast<std::size_t>(client.value())] = false;  // nobody will deliver what it owed
  activity_changed(client, now_s);
}

void ServerCore::set_suspect(ClientId client, bool suspect, double now_s) {
  if (events_ != nullptr) events_->suspect(client, suspect, now_s);
  suspect_[static_cast<std::size_t>(client.value())] = suspect;
  activity_changed(client, now_s);
}

void ServerCore::activity_changed(ClientId client, double now_s) {
  aggregator_.set_active(client, is_active(static_cast<std::size_t>(client.value())));
  advance(now_s);
  check_coverage();
}

void ServerCore::check_coverage() {
  std::vector<std::string> untrained =
      segments_without(plan_, [this](std::size_t c) { return is_active(c); });
  const bool lost =
      !segments_without(latest_plan(), [this](std::size_t c) { return bool{present_[c]}; }).empty();
  if (untrained == untrained_ && lost == lost_) return;
  untrained_ = std::move(untrained);
  lost_ = lost;
  if (on_coverage_changed) on_coverage_changed(untrained_, lost_);
}

void ServerCore::set_plan(std::vector<Assignment> plan, double now_s) {
  COS2P_ASSERT(plan.size() == plan_.size());
  if (events_ != nullptr) events_->plan(plan, now_s);
  next_plan_ = std::move(plan);
}

void ServerCore::begin_plan() {
  plan_ = std::move(next_plan_);
  next_plan_.clear();
  for (std::size_t c = 0; c < plan_.size(); ++c)
    aggregator_.set_assignment(ClientId(narrow<std::int32_t>(c)), plan_[c], state_round_);
  if (on_plan_changed) on_plan_changed();
  check_coverage();
}

/// Segments that the plan of the start gives trainers, and `plan` gives none who `is_trainer`.
template <typename Trainer>
std::vector<std::string> ServerCore::segments_without(const std::vector<Assignment>& plan,
                                                      Trainer is_trainer) const {
  std::vector<std::string> names;
  for (const Segment& segment : table_) {
    bool planned = false, found = false;
    for (std::size_t c = 0; c < setup_.clients.size() && !found; ++c) {
      planned = planned || trains(table_, setup_.clients[c].assignment, segment);
      found = trains(table_, plan[c], segment) && is_trainer(c);
    }
    if (planned && !found) names.push_back(segment.name);
  }
  return names;
}

void ServerCore::add_member(WorkerRank worker, const std::string& state, double now_s) {
  MemberRow row;
  row.round = state_round_;
  row.worker = worker.value();
  row.time_s = now_s;
  std::snprintf(row.state, sizeof(row.state), "%s", state.c_str());
  if (events_ != nullptr) events_->member(row);
  history_.members.push_back(row);
  keep_newest(history_.members);
}

void ServerCore::set_channels(int workers, std::int64_t drops) {
  if (workers == workers_ && drops == channel_drops_) return;
  if (events_ != nullptr) events_->channels(workers, drops);
  workers_ = workers;
  channel_drops_ = drops;
}

Notice ServerCore::notice(Notice::Phase phase) const {
  Notice notice;
  notice.phase = phase;
  notice.round = state_round_;
  notice.rounds = setup_.rounds;
  notice.lockstep = setup_.policy.lockstep() ? 1 : 0;
  return notice;
}

std::vector<ClientTask> ServerCore::tasks() const {
  std::vector<ClientTask> tasks;
  for (std::size_t c = 0; c < setup_.clients.size(); ++c) {
    tasks.push_back({narrow<std::int32_t>(c), setup_.clients[c].rounds, plan_[c]});
  }
  return tasks;
}

void ServerCore::add_evaluation(const std::vector<EvaluationRow>& rows) {
  if (events_ != nullptr) events_->evaluation(rows);
  history_.evaluations.insert(history_.evaluations.end(), rows.begin(), rows.end());
  keep_newest(history_.evaluations);
}

Checkpoint ServerCore::snapshot(double now_s) const {
  Checkpoint checkpoint;
  checkpoint.identity = setup_.identity;
  checkpoint.model = table_.options();
  checkpoint.input = setup_.input;
  checkpoint.clients = setup_.clients;
  for (std::size_t c = 0; c < checkpoint.clients.size(); ++c) {
    const ClientId id(narrow<std::int32_t>(c));
    checkpoint.clients[c].heads = aggregator_.kept_units(id, SegmentKind::attention);
    checkpoint.clients[c].neurons = aggregator_.kept_units(id, SegmentKind::feed_forward);
  }
  checkpoint.history = history_;
  aggregator_.save(checkpoint);
  RunState& state = checkpoint.state;
  state.round = state_round_;
  state.time_s = now_s;
  state.seed = setup_.seed;
  state.open_round = open_;
  state.open_round.time_s = open_since_s_;  // of an open round: when its first report came
  state.open_round.loss = loss_sum_;        // and sums in place of means
  state.open_round.staleness_mean = staleness_sum_;
  state.open_weight = sample_sum_;
  state.open_compute_s = compute_s_;
  state.open_waiting_s = waiting_s_;
  state.open_updates = merged_updates_;
  if (events_ != nullptr) events_->snapshot(state_round_, model_hash(store_), now_s);
  return checkpoint;
}

void ServerCore::restore(const Checkpoint& checkpoint) {
  COS2P_ASSERT(checkpoint.clients.size() == setup_.clients.size());
  for (std::size_t c = 0; c < setup_.clients.size(); ++c) {
    setup_.clients[c].rounds = checkpoint.clients[c].rounds;
    setup_.clients[c].measured_memory = checkpoint.clients[c].measured_memory;
  }
  history_ = checkpoint.history;
  keep_newest(history_.rounds);
  keep_newest(history_.evaluations);
  keep_newest(history_.clients);
  keep_newest(history_.members);
  keep_newest(history_.merges);
  const RunState& state = checkpoint.state;
  state_round_ = state.round;
  open_ = state.open_round;
  open_since_s_ = open_.reports > 0 ? open_.time_s : -1;
  loss_sum_ = open_.loss;
  staleness_sum_ = open_.staleness_mean;
  sample_sum_ = state.open_weight;
  compute_s_ = state.open_compute_s;
  waiting_s_ = state.open_waiting_s;
  if (state.open_updates.size() == merged_updates_.size()) merged_updates_ = state.open_updates;
  aggregator_.restore(checkpoint);
  start_clients();
  if (!setup_.policy.lockstep()) return;
  // In lockstep, who has reported in the round that is open waits, still in the local round it reported.
  for (const ClientRow& row : history_.clients) {
    if (row.round != state_round_) continue;
    aggregator_.set_round(ClientId(row.client), row.client_round);
    reported_[static_cast<std::size_t>(row.client)] = true;
  }
}

}  // namespace cos2p
