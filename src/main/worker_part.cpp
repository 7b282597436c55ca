#include "worker_part.hpp"

#include <memory>
#include <mutex>

#include "device_times.hpp"
#include "signals.hpp"

namespace cos2p {
namespace {

/// The times of emulated devices, whose clients may be given other submodels while the run goes on.
class EmulatedDevices {
 public:
  explicit EmulatedDevices(const Experiment& e) : experiment_(e), times_(e, e.options.emulate_speeds) {}

  double compute_s(ClientId client, const Assignment& assignment, int index, int steps) {
    const std::lock_guard<std::mutex> lock(mutex_);
    times_.set_assignment(experiment_, client, assignment);
    return times_.choice_s(client, index) + times_.compute_s(client, index, steps);
  }
  double transfer_s(ClientId client, const Assignment& assignment, int index) {
    const std::lock_guard<std::mutex> lock(mutex_);
    times_.set_assignment(experiment_, client, assignment);
    return times_.transfer_s(client, index);
  }

 private:
  const Experiment& experiment_;
  std::mutex mutex_;
  DeviceTimes times_;
};

}  // namespace

WorkerPart::WorkerPart(const Experiment& e, int local_rank, int local_ranks)
    : trainer_({e.table.get(), e.train.get(), &e.partition, &e.fleet.assignments, e.options.local,
                e.options.width, pushed_kind(e.options.policy, e.options.local.push_dtype), e.options.seed,
                e.options.device, local_rank, local_ranks, &e.shares, micro_batches_of(e)}) {
  options_.stop_requested = stop_requested;
  options_.overlap = e.options.local.overlap;
  if (e.options.emulate_speeds.empty()) return;
  const auto devices = std::make_shared<EmulatedDevices>(e);
  options_.emulated_compute_s = [devices](ClientId client, const Assignment& assignment, int index,
                                          int steps) {
    return devices->compute_s(client, assignment, index, steps);
  };
  options_.emulated_transfer_s = [devices](ClientId client, const Assignment& assignment, int index) {
    return devices->transfer_s(client, assignment, index);
  };
}

WorkerEnd WorkerPart::run(WorkerChannel& channel) {
  return run_worker(channel, trainer_, options_);
}

}  // namespace cos2p
