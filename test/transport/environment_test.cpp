// What is read from the launcher and chosen for MPI; nothing here starts MPI.
#include <boost/test/unit_test.hpp>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <fstream>
#include <map>
#include <string>

#include "cos2p/support/clock.hpp"
#include "cos2p/transport/backoff.hpp"
#include "cos2p/transport/mpi_runtime.hpp"
#include "mpi_version.hpp"

using namespace cos2p;

namespace {

// Sets variables for one test, and clears all that the code under test looks at.
struct Environment {
  explicit Environment(const std::map<std::string, std::string>& wanted) {
    clear();
    for (const auto& [name, value] : wanted) setenv(name.c_str(), value.c_str(), 1);
  }
  ~Environment() { clear(); }
  Environment(const Environment&) = delete;
  Environment& operator=(const Environment&) = delete;

  static void clear() {
    for (const char* name : {"OMPI_COMM_WORLD_RANK",
                             "OMPI_COMM_WORLD_SIZE",
                             "OMPI_COMM_WORLD_LOCAL_RANK",
                             "OMPI_COMM_WORLD_LOCAL_SIZE",
                             "PMI_RANK",
                             "PMI_SIZE",
                             "PMIX_RANK",
                             "SLURM_STEP_ID",
                             "SLURM_STEP_NUM_TASKS",
                             "SLURM_NTASKS",
                             "SLURM_LOCALID",
                             "SLURM_STEP_NUM_NODES",
                             "SLURM_STEP_TASKS_PER_NODE",
                             "OMPI_MCA_orte_enable_recovery",
                             "COS2P_RECOVERY_ENABLED",
                             "OMPI_MCA_pml",
                             "OMPI_MCA_osc",
                             "OMPI_MCA_btl_tcp_sndbuf",
                             "OMPI_MCA_btl_tcp_rcvbuf",
                             "OMPI_MCA_mpi_yield_when_idle",
                             "OMPI_MCA_osc_rdma_priority",
                             "COS2P_EXIT_CODE_FILE"}) {
      unsetenv(name);
    }
  }
};

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

}  // namespace

BOOST_AUTO_TEST_CASE(without_a_launcher_there_is_one_rank) {
  const Environment environment({});
  const LaunchInfo info = launch_info();
  BOOST_TEST(info.rank == 0);
  BOOST_TEST(info.ranks == 1);
  BOOST_TEST(!info.several_hosts());
  BOOST_TEST(!info.recovery_enabled);
}

BOOST_AUTO_TEST_CASE(open_mpis_mpirun_is_understood) {
  const Environment environment({{"OMPI_COMM_WORLD_RANK", "3"},
                                 {"OMPI_COMM_WORLD_SIZE", "8"},
                                 {"OMPI_COMM_WORLD_LOCAL_RANK", "1"},
                                 {"OMPI_COMM_WORLD_LOCAL_SIZE", "2"},
                                 {"OMPI_MCA_orte_enable_recovery", "1"}});
  const LaunchInfo info = launch_info();
  BOOST_TEST(info.rank == 3);
  BOOST_TEST(info.ranks == 8);
  BOOST_TEST(info.local_rank == 1);
  BOOST_TEST(info.local_ranks == 2);
  BOOST_TEST(info.several_hosts());
  BOOST_TEST(info.recovery_enabled);
}

BOOST_AUTO_TEST_CASE(who_starts_mpirun_may_say_that_a_dead_rank_ends_nothing) {
  const Environment environment({{"OMPI_COMM_WORLD_SIZE", "2"}, {"COS2P_RECOVERY_ENABLED", "1"}});
  BOOST_TEST(launch_info().recovery_enabled);
}

