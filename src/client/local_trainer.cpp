#include "cos2p/client/local_trainer.hpp"

#include <torch/torch.h>

#include <algorithm>
#include <cmath>
#include <functional>

#include "cos2p/kernels/merge.hpp"
#include "cos2p/model/device.hpp"
#include "cos2p/model/tensor_memory.hpp"
#include "cos2p/model/vit.hpp"
#include "cos2p/model/weight_mask.hpp"
#include "cos2p/plan/planner.hpp"
#include "cos2p/support/clock.hpp"
#include "cos2p/support/memory.hpp"
#include "cos2p/support/narrow.hpp"
#include "error_feedback.hpp"
#include "linear_training.hpp"
#include "local_steps.hpp"
#include "unit_choice.hpp"

namespace cos2p {
namespace {

/// The submodel of the client that ran last; a client that runs again keeps its frozen segments without
/// pulling them.
struct Resident {
  int client = -1;
  UnitChoice units;
  Assignment window;
  std::unique_ptr<Vit> model;
  std::map<int, std::uint64_t> versions;  ///< of the pulled values, by segment
  /// Where deltas are pushed: the pulled values of trained segments, then what training added to them.
  std::map<int, torch::Tensor> received;
};

bool same_units(const UnitChoice& a, const UnitChoice& b) {
  return a.heads == b.heads && a.neurons == b.neurons;
}

}  // namespace

struct LocalTrainer::State {
  Setup setup;
  torch::Device device;
  UnitChooser units;
  FreeMemory free_memory;
  Resident resident;
  std::map<int, Assignment> assigned;  ///< by client
  ErrorFeedback feedback;
  std::unique_ptr<LinearTraining> linear;  ///< in place of a Vit, where the model is linear
  std::vector<float> full, kept;           ///< one segment as pulled, and its kept part; reused

  explicit State(Setup s)
      : setup(std::move(s)),
        device(setup.table->options().linear() ? torch::Device(torch::kCPU)
                                               : choose_device(setup.device, setup.local_rank)),
        units(setup, device),
        free_memory(std::max(1, setup.local_ranks)),
        feedback(setup.local.push_dtype),
        full(static_cast<std::size_t>(setup.table->largest_segment())) {
    if (setup.table->options().linear()) linear = std::make_unique<LinearTraining>(setup);
  }

