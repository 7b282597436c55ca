#pragma once

#include <memory>
#include <vector>

#include "cos2p/transport/channel.hpp"

namespace cos2p {

/// Both ends of one channel inside one process, over plain memory: the same protocol code as between
/// processes.
struct InProcessChannel {
  std::vector<std::byte> memory;  ///< larger than the ring: the ring begins at its first aligned byte
  std::unique_ptr<ServerChannel> server;
  std::unique_ptr<WorkerChannel> worker;
};

/// `idle` is what the worker's end does while its ring is full: in a single-threaded run it polls the
/// server's end.
std::unique_ptr<InProcessChannel> make_in_process_channel(const SegmentTable& table, ModelStore& store,
                                                          WorkerRank worker, RingOptions options,
                                                          int max_tasks, WorkerChannel::Idle idle);

}  // namespace cos2p
