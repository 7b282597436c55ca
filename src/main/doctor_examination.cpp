// What cos2p doctor looks at on each machine.
#include <H5public.h>
#include <fmt/format.h>
#include <torch/torch.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>

#include "cos2p/checkpoint/checkpoint.hpp"
#include "cos2p/model/device.hpp"
#include "cos2p/model/initial_values.hpp"
#include "cos2p/support/blas.hpp"
#include "cos2p/support/bytes.hpp"
#include "cos2p/support/clock.hpp"
#include "cos2p/support/energy.hpp"
#include "cos2p/support/error.hpp"
#include "cos2p/support/machine.hpp"
#include "doctor.hpp"
#include "version.hpp"

namespace cos2p::doctor {
namespace {

constexpr double kMiB = 1024.0 * 1024.0, kGiB = 1024 * kMiB;
constexpr double kLeastMemory = 1.5 * kGiB;  // what usable_memory() leaves for the system and the program
constexpr double kSlowDisk = 20e6;           // bytes/s: a checkpoint of ViT-B then takes 17 s
constexpr double kLeastDisk = 2 * kGiB;

std::string size_text(double bytes) {
  return format_bytes(bytes);
}

Finding look_at_cpu(const Machine& machine) {
  const std::string model = machine.cpu.empty() ? machine.architecture : machine.cpu;
  return {"CPU", fmt::format("{} ({}), {} cores to be used", model, machine.architecture, usable_cores()),
          fmt::format("{} cores", usable_cores()), Verdict::ok, ""};
}

Finding look_at_blas() {
  const BlasInfo blas = blas_info();
  Finding f{"BLAS", blas.library, blas.library.substr(0, blas.library.find(' ')), Verdict::ok, ""};
  if (!blas.kernels.empty()) {
    f.value += ", kernels " + blas.kernels;
    f.brief = blas.kernels;
  }
  if (!blas.cpu.empty()) f.value += fmt::format(" (the CPU has {})", blas.cpu);
  f.value += fmt::format(", {} threads", compute_threads());
  if (!blas.advice.empty()) {
    f.verdict = Verdict::warning;
    f.cure = blas.advice;
  }
  return f;
}

Finding look_at_gpu(const Machine& machine, const std::string& asked, int local_rank) {
  Finding f{"GPU", "none", "-", Verdict::ok, ""};
  if (!machine.gpu_driver.empty()) f.value = "driver " + machine.gpu_driver;
  try {
    const torch::Device device = choose_device(asked, local_rank);
    if (device.is_cuda()) {
      f.value = fmt::format("{} of {} through LibTorch, driver {}", device.str(), torch::cuda::device_count(),
                            machine.gpu_driver.empty() ? "unknown" : machine.gpu_driver);
      f.brief = device.str();
    } else if (!machine.gpu_driver.empty() && asked != "cpu") {
      f.value += ", but LibTorch cannot use it: the CPU will train";
      f.verdict = Verdict::warning;
      f.cure = "build against a LibTorch with CUDA (-DCMAKE_PREFIX_PATH=LIBTORCH), or say --device cpu";
    }
  } catch (const Error& error) {
    f.verdict = Verdict::bad;
    f.value = f.brief = "cannot be used";
    f.cure = error.what();
  }
  return f;
}

Finding look_at_energy() {
  const std::string sources = EnergyMeter().sources();
  return {"energy", sources.empty() ? "no sensor that may be read here, logged without" : sources, "",
          Verdict::ok, ""};
}

Finding look_at_board(const Machine& machine) {
  if (machine.board.empty()) return {"board", "no device tree (not a Jetson)", "-", Verdict::ok, ""};
  return {"board", machine.board, machine.board, Verdict::ok, ""};
}

Finding look_at_memory(const Machine& machine) {
  const auto available = static_cast<double>(machine.available);
  Finding f{"memory",
            fmt::format("{} available of {}, swap {}", size_text(available),
                        size_text(static_cast<double>(machine.memory)),
                        size_text(static_cast<double>(machine.swap))),
            size_text(available), Verdict::ok, ""};
  if (machine.available > 0 && available < kLeastMemory) {
    f.verdict = Verdict::warning;
    f.cure = fmt::format(
        "less than {} are free: end other programs (a desktop takes 1 GiB of a Jetson), or add swap",
        size_text(kLeastMemory));
  }
  return f;
}

/// The trial model as a run's checkpoint holds it, 10 MiB.
Checkpoint sample_checkpoint() {
  Checkpoint checkpoint;
  checkpoint.identity = {"doctor", kVersion, "1970-01-01T00:00:00Z", "none", {}};
  checkpoint.model = trial_model();
  const SegmentTable table(checkpoint.model);
  for (const Segment& segment : table) checkpoint.values.push_back(initial_values(segment, 0));
  checkpoint.segments.resize(static_cast<std::size_t>(table.size()));
  checkpoint.state.open_since_s.assign(checkpoint.segments.size(), -1);
  checkpoint.state.open_updates.assign(checkpoint.segments.size(), 0);
  return checkpoint;
}

Finding look_at_output(const std::string& output) {
  namespace fs = std::filesystem;
  Finding f{"output", "", "", Verdict::ok, ""};
  std::error_code error;
  const bool existed = fs::exists(output, error);
  fs::create_directories(output, error);
  const std::string directory = fmt::format("{}/doctor-{}", output, getpid());
  try {
    if (error) fail(ExitCode::environment, "{} cannot be made ({})", output, error.message());
    const Checkpoint checkpoint = sample_checkpoint();
    double bytes = 0;
    for (const auto& values : checkpoint.values) bytes += static_cast<double>(values.size() * sizeof(float));
    fs::create_directories(directory);
    double quickest = 1e9;
    for (int turn = 0; turn < 3; ++turn) {
      const double start = monotonic_seconds();
      write_checkpoint(directory, checkpoint);
      quickest = std::min(quickest, monotonic_seconds() - start);
    }
    const auto room = static_cast<double>(free_disk_bytes(output));
    f.brief = fmt::format("{:.0f} MB/s", bytes / quickest / 1e6);
    f.value = fmt::format("{}: a checkpoint of {} written and synced at {}, {} free", output,
                          size_text(bytes), f.brief, size_text(room));
    if (bytes / quickest < kSlowDisk || room < kLeastDisk) {
      f.verdict = Verdict::warning;
      f.cure = room < kLeastDisk
                   ? "make room, or choose another directory with --output"
                   : "choose a faster disk with --output, or save less often with --checkpoint-every";
    }
  } catch (const std::exception& failure) {
    f.verdict = Verdict::bad;
    f.value = fmt::format("{} cannot be written", output);
    f.brief = "fails";
    f.cure = failure.what();
  }
  fs::remove_all(directory, error);
  if (!existed) fs::remove(output, error);  // only where it is empty
  return f;
}

std::string hdf5_version() {
  unsigned major = 0, minor = 0, release = 0;
  H5get_libversion(&major, &minor, &release);
  return fmt::format("HDF5 {}.{}.{}", major, minor, release);
}

}  // namespace

ModelOptions trial_model() {
  ModelOptions model = model_preset("tiny");
  model.image_height = model.image_width = 32;
  model.channels = 3;
  model.patch = 4;
  model.validate();
  return model;
}

RankReport examine(const RunOptions& options, int rank, int local_rank) {
  const Machine machine = describe_machine();
  RankReport report;
  report.rank = rank;
  report.host = machine.host;
  report.version = kVersion;
  report.architecture = machine.architecture;
  report.libraries = fmt::format("{}, LibTorch {}, {}", mpi_library_version(), TORCH_VERSION, hdf5_version());
  report.findings = {look_at_cpu(machine),
                     look_at_blas(),
                     look_at_gpu(machine, options.device, local_rank),
                     look_at_board(machine),
                     look_at_memory(machine),
                     look_at_energy(),
                     rank == 0 ? look_at_output(options.output)
                               : Finding{"output", "only the server writes", "-", Verdict::ok, ""},
                     {"libraries", report.libraries, "", Verdict::ok, ""}};
  return report;
}

}  // namespace cos2p::doctor
