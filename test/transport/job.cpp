// A whole job without a model to train: workers push closed-form messages, the server checks them. The
// scripts beside this file start it under the real mpirun, kill parts of it, and look at what is left.
//   transport_job [--seconds S] [--linger S] [--kill RANK]... [--kill-workers] [--kill-server] [--silence S]
#include <signal.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <set>
#include <string>
#include <thread>

#include "contract.hpp"
#include "cos2p/support/clock.hpp"
#include "cos2p/support/error.hpp"
#include "cos2p/transport/backoff.hpp"
#include "cos2p/transport/mpi_runtime.hpp"

using namespace cos2p;
using namespace transport_test;

namespace {

struct Options {
  double seconds = 2;    // for which workers push
  double linger = 0;     // which the server takes to end after a signal
  double silence = 2;    // after which a worker gives up the server, and the server a worker
  std::set<int> killed;  // ranks that get SIGKILL half-way
};

volatile sig_atomic_t stop = 0;

Options parse(int argc, char** argv, int ranks) {
  Options o;
  for (int i = 1; i < argc; ++i) {
    const std::string name = argv[i];
    const auto value = [&] { return i + 1 < argc ? std::atof(argv[++i]) : 0; };
    if (name == "--seconds") o.seconds = value();
    if (name == "--linger") o.linger = value();
    if (name == "--silence") o.silence = value();
    if (name == "--kill") o.killed.insert(static_cast<int>(value()));
    if (name == "--kill-server") o.killed.insert(0);
    for (int rank = 1; name == "--kill-workers" && rank < ranks; ++rank) o.killed.insert(rank);
  }
  return o;
}

// SIGKILL from a thread, once the channels are made: it strikes wherever the rank happens to be, mostly in
// the middle of a push.
void arrange_death(int rank, const Options& o) {
  if (o.killed.count(rank) == 0) return;
  std::thread([seconds = o.seconds / 2] {
    std::this_thread::sleep_for(std::chrono::duration<double>(seconds));
    raise(SIGKILL);
  }).detach();
}

// Checks what arrives and keeps nothing.
struct CheckingSink : MessageSink {
  Verdict begin(WorkerRank, const MessageHeader& header, Buffer& body) override {
    body = heap_buffer(static_cast<std::size_t>(header.body_bytes));
    return Verdict::accept;
  }
  void deliver(Message message) override {
    ++delivered;
    if (!body_is_right(message)) ++wrong;
  }
  int delivered = 0, wrong = 0;
};

// What the server knows of a worker: the last time its heartbeat changed.
struct Watched {
  std::uint64_t heartbeat = 0;
  double changed_s = monotonic_seconds();
  bool gone = false, dead = false;
};

int serve(MpiRuntime& mpi, const Options& o) {
  const SegmentTable table(small_model());
  ModelStore store(table);
  RingOptions ring;
  ring.slots = 4;
  ring.slot_bytes = 64 << 10;
  RmaServerFabric fabric(mpi, store, ring, 1);
  arrange_death(0, o);
  std::printf("one-sided: %s\n", fabric.one_sided_component().c_str());
  std::fflush(stdout);
  CheckingSink sink;
  std::vector<Watched> workers(fabric.channels().size());
  std::size_t gone = 0, dead = 0;
  Backoff backoff;
  double stop_at = 0;
  while (gone < workers.size()) {
    fabric.progress();
    if (stop != 0 && stop_at == 0) stop_at = monotonic_seconds() + o.linger;
    if (stop_at > 0 && monotonic_seconds() >= stop_at) break;
    int taken = 0;
    for (std::size_t i = 0; i < workers.size(); ++i) {
      ServerChannel& channel = *fabric.channels()[i];
      Watched& w = workers[i];
      channel.heartbeat();
      if (w.gone) continue;
      const int now = channel.poll(sink, 8) + (channel.serve_pull(store) ? 1 : 0);
      taken += now;
      const double time = monotonic_seconds();
      if (channel.worker_heartbeat() != w.heartbeat || now > 0) {
        w.heartbeat = channel.worker_heartbeat();
        w.changed_s = time;
      }
      w.dead = now == 0 && time - w.changed_s > o.silence;
      if (w.dead) channel.abandon();
      w.gone = w.dead || (channel.closed_by_worker() && now == 0);
      gone += w.gone ? 1 : 0;
      dead += w.dead ? 1 : 0;
    }
    if (taken > 0) {
      backoff.reset();
    } else {
      backoff.pause();
    }
  }
  Notice notice;
  notice.phase = Notice::Phase::stopping;
  DropCounters sum;
  for (auto& channel : fabric.channels()) {
    channel->set_notice(notice);
    sum.truncated += channel->dropped().truncated;
    sum.corrupt += channel->dropped().corrupt + channel->dropped().duplicate + channel->dropped().malformed +
                   channel->dropped().rejected;
  }
  std::printf("delivered %d wrong %d dead %zu truncated %lld otherwise dropped %lld%s\n", sink.delivered,
              sink.wrong, dead, static_cast<long long>(sum.truncated), static_cast<long long>(sum.corrupt),
              stop != 0 ? " stopped by a signal" : "");
  std::fflush(stdout);
  const int code = sink.wrong > 0 ? 1 : dead == workers.size() ? static_cast<int>(ExitCode::no_workers) : 0;
  mpi.finish(dead == 0, code);
  return code;
}

int work(MpiRuntime& mpi, const Options& o) {
  const SegmentTable table(small_model());
  RingOptions ring;
  ring.slots = 4;
  ring.slot_bytes = 64 << 10;
  ring.silence_s = o.silence;
  RmaWorkerFabric fabric(mpi, table, ring, 1, {});
  arrange_death(mpi.rank(), o);
  WorkerChannel& channel = fabric.channel();
  const auto body = make_body(mpi.rank(), 3, 3 << 20);
  int pushed = 0;
  bool server_lives = true;
  for (const double until = monotonic_seconds() + o.seconds; server_lives && monotonic_seconds() < until;) {
    channel.heartbeat();
    server_lives = channel.push(make_header(mpi.rank(), 3, body.size()), {Span<const std::byte>(body)});
    pushed += server_lives ? 1 : 0;
  }
  const bool stopping = channel.read_notice().phase == Notice::Phase::stopping;
  channel.close();
  std::printf("worker %d pushed %d%s\n", mpi.rank(), pushed,
              server_lives || stopping ? "" : ", server silent");
  std::fflush(stdout);
  const int code = server_lives || stopping ? 0 : static_cast<int>(ExitCode::no_workers);
  mpi.finish(code == 0, code);
  return code;
}

}  // namespace

int main(int argc, char** argv) {
  const LaunchInfo launch = launch_info();
  const Options options = parse(argc, argv, launch.ranks);
  prepare_mpi_environment(launch);
  signal(SIGTERM, [](int) { stop = 1; });
  MpiRuntime mpi(argc, argv);
  int code = 1;
  try {
    code = mpi.rank() == 0 ? serve(mpi, options) : work(mpi, options);
  } catch (const Error& error) {
    std::fprintf(stderr, "rank %d: %s\n", mpi.rank(), error.what());
    mpi.abort(static_cast<int>(error.code()));
  }
  std::fflush(stdout);
  std::_Exit(code);
}
