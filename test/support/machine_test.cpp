// What the system's files tell about a machine, on files as several boards have them.
#include "cos2p/support/machine.hpp"

#include <boost/test/unit_test.hpp>
#include <filesystem>
#include <fstream>

using namespace cos2p;

namespace {

struct Root {
  Root() { std::filesystem::create_directories(path); }
  ~Root() { std::filesystem::remove_all(path); }
  Root(const Root&) = delete;
  Root& operator=(const Root&) = delete;
  Root(Root&&) = delete;
  Root& operator=(Root&&) = delete;
  void write(const std::string& name, const std::string& text) const {
    const std::filesystem::path file = path + "/" + name;
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file) << text;
  }
  std::string path = "machine-root";
};

}  // namespace

BOOST_AUTO_TEST_CASE(a_jetson_is_known_by_its_device_tree) {
  const Root root;
  root.write("proc/device-tree/model", std::string("NVIDIA Jetson Orin Nano Developer Kit\0", 38));
  root.write("etc/nv_tegra_release",
             "# R36 (release), REVISION: 3.0, GCID: 36191598, BOARD: generic, EABI: aarch64\n");
  root.write("proc/meminfo",
             "MemTotal:        7802128 kB\nMemFree:  500000 kB\nMemAvailable:    6000000 kB\nSwapTotal: "
             "3901056 kB\n");
  const Machine m = describe_machine(root.path);
  BOOST_TEST(m.board == "NVIDIA Jetson Orin Nano Developer Kit");
  BOOST_TEST(m.gpu_driver == "L4T R36.3.0");
  BOOST_TEST(m.memory == 7802128ULL * 1024);
  BOOST_TEST(m.available == 6000000ULL * 1024);
  BOOST_TEST(m.swap == 3901056ULL * 1024);
  BOOST_TEST(m.cpu.empty());
}

BOOST_AUTO_TEST_CASE(a_server_by_its_processor_and_driver) {
  const Root root;
  root.write("proc/cpuinfo",
             "processor\t: 0\nmodel name\t: AMD EPYC 7543 32-Core Processor\nflags\t\t: fpu\n");
  root.write("proc/driver/nvidia/version",
             "NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.15  Tue Mar  5 22:23:56 UTC 2024\nGCC "
             "version: 12\n");
  const Machine m = describe_machine(root.path);
  BOOST_TEST(m.cpu == "AMD EPYC 7543 32-Core Processor");
  BOOST_TEST(m.gpu_driver == "550.54.15");
  BOOST_TEST(m.board.empty());
  BOOST_TEST(m.memory == 0U);
}

BOOST_AUTO_TEST_CASE(nothing_is_known_where_there_are_no_files_and_nothing_fails) {
  const Machine m = describe_machine("no-such-root");
  BOOST_TEST(m.cpu.empty());
  BOOST_TEST(m.gpu_driver.empty());
  BOOST_TEST(m.memory == 0U);
  BOOST_TEST(!m.architecture.empty());
  BOOST_TEST(free_disk_bytes("no-such-directory") == 0U);
}

BOOST_AUTO_TEST_CASE(this_machine_has_memory_and_room) {
  const Machine m = describe_machine();
  BOOST_TEST(m.memory > 0U);
  BOOST_TEST(m.available <= m.memory);
  BOOST_TEST(!m.host.empty());
  BOOST_TEST(free_disk_bytes(".") > 0U);
  BOOST_TEST(wall_clock_seconds() > 1.7e9);
}
