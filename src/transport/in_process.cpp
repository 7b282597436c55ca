#include "cos2p/transport/in_process.hpp"

#include <utility>

#include "cos2p/transport/plain_memory.hpp"

namespace cos2p {

std::unique_ptr<InProcessChannel> make_in_process_channel(const SegmentTable& table, ModelStore& store,
                                                          WorkerRank worker, RingOptions options,
                                                          int max_tasks, WorkerChannel::Idle idle) {
  constexpr std::size_t kAlignment = 128;
  auto channel = std::make_unique<InProcessChannel>();
  const std::size_t bytes = ServerChannel::memory_bytes(options, max_tasks);
  channel->memory.resize(bytes + kAlignment);
  const auto address = reinterpret_cast<std::uintptr_t>(channel->memory.data());
  const Span<std::byte> ring(channel->memory.data() + (kAlignment - address % kAlignment) % kAlignment,
                             bytes);
  channel->server = std::make_unique<ServerChannel>(worker, options, max_tasks, ring);
  channel->worker =
      std::make_unique<WorkerChannel>(table, options, std::make_unique<PlainMemory>(ring),
                                      std::make_unique<PlainMemory>(store.memory()), std::move(idle));
  return channel;
}

}  // namespace cos2p
