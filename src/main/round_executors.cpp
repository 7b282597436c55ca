#include "round_executors.hpp"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <deque>
#include <exception>
#include <map>
#include <mutex>
#include <thread>

#include "cos2p/support/narrow.hpp"
#include "cos2p/transport/in_process.hpp"
#include "signals.hpp"

namespace cos2p {
namespace {

struct Job {
  ClientTask task;
  int index = 0;
  Notice notice;
};

struct Outcome {
  std::optional<LocalRound> round;
  std::exception_ptr error;
};

LocalTrainer::Setup trainer_setup(const Experiment& e) {
  LocalTrainer::Setup setup;
  setup.table = e.table.get();
  setup.samples = e.train.get();
  setup.partition = &e.partition;
  setup.fleet = &e.fleet.assignments;
  setup.local = e.options.local;
  setup.width = e.options.width;
  setup.pushed = pushed_kind(e.options.policy, e.options.local.push_dtype);
  setup.seed = e.options.seed;
  setup.device = e.options.device;
  setup.shares = &e.shares;
  setup.micro_batch = micro_batches_of(e);
  setup.shares_process = true;
  return setup;
}

/// Nothing is pushed through it, so that its ring is as small as can be.
RingOptions reading_ring() {
  RingOptions ring;
  ring.slots = 2;
  ring.slot_bytes = ring.held_piece_bytes = 4096;
  return ring;
}

void fill_missing(const std::vector<UnitSet>& chosen, std::vector<UnitSet>& known) {
  known.resize(chosen.size());
  for (std::size_t block = 0; block < chosen.size(); ++block) {
    if (known[block].total() == 0) known[block] = chosen[block];
  }
}

}  // namespace

struct RoundExecutors::State {
  /// What one thread works with.
  struct Executor {
    std::unique_ptr<InProcessChannel> channel;
    std::unique_ptr<LocalTrainer> trainer;
    std::deque<Job> queue;
    std::thread thread;
  };
  const Experiment& experiment;
  std::mutex mutex;
  std::condition_variable work, news;
  std::atomic<bool> stopping{false};
  int not_pulled = 0;
  std::map<int, Outcome> outcomes;  ///< by client
  std::vector<Executor> executors;

  explicit State(const Experiment& e) : experiment(e) {}
  Executor& of(int client) { return executors[static_cast<std::size_t>(client) % executors.size()]; }
  void run(Executor& executor);
  Outcome compute(Executor& executor, const Job& job);
};

void RoundExecutors::State::run(Executor& executor) {
  std::unique_lock<std::mutex> lock(mutex);
  while (true) {
    work.wait(lock, [&] { return stopping || !executor.queue.empty(); });
    if (stopping) return;
    const Job job = executor.queue.front();
    executor.queue.pop_front();
    lock.unlock();
    Outcome outcome = compute(executor, job);
    lock.lock();
    outcomes[job.task.client] = std::move(outcome);
    news.notify_all();
  }
}

Outcome RoundExecutors::State::compute(Executor& executor, const Job& job) {
  bool pulled = false;
  const auto note_pulled = [&] {
    if (pulled) return;
    pulled = true;
    const std::lock_guard<std::mutex> lock(mutex);
    --not_pulled;
    news.notify_all();
  };
  Outcome outcome;
  try {
    executor.channel->server->heartbeat();
    // The first call comes after the model was read and before the first step.
    outcome.round = executor.trainer->run(*executor.channel->worker, job.task, job.index, job.notice, [&] {
      note_pulled();
      return !stop_requested() && !stopping;
    });
    if (outcome.round) outcome.round->own_values();
  } catch (...) {
    outcome.error = std::current_exception();
  }
  note_pulled();
  return outcome;
}

RoundExecutors::RoundExecutors(const Experiment& experiment, ModelStore& store, int threads)
    : state_(std::make_unique<State>(experiment)) {
  State& s = *state_;
  s.executors.resize(static_cast<std::size_t>(std::min(threads, experiment.clients)));
  for (State::Executor& executor : s.executors) {
    executor.channel =
        make_in_process_channel(*experiment.table, store, WorkerRank(1), reading_ring(), 1, [] {});
    executor.trainer = std::make_unique<LocalTrainer>(trainer_setup(experiment));
  }
  for (State::Executor& executor : s.executors)
    executor.thread = std::thread([&s, &executor] { s.run(executor); });
}

RoundExecutors::~RoundExecutors() {
  {
    const std::lock_guard<std::mutex> lock(state_->mutex);
    state_->stopping = true;
  }
  state_->work.notify_all();
  for (State::Executor& executor : state_->executors) executor.thread.join();
}

void RoundExecutors::start(const ClientTask& task, int index, const Notice& notice) {
  const std::lock_guard<std::mutex> lock(state_->mutex);
  state_->of(task.client).queue.push_back({task, index, notice});
  ++state_->not_pulled;
  state_->work.notify_all();
}

void RoundExecutors::wait_until_pulled() {
  std::unique_lock<std::mutex> lock(state_->mutex);
  state_->news.wait(lock, [this] { return state_->not_pulled == 0; });
}

std::optional<LocalRound> RoundExecutors::take(ClientId client) {
  std::unique_lock<std::mutex> lock(state_->mutex);
  state_->news.wait(lock, [&] { return state_->outcomes.count(client.value()) > 0; });
  Outcome outcome = std::move(state_->outcomes.at(client.value()));
  state_->outcomes.erase(client.value());
  if (outcome.error) std::rethrow_exception(outcome.error);
  return std::move(outcome.round);
}

int RoundExecutors::steps(ClientId client) const {
  return state_->of(client.value())
      .trainer->steps_per_round(narrow<std::int64_t>(
          state_->experiment.partition[static_cast<std::size_t>(client.value())].size()));
}

void RoundExecutors::save_units(Checkpoint& checkpoint) const {
  // Those of frozen blocks, and of clients that have delivered nothing yet.
  for (const State::Executor& executor : state_->executors) {
    for (const auto& [client, choice] : executor.trainer->units()) {
      ClientRecord& record = checkpoint.clients[static_cast<std::size_t>(client)];
      fill_missing(choice.heads, record.heads);
      fill_missing(choice.neurons, record.neurons);
    }
  }
}

void RoundExecutors::restore_units(const Checkpoint& checkpoint) {
  for (std::size_t c = 0; c < checkpoint.clients.size(); ++c) {
    const ClientRecord& record = checkpoint.clients[c];
    const auto client = narrow<int>(c);
    if (!record.heads.empty())
      state_->of(client).trainer->set_units(ClientId(client), {record.heads, record.neurons});
  }
}

void RoundExecutors::restore_units(const LocalRound& round) {
  const SegmentTable& table = *state_->experiment.table;
  LocalTrainer& trainer = *state_->of(round.client.value()).trainer;
  const auto known = trainer.units().find(round.client.value());
  if (known == trainer.units().end()) return;
  UnitChoice choice = known->second;
  for (const LocalUpdate& update : round.updates) {
    const Segment& segment = table[SegmentId(update.header.segment)];
    if (segment.units == 0) continue;
    auto& sets = segment.kind == SegmentKind::attention ? choice.heads : choice.neurons;
    sets.at(static_cast<std::size_t>(segment.block)) = UnitSet::from_bitmap(segment.units, update.bitmap);
  }
  trainer.set_units(round.client, std::move(choice));
}

}  // namespace cos2p
