// The real server with workers that push ViT-B (86 M parameters) without training.
//   latency: mpirun -n 2 bench_server latency   time from a worker's first byte to the last segment merged
//   and published,
//            against one memcpy of the same bytes in the same run. Expectation: the push hides behind the
//            server's copy, check and merge, about 3 memcpys; at most 5.
//   memory:  mpirun -n 9 bench_server memory    the server's memory while 8 workers push 200 whole models,
//   against the
//            model's bytes. Expectation: model 1x, staging 0.75x, sums at most 2x, rings 7 MiB a worker;
//            flat.
#include <mpi.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <thread>

#include "cos2p/server/server_loop.hpp"
#include "cos2p/support/clock.hpp"
#include "cos2p/support/memory.hpp"
#include "cos2p/transport/mpi_runtime.hpp"

using namespace cos2p;

namespace {

SegmentTable base_table() {
  ModelOptions options = model_preset("base");
  options.image_height = options.image_width = 224;
  options.channels = 3;
  options.patch = 16;
  options.classes = 1000;
  options.exits = {options.blocks - 1};
  options.validate();
  return SegmentTable(options);
}

void nap() {
  std::this_thread::sleep_for(std::chrono::microseconds(50));
}

double model_mib(const SegmentTable& table) {
  return static_cast<double>(table.parameters()) * 4 / (1 << 20);
}

void serve(MpiRuntime& mpi, const SegmentTable& table, PolicyKind policy, int rounds, bool memory) {
  const int workers = mpi.size() - 1;
  ModelStore store(table);
  for (const Segment& segment : table)
    store.restore(segment.id, std::vector<float>(static_cast<std::size_t>(segment.numel), 0.0F), 0);
  const auto largest = static_cast<std::size_t>(table.largest_segment()) * sizeof(float) + (64U << 10);
  StagingPool pool(std::max<std::size_t>(static_cast<std::size_t>(table.parameters()) * 3,
                                         (static_cast<std::size_t>(workers) + 1) * largest));
  ServerCore::Setup setup;
  setup.policy.kind = policy;
  setup.policy.staleness_bound = 1000;
  setup.rounds = rounds;
  for (int c = 0; c < workers; ++c) {
    ClientRecord record;
    record.samples = 100;
    record.assignment = full_assignment(table.options());
    setup.clients.push_back(record);
  }
  ServerCore core(table, store, std::move(setup));
  RmaServerFabric fabric(mpi, store, {}, 1);
  ImageSet no_images;
  no_images.channels = 3;
  const ImageSamples nothing(no_images, {{0.5F, 0.5F, 0.5F}, {0.5F, 0.5F, 0.5F}}, {});
  Evaluator evaluator(table, nothing, "cpu", 1);
  const std::string output = (std::filesystem::temp_directory_path() / "cos2p-bench-server").string();
  std::filesystem::create_directories(output);
  RoundLog log(output, rounds, true, {}, 0);
  ServerLoopOptions options;
  options.output = output;
  options.evaluate_every = options.checkpoint_every = 0;
  options.final_checkpoint = false;
  ServerLoopHooks hooks;
  std::vector<double> resident;
  hooks.progress = [&] {
    fabric.progress();
    if (memory && core.round() > static_cast<int>(resident.size()))
      resident.push_back(static_cast<double>(resident_bytes()) / (1 << 20));
  };
  hooks.stop_requested = [] { return false; };
  hooks.worker_of = [](ClientId client) { return client.value() + 1; };
  const double before = static_cast<double>(resident_bytes()) / (1 << 20) -
                        model_mib(table);  // program and rings, without the model
  run_server(core, pool, fabric.channels(), evaluator, log, options, hooks);
  std::filesystem::remove_all(output);
  if (memory && resident.size() > 10) {
    const double model = model_mib(table), tenth = resident[9], last = resident.back(),
                 most = *std::max_element(resident.begin(), resident.end());
    std::printf(
        "%s, %d workers, %d updates: model %.0f MiB; server after the tenth round %.0f MiB, at the end %.0f "
        "MiB, at most %.0f MiB\n",
        to_string(policy).c_str(), workers, rounds * (policy == PolicyKind::sync ? workers : 1), model, tenth,
        last, most);
    std::printf("  above the program's own %.0f MiB: %.2fx the model (limit 4x + 8 MiB a worker = %.2fx)\n",
                before, (most - before) / model, 4 + 8.0 * workers / model);
  }
}

void work(MpiRuntime& mpi, const SegmentTable& table, int rounds, bool latency) {
  RmaWorkerFabric fabric(mpi, table, {}, 1, nap);
  WorkerChannel& channel = fabric.channel();
  std::vector<std::vector<float>> values;
  for (const Segment& segment : table) values.emplace_back(static_cast<std::size_t>(segment.numel), 0.5F);
  while (channel.read_notice().phase == Notice::Phase::starting) nap();
  std::vector<double> pushes, wholes, copies;
  std::vector<float> copy;
  static constexpr std::byte kPadding[64] = {};
  bool open = true;
  for (int round = 0; open && channel.read_notice().phase == Notice::Phase::running; ++round) {
    channel.heartbeat();
    const std::vector<std::uint64_t> before = channel.read_versions();
    const double start = monotonic_seconds();
    for (const Segment& segment : table) {
      const std::vector<std::uint8_t> bitmap =
          segment.units > 0 ? UnitSet::all(segment.units).bitmap() : std::vector<std::uint8_t>();
      const auto& own = values[static_cast<std::size_t>(segment.id.value())];
      MessageHeader header;
      header.client = mpi.rank() - 1;
      header.client_round = round;
      header.segment = segment.id.value();
      header.base_version = before[static_cast<std::size_t>(segment.id.value())];
      header.bitmap_bytes = static_cast<std::int64_t>(bitmap.size());
      header.body_bytes = values_offset(header.bitmap_bytes) + segment.bytes();
      open = channel.push(
          header,
          {{reinterpret_cast<const std::byte*>(bitmap.data()), bitmap.size()},
           {kPadding, static_cast<std::size_t>(values_offset(header.bitmap_bytes) - header.bitmap_bytes)},
           {reinterpret_cast<const std::byte*>(own.data()), own.size() * sizeof(float)}});
      if (!open) break;
    }
    pushes.push_back(monotonic_seconds() - start);
    if (latency && open) {
      const auto published = [&] {
        const std::vector<std::uint64_t> now = channel.read_versions();
        for (std::size_t i = 0; i < now.size(); ++i) {
          if (now[i] == before[i]) return false;
        }
        return true;
      };
      while (!published()) nap();
      wholes.push_back(monotonic_seconds() - start);
      double seconds = 0;
      copy.resize(static_cast<std::size_t>(table.parameters()));
      {
        const ScopedTimer timer(seconds);
        std::size_t offset = 0;
        for (const auto& own : values) {
          std::memcpy(copy.data() + offset, own.data(), own.size() * sizeof(float));
          offset += own.size();
        }
      }
      copies.push_back(seconds);
    }
    RoundReport report;
    report.samples = 1;
    MessageHeader header;
    header.kind = MessageKind::round_report;
    header.client = mpi.rank() - 1;
    header.client_round = round;
    header.body_bytes = sizeof report;
    open = open && channel.push(header, {{reinterpret_cast<const std::byte*>(&report), sizeof report}});
  }
  channel.close();
  if (!latency || wholes.size() < 3 || static_cast<int>(wholes.size()) < rounds) return;
  const auto median = [](std::vector<double> v) {
    v.erase(v.begin());  // the first touches fresh memory
    std::sort(v.begin(), v.end());
    return v[v.size() / 2];
  };
  std::printf(
      "%.0f MiB: push %.1f ms, to merged and published %.1f ms, one memcpy %.1f ms: ratio %.2f (limit 5), "
      "median of %zu\n",
      model_mib(table), 1e3 * median(pushes), 1e3 * median(wholes), 1e3 * median(copies),
      median(wholes) / median(copies), wholes.size() - 1);
}

}  // namespace

int main(int argc, char** argv) {
  std::string mode;
  std::string policy = "async";
  int rounds = 0;
  CLI::App app{"The real server under pushes of ViT-B"};
  app.add_option("mode", mode, "latency or memory")->required()->check(CLI::IsMember({"latency", "memory"}));
  app.add_option("--policy", policy, "sync or async (memory)")->check(CLI::IsMember({"sync", "async"}));
  app.add_option("--rounds", rounds, "rounds (latency: 12; memory: 200 updates)");
  CLI11_PARSE(app, argc, argv);
  const bool latency = mode == "latency";
  const LaunchInfo launch = launch_info();
  prepare_mpi_environment(launch);
  MpiRuntime mpi(argc, argv);
  const PolicyKind kind = policy == "sync" ? PolicyKind::sync : PolicyKind::async;
  if (rounds == 0)
    rounds = latency ? 12 : (kind == PolicyKind::sync ? 200 / std::max(1, mpi.size() - 1) : 200);
  const SegmentTable table = base_table();
  if (mpi.rank() == 0) {
    serve(mpi, table, kind, rounds, !latency);
  } else {
    work(mpi, table, rounds, latency);
  }
  std::fflush(stdout);
  mpi.finish(true, 0);
  std::_Exit(0);
}