  /// Of tensors that are the client's and live between its rounds.
  std::int64_t resident_bytes(int client) const {
    std::int64_t bytes = feedback.bytes(client);
    if (resident.model) {
      for (SegmentId id : resident.model->segments()) bytes += resident.model->flat(id).nbytes();
      for (const auto& [id, values] : resident.received) bytes += values.nbytes();
    }
    return bytes;
  }
  Span<float> scratch(const Segment& segment) {
    return {full.data(), static_cast<std::size_t>(segment.numel)};
  }
  /// What another client of this process left makes way, which may be more than this one may have. Where the
  /// assignment is another one than before, what that needed goes back to the system, which may be short of
  /// it.
  void take_assignment(const ClientTask& task) {
    if (resident.client != task.client) resident = Resident{};
    const auto [last, is_first] = assigned.try_emplace(task.client, task.assignment);
    if (is_first || last->second == task.assignment) return;
    last->second = task.assignment;
    resident = Resident{};
    release_freed_memory();
  }
  void prepare(ModelReader& server, const ClientTask& task, const Assignment& window);
  LocalRound hand_over(const ClientTask& task, int index, const RoundReport& report);
  LocalUpdate update_of(const ClientTask& task, int index, SegmentId id, std::uint64_t base_version,
                        const UnitSet& kept_units, Span<const float> values);
  int steps_of(std::int64_t samples) const;
  std::int64_t samples_of(const ClientTask& task) const {
    return narrow<std::int64_t>(setup.partition->at(static_cast<std::size_t>(task.client)).size());
  }
  std::optional<LocalRound> run_linear(ModelReader& server, const ClientTask& task, int index,
                                       const Notice& notice, const KeepGoing& keep_going);
};

LocalTrainer::LocalTrainer(Setup setup) : state_(std::make_unique<State>(std::move(setup))) {
  tensor_memory::install();
}

LocalTrainer::~LocalTrainer() = default;

const std::map<int, UnitChoice>& LocalTrainer::units() const {
  return state_->units.all();
}

void LocalTrainer::set_units(ClientId client, UnitChoice choice) {
  state_->units.set(client.value(), std::move(choice));
}

const SegmentTable& LocalTrainer::table() const {
  return *state_->setup.table;
}

std::string LocalTrainer::device_name() const {
  return state_->device.str();
}

int LocalTrainer::State::steps_of(std::int64_t samples) const {
  const LocalTrainingOptions& local = setup.local;
  if (local.local_steps > 0) return local.local_steps;
  return std::max(1, narrow<int>(std::llround(std::ceil(
                         local.local_epochs * static_cast<double>(samples) / local.batch_size - 1e-9))));
}

int LocalTrainer::steps_per_round(std::int64_t samples) const {
  return state_->steps_of(samples);
}

/// Brings the client's submodel to the server's present values.
void LocalTrainer::State::prepare(ModelReader& server, const ClientTask& task, const Assignment& window) {
  const UnitChoice& choice = units.of(task.client);
  if (resident.client != task.client || !(resident.window == window) || !same_units(resident.units, choice)) {
    resident = Resident{};  // frees the old model before the new one is made
    VitShape shape;
    shape.kept_blocks = window.kept_blocks;
    shape.frozen_blocks = window.frozen_blocks;
    // What is frozen costs little: it stays whole, so that the trained blocks read what the full model gives
    // them.
    const auto of_window = [&](const std::vector<UnitSet>& sets) {
      std::vector<UnitSet> shown(sets.begin(), sets.begin() + window.kept_blocks);
      for (int block = 0; block < window.frozen_blocks; ++block) {
        UnitSet& set = shown[static_cast<std::size_t>(block)];
        set = UnitSet::all(set.total());
      }
      return shown;
    };
    shape.heads = of_window(choice.heads);
    shape.neurons = of_window(choice.neurons);
    shape.scale_kept_units = setup.local.scale_kept_units;
    resident =
        Resident{task.client, choice, window, std::make_unique<Vit>(*setup.table, shape, device), {}, {}};
  }
  const std::vector<std::uint64_t> published = server.read_versions();
  const std::vector<SegmentId> trained = resident.model->trained_segments();
  const torch::NoGradGuard no_grad;
  for (SegmentId id : resident.model->segments()) {
    const auto held = resident.versions.find(id.value());
    const bool changed_here = std::find(trained.begin(), trained.end(), id) != trained.end();
    if (!changed_here && held != resident.versions.end() &&
        held->second == published[static_cast<std::size_t>(id.value())])
      continue;
    const Segment& segment = (*setup.table)[id];
    resident.versions[id.value()] = server.read_segment(id, scratch(segment));
    torch::Tensor flat = resident.model->flat(id);
    const UnitSet& units_here = resident.model->units(id);
    kept.resize(static_cast<std::size_t>(flat.numel()));
    gather_segment(segment, units_here, scratch(segment), kept);
    flat.copy_(torch::from_blob(kept.data(), {flat.numel()}));
    if (!changed_here || setup.pushed != MergeKind::deltas) continue;
    torch::Tensor& received = resident.received[id.value()];
    if (received.defined()) {
      received.copy_(flat);
    } else {
      received = flat.clone();
    }
  }
  if (setup.local.weight_mask == WeightMaskKind::magnitude) {
    const double share = setup.shares->at(static_cast<std::size_t>(task.client));
    resident.model->mask_below(magnitude_threshold(*resident.model, share));
  }
}

/// Borrows `values` where they are pushed as they are.
LocalUpdate LocalTrainer::State::update_of(const ClientTask& task, int index, SegmentId id,
                                           std::uint64_t base_version, const UnitSet& kept_units,
                                           Span<const float> values) {
  const Segment& segment = (*setup.table)[id];
  LocalUpdate update;
  if (segment.units > 0) update.bitmap = kept_units.bitmap();
  if (setup.local.push_dtype == ValueType::float32) {
    update.values = {reinterpret_cast<const std::byte*>(values.data()), values.size_bytes()};
  } else {
    update.owned = feedback.pack(task.client, segment, kept_units, values);
    update.values = update.owned;
  }
  MessageHeader& header = update.header;
  header.kind = MessageKind::segment_update;
  header.value_type = setup.local.push_dtype;
  header.client = task.client;
  header.client_round = index;
  header.segment = id.value();
  header.base_version = base_version;
  header.weight = static_cast<double>(samples_of(task));
  header.bitmap_bytes = narrow<std::int64_t>(update.bitmap.size());
  header.body_bytes = values_offset(header.bitmap_bytes) + narrow<std::int64_t>(update.values.size());
  return update;
}

LocalRound LocalTrainer::State::hand_over(const ClientTask& task, int index, const RoundReport& report) {
  LocalRound round;
  round.client = ClientId(task.client);
  round.assignment = task.assignment;
  round.index = index;
  round.report = report;
  const std::vector<SegmentId> trained = resident.model->trained_segments();
  feedback.keep_only(task.client, trained);
  for (SegmentId id : trained) {
    torch::Tensor pushed = resident.model->flat(id);
    if (setup.pushed == MergeKind::deltas) {
      torch::Tensor& received = resident.received.at(id.value());
      at::sub_out(received, pushed, received);
      pushed = received;
    }
    const torch::Tensor host = pushed.cpu();  // itself, where it lies there
    round.updates.push_back(update_of(task, index, id, resident.versions.at(id.value()),
                                      resident.model->units(id),
                                      {host.data_ptr<float>(), static_cast<std::size_t>(host.numel())}));
    if (!pushed.is_cpu()) round.updates.back().own_values();
  }
  round.report.updates = narrow<std::int64_t>(round.updates.size());
  return round;
}

std::optional<LocalRound> LocalTrainer::State::run_linear(ModelReader& server, const ClientTask& task,
                                                          int index, const Notice& notice,
                                                          const KeepGoing& keep_going) {
  const SegmentId id = setup.table->begin()->id;
  LocalRound round;
  round.client = ClientId(task.client);
  round.assignment = task.assignment;
  round.index = index;
  RoundReport& report = round.report;
  report.steps = steps_of(samples_of(task));
  const std::int64_t pulled = server.bytes_pulled();
  std::uint64_t version = 0;
  {
    const ScopedTimer timer(report.transfer_s);
    version = server.read_segment(id, linear->values());
  }
  report.bytes_pulled = server.bytes_pulled() - pulled;
  std::vector<float> received;
  if (setup.pushed == MergeKind::deltas) received.assign(linear->values().begin(), linear->values().end());
  {
    const ScopedTimer timer(report.compute_s);
    if (!linear->run(task.client, index, notice, keep_going, report)) return std::nullopt;
  }
  report.peak_memory += feedback.bytes(task.client) + narrow<std::int64_t>(received.size() * sizeof(float));
  if (!setup.shares_process) report.peak_resident = narrow<std::int64_t>(peak_resident_bytes());
  report.updates = 1;
  Span<const float> pushed = linear->values();
  if (setup.pushed == MergeKind::deltas) {
    std::transform(pushed.begin(), pushed.end(), received.begin(), received.begin(), std::minus<>());
    pushed = received;
  }
  round.updates.push_back(update_of(task, index, id, version, {}, pushed));
  if (setup.pushed == MergeKind::deltas) round.updates.back().own_values();
  return round;
}

std::optional<LocalRound> LocalTrainer::run(ModelReader& server, const ClientTask& task, int index,
                                            const Notice& notice, const KeepGoing& keep_going) {
  if (state_->linear) return state_->run_linear(server, task, index, notice, keep_going);
  RoundReport report;
  const std::int64_t pulled = server.bytes_pulled();
  state_->take_assignment(task);
  // Tensors of others in this process (a server that evaluates, in-process) are not this client's.
  const std::int64_t others = tensor_memory::current() - state_->resident_bytes(task.client);
  tensor_memory::reset_peak();
  const Assignment window = window_at(*state_->setup.table, task.assignment, index);
  if (state_->units.due(task, index)) {
    // A mask phase needs the memory that the last model holds.
    if (needs_data(state_->setup.width.rule)) state_->resident = Resident{};
    state_->units.choose(server, task, index, report);
  }
  {
    const ScopedTimer timer(report.transfer_s);
    state_->prepare(server, task, window);
  }
  report.bytes_pulled = server.bytes_pulled() - pulled;
  report.steps = state_->steps_of(state_->samples_of(task));
  {
    const ScopedTimer timer(report.compute_s);
    const LocalSteps steps{state_->setup, *state_->resident.model, state_->device, task, index, notice};
    if (!steps.run(keep_going, report)) return std::nullopt;
  }
  report.peak_memory = tensor_memory::peak() - others;
  if (!state_->setup.shares_process) {
    report.peak_resident = narrow<std::int64_t>(peak_resident_bytes());
    // What a GPU's driver holds is not seen in the process.
    if (state_->device.is_cpu()) report.free_memory = state_->free_memory.bytes();
  }
  return state_->hand_over(task, index, report);
}

void LocalUpdate::own_values() {
  if (owned.empty()) owned.assign(values.begin(), values.end());
  values = owned;
}

void LocalRound::own_values() {
  for (LocalUpdate& update : updates) update.own_values();
}

bool push_round(WorkerChannel& channel, const LocalRound& round, PushTime time) {
  static constexpr std::byte kPadding[64] = {};
  const std::int64_t pushed = channel.stats().bytes_pushed;
  const double waited = channel.stats().waiting_s;
  RoundReport report = round.report;
  double seconds = 0;
  {
    const ScopedTimer timer(seconds);
    for (const LocalUpdate& update : round.updates) {
      const auto padding =
          static_cast<std::size_t>(values_offset(update.header.bitmap_bytes) - update.header.bitmap_bytes);
      const std::vector<Span<const std::byte>> parts{
          {reinterpret_cast<const std::byte*>(update.bitmap.data()), update.bitmap.size()},
          {kPadding, padding},
          update.values};
      MessageHeader header = update.header;
      header.server_round = round.started_in;
      if (!channel.push(header, parts)) return false;
    }
  }
  if (time == PushTime::hidden) report.transfer_s += seconds;
  if (time == PushTime::waited_for) {
    const double waiting = channel.stats().waiting_s - waited;
    report.transfer_s += seconds - waiting;
    report.waiting_s += waiting;
  }
  report.bytes_pushed = channel.stats().bytes_pushed - pushed;
  MessageHeader header;
  header.kind = MessageKind::round_report;
  header.client = round.client.value();
  header.client_round = round.index;
  header.server_round = round.started_in;
  header.body_bytes = sizeof report;
  return channel.push(header, {{reinterpret_cast<const std::byte*>(&report), sizeof report}});
}

double learning_rate(const LocalTrainingOptions& local, int round, int rounds) {
  if (round < local.warmup_rounds) return local.learning_rate * (round + 1) / local.warmup_rounds;
  if (local.schedule == ScheduleKind::constant) return local.learning_rate;
  const int length =
      std::max(1, (local.schedule_rounds > 0 ? local.schedule_rounds : rounds) - local.warmup_rounds);
  const double progress = std::min(1.0, static_cast<double>(round - local.warmup_rounds) / length);
  return local.learning_rate * 0.5 * (1 + std::cos(3.14159265358979323846 * progress));
}

}  // namespace cos2p
