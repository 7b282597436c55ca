#include <mpi.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "cos2p/support/clock.hpp"
#include "cos2p/support/error.hpp"
#include "cos2p/transport/mpi_call.hpp"
#include "cos2p/transport/mpi_runtime.hpp"
#include "cos2p/transport/ring_layout.hpp"
#include "fabric_check.hpp"
#include "mpi_runtime_state.hpp"
#include "mpi_version.hpp"
#include "rma_window.hpp"

namespace cos2p {

namespace {

constexpr int kTurnTag = 17;      // on MPI_COMM_WORLD: whose turn it is to make its pair
constexpr int kGreetingTag = 18;  // on the pair: what the server has
constexpr double kPairLimit_s = 7;
constexpr double kTurnLimit_s = 8;  // of a worker that waits while another's pair is made
constexpr double kLinger_s = 3e-3;  // longer than two megabytes take on a slow network's first hop

struct Pair {
  MPI_Comm comm = MPI_COMM_NULL;
  RmaWindow ring, store;
};

// What both ends must agree on, sent by the server.
struct Greeting {
  std::uint64_t ring_offset = 0;  // of the aligned ring in its window
  std::uint64_t ring_bytes = 0, store_bytes = 0;
  std::uint64_t slots = 0, slot_bytes = 0, tasks = 0;  // where the tasks are: behind all else
};

Pair make_pair(int worker, std::size_t ring_bytes, Span<std::byte> store) {
  Pair pair;
  const int ranks[2] = {0, worker};
  MPI_Group world = MPI_GROUP_NULL, both = MPI_GROUP_NULL;
  COS2P_MPI(MPI_Comm_group, MPI_COMM_WORLD, &world);
  COS2P_MPI(MPI_Group_incl, world, 2, ranks, &both);
  COS2P_MPI(MPI_Comm_create_group, MPI_COMM_WORLD, both, worker, &pair.comm);
  COS2P_MPI(MPI_Group_free, &both);
  COS2P_MPI(MPI_Group_free, &world);
  COS2P_MPI(MPI_Comm_set_errhandler, pair.comm, MPI_ERRORS_RETURN);
  pair.ring = RmaWindow::allocate(pair.comm, ring_bytes);
  pair.store = RmaWindow::create(pair.comm, store);
  return pair;
}

std::string fabric_failure(const MpiRuntime& mpi, int worker, const std::string& reason) {
  const auto setting = [](const char* name) {
    const char* value = std::getenv(name);
    return std::string(value == nullptr ? "(default)" : value);
  };
  const std::vector<std::string> hosts = mpi.hosts();
  return "The network cannot carry one-sided MPI between the server on " + hosts.front() + " and worker " +
         std::to_string(worker) + " on " + hosts[static_cast<std::size_t>(worker)] + " (" + reason + "; " +
         mpi.library_version() + ", pml=" + setting("OMPI_MCA_pml") + ", osc=" + setting("OMPI_MCA_osc") +
         "), unset OMPI_MCA_pml and OMPI_MCA_osc so that cos2p chooses them, or choose the network with "
         "OMPI_MCA_btl_tcp_if_include=SUBNET";
}

// Runs one pair's making and checking: what MPI reports, or what takes too long, becomes the same message.
template <typename Body>
void refuse_in_words(MpiRuntime& mpi, Watchdog& watchdog, int worker, Body body) {
  watchdog.set_verdict(fabric_failure(mpi, worker, "no answer within 7 s"),
                       static_cast<int>(ExitCode::environment));
  const Watchdog::Watch watch(&watchdog, kPairLimit_s);
  try {
    body();
  } catch (const Error& error) {
    if (error.code() != ExitCode::environment) throw;
    throw Error(ExitCode::environment, fabric_failure(mpi, worker, error.what()));
  }
}

}  // namespace

struct RmaServerFabric::State {
  std::vector<Pair> pairs;
  std::vector<std::unique_ptr<ServerChannel>> channels;
  std::string component;
  bool over_network = false;  // puts are messages
  std::uint64_t taken = 0;    // slots, of all channels, at the last look
  double active_s = -1;       // when that number last changed
};

RmaServerFabric::RmaServerFabric(MpiRuntime& mpi, ModelStore& store, RingOptions options, int max_tasks)
    : state_(std::make_unique<State>()) {
  State& s = *state_;
  Watchdog& watchdog = mpi.state_->watchdog;
  const std::size_t ring_bytes = ServerChannel::memory_bytes(options, max_tasks);
  constexpr std::size_t kAlignment = 4096;  // osc/sm aligns a window to a cache line only
  for (int worker = 1; worker < mpi.size(); ++worker) {
    refuse_in_words(mpi, watchdog, worker, [&] {
      // All that wait hear of each turn: where one hangs, they know it within a turn's time.
      for (int waiting = worker; waiting < mpi.size(); ++waiting)
        COS2P_MPI(MPI_Send, &worker, 1, MPI_INT, waiting, kTurnTag, MPI_COMM_WORLD);
      Pair pair = make_pair(worker, ring_bytes + kAlignment, store.memory());
      Greeting greeting;
      const auto address = reinterpret_cast<std::uintptr_t>(pair.ring.local());
      greeting.ring_offset = (kAlignment - address % kAlignment) % kAlignment;
      greeting.ring_bytes = ring_bytes;
      greeting.store_bytes = store.memory().size();
      greeting.slots = RingLayout(options).slots();
      greeting.slot_bytes = RingLayout(options).slot_bytes();
      greeting.tasks = RingLayout(options).tasks();
      const Span<std::byte> ring(pair.ring.local() + greeting.ring_offset, ring_bytes);
      COS2P_MPI(MPI_Send, &greeting, sizeof(greeting), MPI_BYTE, 1, kGreetingTag, pair.comm);
      const FabricSpeed speed = check_fabric_at_server(pair.comm, RingLayout(options), ring, store.memory());
      s.over_network = s.over_network || speed == FabricSpeed::messages;
      // Clears the ring; the worker uses it only after the barrier.
      s.channels.push_back(std::make_unique<ServerChannel>(WorkerRank(worker), options, max_tasks, ring));
      COS2P_MPI(MPI_Barrier, pair.comm);
      const std::string component =
          open_mpi_major(mpi.library_version()) > 0 ? pair.ring.component() : "one-sided";
      if (s.component.find(component) == std::string::npos)
        s.component += (s.component.empty() ? "" : ", ") + component;
      s.pairs.push_back(std::move(pair));
    });
  }
  if (!s.pairs.empty()) s.component += s.over_network ? " (messages)" : " (shared memory)";
}

RmaServerFabric::~RmaServerFabric() = default;

std::vector<std::unique_ptr<ServerChannel>>& RmaServerFabric::channels() {
  return state_->channels;
}

void RmaServerFabric::progress() {
  // Any call that looks for messages lets MPI handle the puts and gets that arrived as messages. What it
  // returns is of no interest: MPI may report here that a worker has died, which its heartbeat tells as well,
  // and more calmly.
  const auto probe = [] {
    int flag = 0;
    static_cast<void>(MPI_Iprobe(MPI_ANY_SOURCE, MPI_ANY_TAG, MPI_COMM_WORLD, &flag, MPI_STATUS_IGNORE));
  };
  probe();
  State& s = *state_;
  if (!s.over_network) return;
  std::uint64_t taken = 0;
  for (const auto& channel : s.channels) taken += channel->slots_taken();
  const double now = monotonic_seconds();
  if (taken != s.taken) s.active_s = now;
  s.taken = taken;
  const auto slot_is_there = [](const auto& channel) { return channel->slot_is_there(); };
  while (monotonic_seconds() - s.active_s < kLinger_s &&
         std::none_of(s.channels.begin(), s.channels.end(), slot_is_there)) {
    probe();
  }
}

std::string RmaServerFabric::one_sided_component() const {
  return state_->component;
}

void RmaServerFabric::release() {
  state_->channels.clear();
  for (Pair& pair : state_->pairs) {
    pair.ring.free();
    pair.store.free();
    COS2P_MPI(MPI_Comm_free, &pair.comm);
  }
  state_->pairs.clear();
}

struct RmaWorkerFabric::State {
  Pair pair;
  std::unique_ptr<WorkerChannel> channel;
};

RmaWorkerFabric::RmaWorkerFabric(MpiRuntime& mpi, const SegmentTable& table, RingOptions options,
                                 int /*max_tasks*/, WorkerChannel::Idle idle)
    : state_(std::make_unique<State>()) {
  State& s = *state_;
  Watchdog& watchdog = mpi.state_->watchdog;
  const int worker = mpi.rank();
  for (int turn = 0; turn != worker;) {
    const std::string waits_for = turn == 0 ? "the server does not call this worker"
                                            : "the server has not got past worker " + std::to_string(turn);
    watchdog.set_verdict(fabric_failure(mpi, worker, waits_for), static_cast<int>(ExitCode::environment));
    const Watchdog::Watch watch(&watchdog, kTurnLimit_s);
    COS2P_MPI(MPI_Recv, &turn, 1, MPI_INT, 0, kTurnTag, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
  }
  refuse_in_words(mpi, watchdog, worker, [&] {
    s.pair = make_pair(worker, 0, {});
    Greeting greeting;
    COS2P_MPI(MPI_Recv, &greeting, sizeof(greeting), MPI_BYTE, 0, kGreetingTag, s.pair.comm,
              MPI_STATUS_IGNORE);
    const RingLayout layout(options);
    if (greeting.slots != layout.slots() || greeting.slot_bytes != layout.slot_bytes() ||
        greeting.tasks != layout.tasks() || greeting.store_bytes != ModelStore::memory_bytes(table)) {
      fail(ExitCode::internal, "Worker {} and the server disagree about the ring or the model", worker);
    }
    auto ring = std::make_unique<RmaMemory>(s.pair.ring.handle(), greeting.ring_offset, greeting.ring_bytes,
                                            watchdog, options.silence_s);
    auto store = std::make_unique<RmaMemory>(s.pair.store.handle(), 0, greeting.store_bytes, watchdog,
                                             options.silence_s);
    const FabricSpeed speed =
        check_fabric_at_worker(s.pair.comm, layout, *ring, *store, greeting.store_bytes);
    if (speed == FabricSpeed::messages) ring->set_pace(message_pace());
    COS2P_MPI(MPI_Barrier, s.pair.comm);
    s.channel =
        std::make_unique<WorkerChannel>(table, options, std::move(ring), std::move(store), std::move(idle));
  });
  watchdog.set_verdict("The server cannot be reached (a call into MPI of worker " + std::to_string(worker) +
                           " on " + mpi.host() + " has not returned for " +
                           std::to_string(static_cast<int>(options.silence_s)) +
                           " s), look into the server's log on " + mpi.hosts().front(),
                       static_cast<int>(ExitCode::no_workers));
}

RmaWorkerFabric::~RmaWorkerFabric() = default;

WorkerChannel& RmaWorkerFabric::channel() {
  return *state_->channel;
}

void RmaWorkerFabric::release() {
  state_->channel.reset();
  state_->pair.ring.free();
  state_->pair.store.free();
  COS2P_MPI(MPI_Comm_free, &state_->pair.comm);
}

}  // namespace cos2p
