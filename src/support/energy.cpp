#include "cos2p/support/energy.hpp"

#include <dlfcn.h>
#include <fmt/format.h>

#include <algorithm>
#include <condition_variable>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <functional>
#include <limits>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "cos2p/support/clock.hpp"

namespace cos2p {
namespace {

namespace fs = std::filesystem;

constexpr double kSampleEvery_s = 0.1;

std::optional<double> number_in(const fs::path& path) {
  std::ifstream file(path);
  double value = 0;
  if (!(file >> value)) return std::nullopt;
  return value;
}

std::string line_in(const fs::path& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

/// What is in a directory, in the order of the names; nothing where there is no such directory.
std::vector<fs::path> entries(const fs::path& directory) {
  std::vector<fs::path> found;
  std::error_code error;
  for (fs::directory_iterator at(directory, error), end; !error && at != end; at.increment(error))
    found.push_back(at->path());
  std::sort(found.begin(), found.end());
  return found;
}

/// Gives the present power, W; or nothing where it cannot be read now.
using Power = std::function<std::optional<double>()>;

struct Rail {
  std::string name;
  Power power;
};

/// JetPack 5 and later: hwmon, mV and mA. JetPack 4: iio, mW.
std::vector<Rail> ina_rails(const std::string& root) {
  std::vector<Rail> rails;
  for (const fs::path& sensor : entries(root + "/sys/class/hwmon")) {
    if (line_in(sensor / "name") != "ina3221") continue;
    for (int channel = 1; channel <= 3; ++channel) {
      const fs::path volts = sensor / fmt::format("in{}_input", channel);
      const fs::path amperes = sensor / fmt::format("curr{}_input", channel);
      if (!number_in(volts) || !number_in(amperes)) continue;
      rails.push_back({line_in(sensor / fmt::format("in{}_label", channel)), [volts, amperes] {
                         const auto u = number_in(volts), i = number_in(amperes);
                         return u && i ? std::optional<double>(*u * *i * 1e-6) : std::nullopt;
                       }});
    }
  }
  for (const fs::path& chip : entries(root + "/sys/bus/i2c/drivers/ina3221x")) {
    for (const fs::path& sensor : entries(chip)) {
      if (sensor.filename().string().rfind("iio:device", 0) != 0) continue;
      for (int channel = 0; channel < 3; ++channel) {
        const fs::path milliwatts = sensor / fmt::format("in_power{}_input", channel);
        if (!number_in(milliwatts)) continue;
        rails.push_back({line_in(sensor / fmt::format("rail_name_{}", channel)), [milliwatts] {
                           const auto p = number_in(milliwatts);
                           return p ? std::optional<double>(*p * 1e-3) : std::nullopt;
                         }});
      }
    }
  }
  // VDD_IN, POM_5V_IN: what goes into the board; the other rails are parts of it.
  const auto board = std::find_if(rails.begin(), rails.end(), [](const Rail& rail) {
    return rail.name.size() > 3 && rail.name.compare(rail.name.size() - 3, 3, "_IN") == 0;
  });
  if (board != rails.end()) return {*board};
  return rails;
}

/// A counter of energy in some unit, which begins anew at `range` (0: never).
struct Counter {
  std::string name;
  std::function<std::optional<double>()> read;
  double unit_j = 1, range = 0;
  double last = 0;
};

std::vector<Counter> rapl_counters(const std::string& root) {
  std::vector<Counter> counters;
  for (const fs::path& zone : entries(root + "/sys/class/powercap")) {
    const std::string id = zone.filename().string();
    if (id.rfind("intel-rapl:", 0) != 0) continue;
    const std::string name = line_in(zone / "name");
    // intel-rapl:0 is a package; of its parts (intel-rapl:0:1) it contains all but the memory.
    const bool part = std::count(id.begin(), id.end(), ':') > 1;
    const bool counts = part ? name == "dram" : name.rfind("package", 0) == 0;
    const fs::path energy = zone / "energy_uj";
    const std::optional<double> now = number_in(energy);
    if (!counts || !now) continue;
    counters.push_back({"RAPL " + name, [energy] { return number_in(energy); }, 1e-6,
                        number_in(zone / "max_energy_range_uj").value_or(0), *now});
  }
  return counters;
}

/// The driver's library, of which four functions are used; their signatures are stable by its version
/// suffixes.
class Nvml {
 public:
  Nvml() : library_(::dlopen("libnvidia-ml.so.1", RTLD_NOW | RTLD_LOCAL)) {
    const auto init = function<int()>("nvmlInit_v2");
    const auto count = function<int(unsigned*)>("nvmlDeviceGetCount_v2");
    const auto handle = function<int(unsigned, void**)>("nvmlDeviceGetHandleByIndex_v2");
    energy_ = function<int(void*, unsigned long long*)>("nvmlDeviceGetTotalEnergyConsumption");
    unsigned gpus = 0;
    if (init == nullptr || count == nullptr || handle == nullptr || energy_ == nullptr || init() != 0 ||
        count(&gpus) != 0)
      return;
    for (unsigned i = 0; i < gpus; ++i) {
      void* device = nullptr;
      unsigned long long energy = 0;
      if (handle(i, &device) == 0 && energy_(device, &energy) == 0) devices_.push_back(device);
    }
  }
  ~Nvml() {
    if (const auto shutdown = function<int()>("nvmlShutdown"); shutdown != nullptr) shutdown();
    if (library_ != nullptr) ::dlclose(library_);
  }
  Nvml(const Nvml&) = delete;
  Nvml& operator=(const Nvml&) = delete;
  std::size_t gpus() const { return devices_.size(); }
  std::optional<double> millijoules() const {
    double sum = 0;
    for (void* device : devices_) {
      unsigned long long energy = 0;
      if (energy_(device, &energy) != 0) return std::nullopt;
      sum += static_cast<double>(energy);
    }
    return sum;
  }

 private:
  template <typename F>
  F* function(const char* name) const {
    return library_ == nullptr ? nullptr : reinterpret_cast<F*>(::dlsym(library_, name));
  }
  void* library_;
  int (*energy_)(void*, unsigned long long*) = nullptr;
  std::vector<void*> devices_;
};

}  // namespace

struct EnergyMeter::State {
  explicit State(const std::string& root) : rails(ina_rails(root)), counters(rapl_counters(root)) {
    if (gpus.gpus() > 0) {
      counters.push_back({fmt::format("NVML {} GPU{}", gpus.gpus(), gpus.gpus() > 1 ? "s" : ""),
                          [this] { return gpus.millijoules(); }, 1e-3, 0, gpus.millijoules().value_or(0)});
    }
    for (const Rail& rail : rails) add_name("INA3221 " + rail.name);
    for (const Counter& counter : counters) add_name(counter.name);
    if (names.empty()) return;
    sampled_s = monotonic_seconds();
    thread = std::thread([this] {
      std::unique_lock<std::mutex> lock(mutex);
      while (!wake.wait_for(lock, std::chrono::duration<double>(kSampleEvery_s), [this] { return ends; }))
        sample();
    });
  }
  ~State() {
    {
      const std::lock_guard<std::mutex> lock(mutex);
      ends = true;
    }
    wake.notify_all();
    if (thread.joinable()) thread.join();
  }