BOOST_AUTO_TEST_CASE(slurms_srun_is_understood) {
  {
    const Environment environment({{"PMIX_RANK", "1"},
                                   {"SLURM_STEP_ID", "0"},
                                   {"SLURM_STEP_NUM_TASKS", "4"},
                                   {"SLURM_LOCALID", "1"},
                                   {"SLURM_STEP_NUM_NODES", "2"},
                                   {"SLURM_STEP_TASKS_PER_NODE", "2(x2)"}});
    const LaunchInfo info = launch_info();
    BOOST_TEST(info.ranks == 4);
    BOOST_TEST(info.local_ranks == 2);
    BOOST_TEST(info.several_hosts());
  }
  // A batch script itself has Slurm's variables, but is no rank.
  const Environment environment({{"SLURM_NTASKS", "4"}, {"SLURM_LOCALID", "0"}});
  BOOST_TEST(launch_info().ranks == 1);
}

BOOST_AUTO_TEST_CASE(one_host_gets_shared_memory) {
  const Environment environment({});
  LaunchInfo launch;
  launch.ranks = launch.local_ranks = 1;
  const std::string line = prepare_mpi_environment(launch);
  BOOST_TEST(line.find("one host, osc_rdma_priority=90") != std::string::npos, line);
  BOOST_TEST(variable("OMPI_MCA_osc").empty());
}

BOOST_AUTO_TEST_CASE(several_hosts_get_what_works_over_tcp_unless_the_user_chose) {
  LaunchInfo launch;
  launch.ranks = 4;
  launch.local_ranks = 1;
  {
    const Environment environment({});
    const std::string line = prepare_mpi_environment(launch);
    BOOST_TEST(variable("OMPI_MCA_pml") == "ob1");
    BOOST_TEST(variable("OMPI_MCA_btl_tcp_sndbuf") == "4194304");
    BOOST_TEST(!variable("OMPI_MCA_osc").empty());
    BOOST_TEST(line.find("several hosts, pml=ob1, osc=") != std::string::npos, line);
  }
  const Environment environment(
      {{"OMPI_MCA_osc", "ucx"}, {"OMPI_COMM_WORLD_RANK", "0"}, {"OMPI_COMM_WORLD_SIZE", "4"}});
  const std::string line = prepare_mpi_environment(launch);
  BOOST_TEST(variable("OMPI_MCA_osc") == "ucx");
  BOOST_TEST(line.find("osc=ucx (as set)") != std::string::npos, line);
}

BOOST_AUTO_TEST_CASE(versions_are_told_apart) {
  BOOST_TEST(open_mpi_major("Open MPI 4.1.4") == 4);
  BOOST_TEST(open_mpi_major("Open MPI 5.0.1") == 5);
  BOOST_TEST(open_mpi_major("MPICH Version: 4.0.2") == 0);
}

BOOST_AUTO_TEST_CASE(only_the_server_records_its_exit_code) {
  const std::string path = "exit_code_of_the_test";
  std::remove(path.c_str());
  {
    const Environment environment(
        {{"COS2P_EXIT_CODE_FILE", path}, {"OMPI_COMM_WORLD_RANK", "1"}, {"OMPI_COMM_WORLD_SIZE", "2"}});
    record_exit_code(3);
    BOOST_TEST(!std::ifstream(path).good());
  }
  const Environment environment(
      {{"COS2P_EXIT_CODE_FILE", path}, {"OMPI_COMM_WORLD_RANK", "0"}, {"OMPI_COMM_WORLD_SIZE", "2"}});
  record_exit_code(5);
  int code = -1;
  std::ifstream(path) >> code;
  BOOST_TEST(code == 5);
  std::remove(path.c_str());
}

BOOST_AUTO_TEST_CASE(waiting_costs_less_than_a_tenth_of_a_core) {
  Backoff backoff;
  const double wall = monotonic_seconds();
  const std::clock_t cpu = std::clock();
  while (monotonic_seconds() - wall < 0.5) backoff.pause();
  const double used = static_cast<double>(std::clock() - cpu) / CLOCKS_PER_SEC;
  BOOST_TEST(used < 0.05);
}
