#pragma once

#include <mpi.h>

#include "cos2p/transport/channel.hpp"
#include "cos2p/transport/ring_layout.hpp"

namespace cos2p {

/// Whether one-sided calls are loads and stores, or messages that the target must take part in.
enum class FabricSpeed : int { shared_memory = 0, messages = 1 };

/// How WorkerChannel paces itself where puts are messages.
RemoteMemory::Pace message_pace();

/// The two halves of trying a pair's windows before anything depends on them: a small and a large put, flush,
/// get, compare, at both ends, and a get from the store. Throws Error(environment) at both ends where
/// something does not arrive.
FabricSpeed check_fabric_at_server(MPI_Comm pair, const RingLayout& layout, Span<std::byte> ring,
                                   Span<std::byte> store);
FabricSpeed check_fabric_at_worker(MPI_Comm pair, const RingLayout& layout, RemoteMemory& ring,
                                   RemoteMemory& store, std::size_t store_bytes);

}  // namespace cos2p
