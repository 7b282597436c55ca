#include "cos2p/support/energy.hpp"

#include <boost/test/unit_test.hpp>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <thread>

using namespace cos2p;
namespace fs = std::filesystem;

namespace {

/// A /sys of the test's own.
class System {
 public:
  System() {
    std::string path = (fs::temp_directory_path() / "cos2p-energy.XXXXXX").string();
    BOOST_REQUIRE(::mkdtemp(path.data()) != nullptr);
    root_ = path;
  }
  ~System() { fs::remove_all(root_); }
  void put(const std::string& path, const std::string& text) const {
    const fs::path file = root_ / "sys" / path;
    fs::create_directories(file.parent_path());
    std::ofstream(file) << text << "\n";
  }
  std::string root() const { return root_.string(); }

 private:
  fs::path root_;
};

void rail(const System& system, const std::string& at, int channel, const std::string& name, int mv, int ma) {
  const std::string i = std::to_string(channel);
  system.put(at + "/in" + i + "_label", name);
  system.put(at + "/in" + i + "_input", std::to_string(mv));
  system.put(at + "/curr" + i + "_input", std::to_string(ma));
}

}  // namespace

BOOST_AUTO_TEST_CASE(where_nothing_tells_there_is_no_energy) {
  const System system;
  EnergyMeter meter(system.root());
  BOOST_TEST(meter.sources().empty());
  BOOST_TEST(std::isnan(meter.joules()));
}

BOOST_AUTO_TEST_CASE(a_jetson_s_board_is_one_rail_and_its_power_is_added_up_over_time) {
  const System system;
  const std::string sensor = "class/hwmon/hwmon3";
  system.put(sensor + "/name", "ina3221");
  rail(system, sensor, 1, "VDD_IN", 5000, 2000);  // 10 W
  rail(system, sensor, 2, "VDD_CPU_GPU_CV", 5000, 900);
  system.put("class/hwmon/hwmon0/name", "tmp451");
  EnergyMeter meter(system.root());
  BOOST_TEST(meter.sources() == "INA3221 VDD_IN");
  const auto begun = std::chrono::steady_clock::now();
  const double before = meter.joules();
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  const double joules = meter.joules() - before;
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count();
  BOOST_TEST(joules >= 3.0 * 0.99);
  BOOST_TEST(joules <= 10 * seconds);
}

BOOST_AUTO_TEST_CASE(a_jetson_without_a_rail_for_the_board_is_the_sum_of_its_rails) {
  const System system;
  const std::string sensor = "bus/i2c/drivers/ina3221x/1-0040/iio:device0";
  for (int i = 0; i < 2; ++i) {
    system.put(sensor + "/rail_name_" + std::to_string(i), i == 0 ? "GPU" : "CPU");
    system.put(sensor + "/in_power" + std::to_string(i) + "_input", "4000");  // mW
  }
  EnergyMeter meter(system.root());
  BOOST_TEST(meter.sources() == "INA3221 GPU, INA3221 CPU");
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
  BOOST_TEST(meter.joules() >= 8 * 0.2 * 0.99);
}

BOOST_AUTO_TEST_CASE(rapl_counts_packages_and_memory_over_the_end_of_its_range) {
  const System system;
  const auto zone = [&](const std::string& id, const std::string& name, const std::string& energy) {
    system.put("class/powercap/" + id + "/name", name);
    system.put("class/powercap/" + id + "/energy_uj", energy);
    system.put("class/powercap/" + id + "/max_energy_range_uj", "10000000");
  };
  zone("intel-rapl:0", "package-0", "9000000");
  zone("intel-rapl:0:0", "core", "5000000");  // a part of the package
  zone("intel-rapl:0:1", "dram", "1000000");
  zone("intel-rapl:1", "psys", "1000000");  // the whole machine, with the package once more
  EnergyMeter meter(system.root());
  BOOST_TEST(meter.sources() == "RAPL package-0, RAPL dram");
  BOOST_TEST(meter.joules() == 0.0);
  zone("intel-rapl:0", "package-0", "1000000");  // 2 J later, past the end
  zone("intel-rapl:0:0", "core", "6000000");
  zone("intel-rapl:0:1", "dram", "1500000");
  BOOST_TEST(meter.joules() == 2.5, boost::test_tools::tolerance(1e-9));
}