  void add_name(const std::string& name) { names += (names.empty() ? "" : ", ") + name; }

  /// With the mutex held.
  void sample() {
    const double now_s = monotonic_seconds();
    for (const Rail& rail : rails) joules += rail.power().value_or(0) * (now_s - sampled_s);
    sampled_s = now_s;
    for (Counter& counter : counters) {
      const std::optional<double> now = counter.read();
      if (!now) continue;
      const double step = *now - counter.last;
      joules += (step >= 0 ? step : step + counter.range) * counter.unit_j;
      counter.last = *now;
    }
  }

  Nvml gpus;
  std::vector<Rail> rails;
  std::vector<Counter> counters;
  std::string names;
  std::mutex mutex;
  std::condition_variable wake;
  bool ends = false;
  double joules = 0, sampled_s = 0;
  std::thread thread;
};

EnergyMeter::EnergyMeter(const std::string& root) : state_(std::make_unique<State>(root)) {}

EnergyMeter::~EnergyMeter() = default;

double EnergyMeter::joules() {
  if (state_->names.empty()) return std::numeric_limits<double>::quiet_NaN();
  const std::lock_guard<std::mutex> lock(state_->mutex);
  state_->sample();
  return state_->joules;
}

const std::string& EnergyMeter::sources() const {
  return state_->names;
}

}  // namespace cos2p
