// Push of a whole model, one worker to the server, beside raw MPI_Put + MPI_Win_flush of the same segments in
// the same run.
//   mpirun -n 2 bench_push [--rounds N] [--preset base] [--slots N] [--slot-kib N]
#include <mpi.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "cos2p/model/segment_table.hpp"
#include "cos2p/support/clock.hpp"
#include "cos2p/support/error.hpp"
#include "cos2p/transport/backoff.hpp"
#include "cos2p/transport/mpi_call.hpp"
#include "cos2p/transport/mpi_runtime.hpp"

using namespace cos2p;

namespace {

constexpr int kDone = 5;

struct Options {
  int rounds = 9;
  std::string preset = "base";
  RingOptions ring;
};

Options parse(int argc, char** argv) {
  Options o;
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string name = argv[i];
    if (name == "--rounds") o.rounds = std::atoi(argv[i + 1]);
    if (name == "--preset") o.preset = argv[i + 1];
    if (name == "--slots") o.ring.slots = std::atoi(argv[i + 1]);
    if (name == "--slot-kib") o.ring.slot_bytes = std::atoll(argv[i + 1]) << 10;
  }
  return o;
}

// Memory for every segment, touched before anything is timed: the server keeps a whole model of updates.
class WarmSink final : public MessageSink {
 public:
  explicit WarmSink(const SegmentTable& table) {
    for (const Segment& segment : table) memory_.emplace_back(static_cast<std::size_t>(segment.numel), 1.0F);
  }
  Verdict begin(WorkerRank, const MessageHeader& header, Buffer& body) override {
    std::vector<float>& memory = memory_[static_cast<std::size_t>(header.segment)];
    const std::size_t bytes = memory.size() * sizeof(float);
    body = Buffer(reinterpret_cast<std::byte*>(memory.data()), bytes, bytes, nullptr, nullptr);
    return Verdict::accept;
  }
  void deliver(Message message) override {
    ++delivered;
    const auto bytes = static_cast<std::size_t>(message.header.body_bytes);
    float last = 0;
    std::memcpy(&last, message.body.data() + bytes - sizeof(last), sizeof(last));
    if (last != static_cast<float>(message.header.segment)) ++wrong;
  }
  int delivered = 0, wrong = 0;

 private:
  std::vector<std::vector<float>> memory_;
};

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

