// Tries the channels of a run: every worker in turn pushes messages and pulls a segment, alone on the wire.
#include <mpi.h>

#include <algorithm>
#include <chrono>
#include <limits>
#include <thread>

#include "cos2p/support/clock.hpp"
#include "cos2p/support/error.hpp"
#include "cos2p/transport/model_store.hpp"
#include "cos2p/transport/mpi_call.hpp"
#include "doctor.hpp"

namespace cos2p::doctor {
namespace {

constexpr int kTurnTag = 41, kResultTag = 42;
constexpr double kProbe_s = 0.7;  // of pushing, and of pulling
constexpr double kTurn_s = 120;   // for one worker: a segment of 1.2 MB takes 10 s at 1 Mbit/s

struct Discard : MessageSink {
  std::vector<std::byte> memory;
  Verdict begin(WorkerRank, const MessageHeader& header, Buffer& body) override {
    memory.resize(static_cast<std::size_t>(header.body_bytes));
    body = Buffer(memory.data(), memory.size(), memory.size(), nullptr, nullptr);
    return Verdict::accept;
  }
  void deliver(Message) override {}
};

Link measure(WorkerChannel& channel, const SegmentTable& table, int rank) {
  const Segment* largest = &*table.begin();
  for (const Segment& segment : table) {
    if (segment.numel > largest->numel) largest = &segment;
  }
  std::vector<float> values(static_cast<std::size_t>(largest->numel), 1.0F);
  const auto bytes = static_cast<double>(values.size() * sizeof(float));
  Link link{rank, 0, 0, std::numeric_limits<double>::max()};
  for (int turn = 0; turn < 50; ++turn) {
    const double start = monotonic_seconds();
    channel.read_versions();
    link.latency_s = std::min(link.latency_s, monotonic_seconds() - start);
  }
  const auto repeat = [&](auto action) {
    double moved = 0;
    const double start = monotonic_seconds();
    do {
      action();
      moved += bytes;
    } while (monotonic_seconds() - start < kProbe_s);
    return moved / (monotonic_seconds() - start);
  };
  link.pull = repeat([&] { channel.read_segment(largest->id, values); });
  MessageHeader header;
  header.client = 0;
  header.segment = largest->id.value();
  header.body_bytes = static_cast<std::int64_t>(values.size() * sizeof(float));
  link.push = repeat([&] {
    channel.push(header,
                 {{reinterpret_cast<const std::byte*>(values.data()), values.size() * sizeof(float)}});
  });
  return link;
}

Links serve(MpiRuntime& mpi, ModelStore& store) {
  Links result;
  RmaServerFabric fabric(mpi, store, {}, 1);
  result.component = fabric.one_sided_component();
  Discard sink;
  for (int worker = 1; worker < mpi.size(); ++worker) {
    COS2P_MPI(MPI_Send, &worker, 1, MPI_INT, worker, kTurnTag, MPI_COMM_WORLD);
    ServerChannel& channel = *fabric.channels()[static_cast<std::size_t>(worker - 1)];
    Link link;
    MPI_Request request = MPI_REQUEST_NULL;
    COS2P_MPI(MPI_Irecv, &link, sizeof(link), MPI_BYTE, worker, kResultTag, MPI_COMM_WORLD, &request);
    const double until = monotonic_seconds() + kTurn_s;
    for (int done = 0; done == 0;) {
      if (monotonic_seconds() > until) {
        fail(ExitCode::environment,
             "worker {} has not measured its link within {:.0f} s (it has died, or its network is stuck), "
             "look at its "
             "host {}",
             worker, kTurn_s, mpi.hosts()[static_cast<std::size_t>(worker)]);
      }
      channel.heartbeat();
      fabric.progress();
      channel.poll(sink, 8);
      channel.serve_pull(store);
      COS2P_MPI(MPI_Test, &request, &done, MPI_STATUS_IGNORE);
    }
    result.links.push_back(link);
  }
  COS2P_MPI(MPI_Barrier, MPI_COMM_WORLD);
  fabric.release();
  return result;
}

void work(MpiRuntime& mpi, const SegmentTable& table) {
  RmaWorkerFabric fabric(mpi, table, {}, 1,
                         [] { std::this_thread::sleep_for(std::chrono::microseconds(100)); });
  int turn = 0;
  COS2P_MPI(MPI_Recv, &turn, 1, MPI_INT, 0, kTurnTag, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
  const Link link = measure(fabric.channel(), table, mpi.rank());
  COS2P_MPI(MPI_Send, &link, sizeof(link), MPI_BYTE, 0, kResultTag, MPI_COMM_WORLD);
  COS2P_MPI(MPI_Barrier, MPI_COMM_WORLD);
  fabric.release();
}

}  // namespace

Links probe_links(MpiRuntime& mpi) {
  const SegmentTable table(trial_model());
  if (mpi.rank() != 0) {
    work(mpi, table);
    return {};
  }
  ModelStore store(table);
  for (const Segment& segment : table)
    store.restore(segment.id, std::vector<float>(static_cast<std::size_t>(segment.numel), 1.0F), 1);
  return serve(mpi, store);
}

}  // namespace cos2p::doctor
