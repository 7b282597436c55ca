#include "fabric_check.hpp"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <thread>
#include <vector>

#include "cos2p/support/clock.hpp"
#include "cos2p/support/error.hpp"
#include "cos2p/support/hash.hpp"
#include "cos2p/support/random.hpp"
#include "cos2p/transport/mpi_call.hpp"

namespace cos2p {

namespace {

constexpr int kReportTag = 19;
constexpr double kMemoryFlush_s = 2e-6;  // a flush that is only a barrier takes tens of nanoseconds, a
                                         // message's round trip tens of microseconds

struct Report {
  std::int32_t put_and_get_agree = 0;
  std::int32_t speed = 0;
  std::uint64_t pattern_hash = 0;  // of what the worker put into the first slot
  std::uint64_t store_hash = 0;    // of what it got from the head of the store
};

std::size_t store_sample(std::size_t store_bytes) {
  return std::min<std::size_t>(store_bytes, 4096);
}

// For tests of what happens when a fabric hangs in its first put.
void hang_if_told() {
  const char* told = std::getenv("COS2P_TEST_HANG_FABRIC");
  while (told != nullptr) std::this_thread::sleep_for(std::chrono::seconds(1));
}

}  // namespace

RemoteMemory::Pace message_pace() {
  RemoteMemory::Pace pace;
  pace.put_bytes = 128 << 10;  // larger ones go through the slower of the rendezvous protocols
  pace.flush_bytes =
      1536 << 10;  // a quarter of the ring: the server empties one part while the next is on its way
  return pace;
}

FabricSpeed check_fabric_at_server(MPI_Comm pair, const RingLayout& layout, Span<std::byte> ring,
                                   Span<std::byte> store) {
  Report report;
  COS2P_MPI(MPI_Recv, &report, sizeof(report), MPI_BYTE, 1, kReportTag, pair, MPI_STATUS_IGNORE);
  const std::size_t sample = store_sample(store.size());
  std::int32_t good = 0;
  if (report.put_and_get_agree != 0 && report.store_hash == hash64(store.data(), sample)) {
    // The worker's flush has returned: the data must be here. (If it only comes later, checksums will catch
    // it in the run; here it is given a moment.)
    const double until = monotonic_seconds() + 1;
    do {
      good = report.pattern_hash == hash64(ring.data() + layout.payload(1), layout.slot_bytes()) ? 1 : 0;
    } while (good == 0 && monotonic_seconds() < until);
  }
  COS2P_MPI(MPI_Send, &good, 1, MPI_INT32_T, 1, kReportTag, pair);
  if (good == 0) fail(ExitCode::environment, "what the worker put is not what arrived");
  return static_cast<FabricSpeed>(report.speed);
}

FabricSpeed check_fabric_at_worker(MPI_Comm pair, const RingLayout& layout, RemoteMemory& ring,
                                   RemoteMemory& store, std::size_t store_bytes) {
  hang_if_told();
  std::vector<std::uint64_t> pattern(layout.slot_bytes() / sizeof(std::uint64_t)), back(pattern.size());
  Rng random(0x636f733270ULL);
  for (std::uint64_t& word : pattern) word = random();
  double quickest = 1;
  for (int turn = 0; turn < 8; ++turn) {
    const double start = monotonic_seconds();
    ring.put(pattern.data(), sizeof(std::uint64_t),
             RingLayout::worker_words() + offsetof(WorkerWords, probe));
    ring.flush();
    quickest = std::min(quickest, monotonic_seconds() - start);
  }
  Report report;
  report.speed = static_cast<std::int32_t>(quickest < kMemoryFlush_s ? FabricSpeed::shared_memory
                                                                     : FabricSpeed::messages);
  ring.put(pattern.data(), layout.slot_bytes(), layout.payload(1));
  ring.flush();
  ring.get(back.data(), layout.slot_bytes(), layout.payload(1));
  ring.flush();
  report.put_and_get_agree = pattern == back ? 1 : 0;
  report.pattern_hash = hash64(pattern.data(), layout.slot_bytes());
  std::vector<std::byte> head(store_sample(store_bytes));
  store.get(head.data(), head.size(), 0);
  store.flush();
  report.store_hash = hash64(head.data(), head.size());
  COS2P_MPI(MPI_Send, &report, sizeof(report), MPI_BYTE, 0, kReportTag, pair);
  std::int32_t good = 0;
  COS2P_MPI(MPI_Recv, &good, 1, MPI_INT32_T, 0, kReportTag, pair, MPI_STATUS_IGNORE);
  if (good == 0) fail(ExitCode::environment, "what was put is not what arrived at the server");
  return static_cast<FabricSpeed>(report.speed);
}

}  // namespace cos2p