// The server's part of the raw rounds: it only lets MPI work.
void progress_until_done() {
  int flag = 0;
  while (flag == 0) COS2P_MPI(MPI_Iprobe, 1, kDone, MPI_COMM_WORLD, &flag, MPI_STATUS_IGNORE);
  COS2P_MPI(MPI_Recv, nullptr, 0, MPI_BYTE, 1, kDone, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
}

void serve(MpiRuntime& mpi, const SegmentTable& table, const Options& o) {
  ModelStore store(table);
  RmaServerFabric fabric(mpi, store, o.ring, 1);
  std::printf("%s, %s, ring %d x %lld KiB\n", mpi.library_version().c_str(),
              fabric.one_sided_component().c_str(), o.ring.slots,
              static_cast<long long>(o.ring.slot_bytes >> 10));
  std::fflush(stdout);
  WarmSink sink(table);
  Backoff backoff;
  for (int round = 0; round < o.rounds + 1; ++round) {
    COS2P_MPI(MPI_Barrier, MPI_COMM_WORLD);
    progress_until_done();
    COS2P_MPI(MPI_Barrier, MPI_COMM_WORLD);
    for (sink.delivered = 0; sink.delivered < table.size();) {
      fabric.progress();
      fabric.channels()[0]->heartbeat();
      if (fabric.channels()[0]->dropped().total() > 0) fail(ExitCode::internal, "a message was dropped");
      if (fabric.channels()[0]->poll(sink, 4) > 0) {
        backoff.reset();
      } else {
        backoff.pause();
      }
    }
    // Not before the worker's last flush has been answered.
    progress_until_done();
  }
  if (sink.wrong > 0) fail(ExitCode::internal, "{} bodies were wrong", sink.wrong);
}

void work(MpiRuntime& mpi, const SegmentTable& table, const Options& o, MPI_Win raw) {
  RmaWorkerFabric fabric(mpi, table, o.ring, 1, {});
  std::vector<std::vector<float>> segments;
  for (const Segment& segment : table)
    segments.emplace_back(static_cast<std::size_t>(segment.numel), static_cast<float>(segment.id.value()));
  const double bytes = static_cast<double>(table.parameters()) * sizeof(float);
  std::vector<double> raw_s, push_s;
  for (int round = 0; round < o.rounds + 1; ++round) {
    COS2P_MPI(MPI_Barrier, MPI_COMM_WORLD);
    double start = monotonic_seconds();
    MPI_Aint offset = 0;
    for (const auto& segment : segments) {
      const int count = static_cast<int>(segment.size() * sizeof(float));
      COS2P_MPI(MPI_Put, segment.data(), count, MPI_BYTE, 0, offset, count, MPI_BYTE, raw);
      COS2P_MPI(MPI_Win_flush, 0, raw);
      offset += count;
    }
    raw_s.push_back(monotonic_seconds() - start);
    COS2P_MPI(MPI_Send, nullptr, 0, MPI_BYTE, 0, kDone, MPI_COMM_WORLD);
    COS2P_MPI(MPI_Barrier, MPI_COMM_WORLD);
    start = monotonic_seconds();
    for (std::size_t i = 0; i < segments.size(); ++i) {
      MessageHeader header;
      header.segment = static_cast<std::int32_t>(i);
      header.body_bytes = static_cast<std::int64_t>(segments[i].size() * sizeof(float));
      const auto* data = reinterpret_cast<const std::byte*>(segments[i].data());
      if (!fabric.channel().push(
              header, {Span<const std::byte>(data, static_cast<std::size_t>(header.body_bytes))})) {
        fail(ExitCode::no_workers, "the server is gone");
      }
    }
    push_s.push_back(monotonic_seconds() - start);
    COS2P_MPI(MPI_Send, nullptr, 0, MPI_BYTE, 0, kDone, MPI_COMM_WORLD);
    if (round == 0) {  // warms everything up
      raw_s.clear();
      push_s.clear();
      continue;
    }
    std::printf("round %2d: raw MPI_Put + flush %6.2f GB/s   push %6.2f GB/s\n", round,
                bytes / raw_s.back() / 1e9, bytes / push_s.back() / 1e9);
  }
  std::printf(
      "%.0f MB: raw %.2f GB/s, push %.2f GB/s, ratio %.3f (medians of %d); ring full for %.0f ms in all\n",
      bytes / 1e6, bytes / median(raw_s) / 1e9, bytes / median(push_s) / 1e9, median(raw_s) / median(push_s),
      o.rounds, fabric.channel().stats().waiting_s * 1e3);
  std::fflush(stdout);
}

}  // namespace

int main(int argc, char** argv) {
  const Options options = parse(argc, argv);
  const LaunchInfo launch = launch_info();
  if (launch.ranks != 2) {
    std::fprintf(stderr, "bench_push runs on two ranks (a server and a worker): mpirun -n 2 bench_push\n");
    return 2;
  }
  prepare_mpi_environment(launch);
  MpiRuntime mpi(argc, argv);
  try {
    ModelOptions model = model_preset(options.preset);
    model.image_height = model.image_width = 224;
    model.patch = 16;
    model.channels = 3;
    model.classes = 1000;
    model.exits = {model.blocks - 1};
    model.validate();
    const SegmentTable table(model);
    // The reference: a window as large as the model, touched by its owner.
    const MPI_Aint bytes =
        mpi.rank() == 0 ? static_cast<MPI_Aint>(table.parameters() * static_cast<std::int64_t>(sizeof(float)))
                        : 0;
    void* memory = nullptr;
    MPI_Win raw = MPI_WIN_NULL;
    COS2P_MPI(MPI_Win_allocate, bytes, 1, MPI_INFO_NULL, MPI_COMM_WORLD, static_cast<void*>(&memory), &raw);
    if (bytes > 0) std::memset(memory, 1, static_cast<std::size_t>(bytes));
    COS2P_MPI(MPI_Win_lock_all, MPI_MODE_NOCHECK, raw);
    if (mpi.rank() == 0) {
      serve(mpi, table, options);
    } else {
      work(mpi, table, options, raw);
    }
    COS2P_MPI(MPI_Win_unlock_all, raw);
    COS2P_MPI(MPI_Win_free, &raw);
    mpi.finish(true);
  } catch (const Error& error) {
    std::fprintf(stderr, "rank %d: %s\n", mpi.rank(), error.what());
    mpi.abort(static_cast<int>(error.code()));
  }
  return 0;
}
