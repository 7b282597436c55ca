// The contract on MPI windows: rank 0 is the server, every other rank a worker.
#include <dlfcn.h>
#include <unistd.h>

#include <boost/test/data/test_case.hpp>
#include <chrono>
#include <cstdio>
#include <ctime>
#include <memory>
#include <string>
#include <thread>

#include "contract.hpp"
#include "cos2p/support/clock.hpp"
#include "cos2p/support/error.hpp"
#include "cos2p/transport/mpi_call.hpp"
#include "harness/mpi_harness.hpp"

using namespace cos2p;
using namespace transport_test;
using cos2p_test::mpi;

namespace {

void run_server(const Case& contract, const SegmentTable& table, Findings& findings) {
  ModelStore store(table);
  RmaServerFabric fabric(mpi(), store, contract.ring, kMaxTasks);
  ServerEnd end{table, store, {}, [&] { fabric.progress(); }, findings};
  for (const auto& channel : fabric.channels()) end.channels.push_back(channel.get());
  findings.expect(end.channels.size() == static_cast<std::size_t>(mpi().size() - 1), "a channel per worker");
  contract.server(end);
  fabric.release();
}

void run_worker(const Case& contract, const SegmentTable& table, Findings& findings) {
  RmaWorkerFabric fabric(mpi(), table, contract.ring, kMaxTasks, {});
  WorkerEnd end{table, mpi().rank(), fabric.channel(), findings};
  try {
    contract.worker(end);
  } catch (const std::exception& error) {
    findings.expect(false, std::string("worker: ") + error.what());
    end.channel.close();
  }
  fabric.release();
}

}  // namespace

BOOST_DATA_TEST_CASE(the_contract_holds_between_processes, boost::unit_test::data::make(contract_cases()),
                     contract) {
  const SegmentTable table(small_model());
  Findings findings;
  if (mpi().rank() == 0) {
    run_server(contract, table, findings);
  } else {
    run_worker(contract, table, findings);
  }
  for (const std::string& failure : findings.all()) BOOST_ERROR(failure);
  REQUIRE_ALL_RANKS(findings.all().empty());
}

// mpirun 4.1 may crash over a text that a rank hands to it.
BOOST_AUTO_TEST_CASE(help_texts_of_open_mpi_4_are_printed_by_the_rank_itself) {
  using ShowHelp = int (*)(const char*, const char*, bool, ...);
  auto* const show_help = static_cast<ShowHelp*>(dlsym(RTLD_DEFAULT, "opal_show_help"));
  bool right = true;
  if (show_help != nullptr && mpi().library_version().find("Open MPI 4") == 0) {
    std::FILE* const captured = std::tmpfile();
    const int kept = dup(STDERR_FILENO);
    dup2(fileno(captured), STDERR_FILENO);
    (*show_help)("help-mpi-btl-tcp.txt", "peer hung up", true, "here", 4711, "there");
    std::fflush(stderr);
    dup2(kept, STDERR_FILENO);
    close(kept);
    char text[4096] = {};
    std::rewind(captured);
    const std::size_t bytes = std::fread(text, 1, sizeof text - 1, captured);
    std::fclose(captured);
    right = std::string(text, bytes).find("4711") != std::string::npos;
  }
  REQUIRE_ALL_RANKS(right);
}

BOOST_AUTO_TEST_CASE(a_waiting_worker_uses_less_than_a_tenth_of_a_core) {
  const SegmentTable table(small_model());
  double share = 0;
  const auto wait = [&share](WorkerEnd& end) {
    const double start = monotonic_seconds();
    const std::clock_t used = std::clock();
    while (monotonic_seconds() - start < 0.6) {
      end.channel.heartbeat();
      end.channel.read_notice();
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    share = static_cast<double>(std::clock() - used) / CLOCKS_PER_SEC / (monotonic_seconds() - start);
    end.channel.close();
  };
  const auto serve = [](ServerEnd& end) {
    KeepingSink sink;
    end.run(sink, [&] { return end.all_closed(); });
  };
  const Case waiting{"waiting", RingOptions{}, serve, wait};
  Findings findings;
  if (mpi().rank() == 0) {
    run_server(waiting, table, findings);
  } else {
    run_worker(waiting, table, findings);
  }
  BOOST_TEST(share < 0.1);
  REQUIRE_ALL_RANKS(share < 0.1);
}

BOOST_AUTO_TEST_CASE(a_failing_mpi_call_is_named_with_mpis_own_text) {
  int value = 0;
  try {
    COS2P_MPI(MPI_Send, &value, 1, MPI_INT, mpi().size() + 5, 0, MPI_COMM_WORLD);
    BOOST_ERROR("a send to a rank that does not exist succeeded");
  } catch (const Error& error) {
    BOOST_TEST((error.code() == ExitCode::environment));
    BOOST_TEST(std::string(error.what()).find("MPI_Send failed (MPI_ERR_RANK") == 0U, error.what());
  }
}
