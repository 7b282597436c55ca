// The main() of every test program that runs on several ranks: MPI as the program itself sets it up, and one
// verdict. A failure on any rank fails all; so does a rank on which no test ran.
#define BOOST_TEST_NO_MAIN
#include "harness/mpi_harness.hpp"

#include <boost/test/results_collector.hpp>
#include <cstdio>
#include <cstdlib>
#include <memory>

namespace cos2p_test {

namespace {
std::unique_ptr<cos2p::MpiRuntime> runtime;
}

cos2p::MpiRuntime& mpi() {
  return *runtime;
}

bool true_on_all_ranks(bool here) {
  int value = here ? 1 : 0, all = 0;
  MPI_Allreduce(&value, &all, 1, MPI_INT, MPI_MIN, MPI_COMM_WORLD);
  return all == 1;
}

}  // namespace cos2p_test

int main(int argc, char** argv) {
  using namespace boost::unit_test;
  const std::string choice = cos2p::prepare_mpi_environment(cos2p::launch_info());
  cos2p_test::runtime = std::make_unique<cos2p::MpiRuntime>(argc, argv);
  const int rank = cos2p_test::mpi().rank();
  if (rank == 0) std::fprintf(stderr, "%s\n", choice.c_str());
  const int failed = unit_test_main([]() { return true; }, argc, argv);
  const auto& result = results_collector.results(framework::master_test_suite().p_id);
  const bool any_ran =
      result.p_test_cases_passed + result.p_test_cases_failed + result.p_test_cases_warned > 0;
  if (failed != 0 || !any_ran) {
    std::fprintf(stderr, "rank %d: %s\n", rank,
                 any_ran ? "failed" : "no test ran, which counts as a failure");
  }
  const bool good = cos2p_test::true_on_all_ranks(failed == 0 && any_ran);
  cos2p_test::mpi().finish(true, good ? 0 : 1);
  std::fflush(nullptr);
  std::_Exit(good ? 0 : 1);  // as the program itself ends; also, what MPI never frees is no leak of ours
}
