#include <mpi.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "cos2p/transport/mpi_runtime.hpp"
#include "mpi_version.hpp"

namespace cos2p {

namespace {

// The first of the variables that holds a number, or `otherwise`.
int number_of(std::initializer_list<const char*> names, int otherwise) {
  for (const char* name : names) {
    const char* value = std::getenv(name);
    if (value == nullptr) continue;
    char* end = nullptr;
    const long number = std::strtol(value, &end, 10);
    if (end != value && number >= 0) return static_cast<int>(number);
  }
  return otherwise;
}

bool is_set(const char* name) {
  return std::getenv(name) != nullptr;
}

}  // namespace

std::string mpi_library_version() {
  char text[MPI_MAX_LIBRARY_VERSION_STRING] = {};
  int length = 0;
  MPI_Get_library_version(text, &length);  // allowed before MPI_Init
  std::string version(text, static_cast<std::size_t>(length));
  version = version.substr(0, version.find_first_of(",\n"));
  const std::size_t v = version.find("Open MPI v");
  return v == std::string::npos ? version : "Open MPI " + version.substr(v + std::strlen("Open MPI v"));
}

int open_mpi_major(const std::string& version) {
  const std::string name = "Open MPI ";
  return version.compare(0, name.size(), name) == 0 ? std::atoi(version.c_str() + name.size()) : 0;
}

LaunchInfo launch_info() {
  LaunchInfo info;
  // mpirun of Open MPI; a PMIx launcher such as srun; mpiexec of MPICH.
  const bool by_slurm = is_set("PMIX_RANK") && is_set("SLURM_STEP_ID") && !is_set("OMPI_COMM_WORLD_SIZE");
  if (by_slurm) {
    info.rank = number_of({"PMIX_RANK"}, 0);
    info.ranks = number_of({"SLURM_STEP_NUM_TASKS", "SLURM_NTASKS"}, 1);
    info.local_rank = number_of({"SLURM_LOCALID"}, 0);
    // "2(x3),1": the first number is right for the first hosts; what matters is whether there are several
    // hosts.
    const bool several = number_of({"SLURM_STEP_NUM_NODES", "SLURM_NNODES"}, 1) > 1;
    info.local_ranks =
        several ? number_of({"SLURM_STEP_TASKS_PER_NODE", "SLURM_TASKS_PER_NODE"}, 1) : info.ranks;
  } else {
    info.rank = number_of({"OMPI_COMM_WORLD_RANK", "PMI_RANK"}, 0);
    info.ranks = number_of({"OMPI_COMM_WORLD_SIZE", "PMI_SIZE"}, 1);
    info.local_rank = number_of({"OMPI_COMM_WORLD_LOCAL_RANK", "MPI_LOCALRANKID"}, 0);
    info.local_ranks = number_of({"OMPI_COMM_WORLD_LOCAL_SIZE", "MPI_LOCALNRANKS"}, info.ranks);
  }
  // mpirun of Open MPI 4 tells its ranks about --enable-recovery; that of Open MPI 5 does not, its starter
  // must.
  info.recovery_enabled = number_of({"OMPI_MCA_orte_enable_recovery", "COS2P_RECOVERY_ENABLED"}, 0) != 0;
  return info;
}

std::string prepare_mpi_environment(const LaunchInfo& launch) {
  const std::string version = mpi_library_version();
  const int major = open_mpi_major(version);
  std::vector<std::pair<const char*, const char*>> wanted;
  std::string why;
  if (major == 0) {
    return version + ": nothing chosen (the parameters known here are those of Open MPI)";
  }
  if (!launch.several_hosts()) {
    why = "one host";
    // Below osc/sm: rings are then plain shared memory; osc/rdma still carries the window over the model.
    wanted = {{"OMPI_MCA_osc_rdma_priority", "90"}};
  } else {
    why = "several hosts";
    wanted = {{"OMPI_MCA_pml", "ob1"},
              {"OMPI_MCA_osc", major < 5 ? "sm,pt2pt" : "sm,rdma"},
              {"OMPI_MCA_btl_tcp_sndbuf", "4194304"},
              {"OMPI_MCA_btl_tcp_rcvbuf", "4194304"}};
  }
  if (launch.local_ranks > static_cast<int>(std::thread::hardware_concurrency())) {
    wanted.emplace_back("OMPI_MCA_mpi_yield_when_idle", "1");
  }
  std::string line = version + ": " + why;
  for (const auto& [name, value] : wanted) {
    const bool by_user = is_set(name);
    if (!by_user) setenv(name, value, 0);
    line += std::string(", ") + (name + std::strlen("OMPI_MCA_")) + "=" +
            (by_user ? std::getenv(name) : value) + (by_user ? " (as set)" : "");
  }
  return line;
}

}  // namespace cos2p
