#include "worker_part.hpp"

#include "device_times.hpp"
#include "signals.hpp"

namespace cos2p {

WorkerPart::WorkerPart(const Experiment& e, int local_rank)
    : trainer_({e.table.get(), e.train.get(), &e.partition, &e.fleet.assignments, e.options.local,
                e.options.width, e.options.policy.merge, e.options.seed, e.options.device, local_rank,
                &e.shares, micro_batches_of(e)}) {
  options_.stop_requested = stop_requested;
  options_.overlap = e.options.local.overlap;
  if (e.options.emulate_speeds.empty()) return;
  const auto times = std::make_shared<const DeviceTimes>(e, e.options.emulate_speeds);
  options_.emulated_compute_s = [times](ClientId client, int index, int steps) {
    return times->choice_s(client, index) + times->compute_s(client, index, steps);
  };
  options_.emulated_transfer_s = [times](ClientId client, int index) {
    return times->transfer_s(client, index);
  };
}

WorkerEnd WorkerPart::run(WorkerChannel& channel) {
  return run_worker(channel, trainer_, options_);
}

}  // namespace cos2p
