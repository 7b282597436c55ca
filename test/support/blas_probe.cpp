// Starts as the program does, and prints what it got: the child of blas_start_test.cpp.
#include <cstdio>
#include <cstdlib>

#include "cos2p/support/blas.hpp"

int main(int argc, char** argv) {
  const int local_ranks = argc > 1 ? std::atoi(argv[1]) : 1;
  cos2p::choose_blas_and_threads(argv, 0, local_ranks);
  const cos2p::BlasInfo info = cos2p::blas_info();
  const auto variable = [](const char* name) {
    return std::getenv(name) != nullptr ? std::getenv(name) : "";
  };
  std::printf("library=%s\nkernels=%s\ncpu=%s\nadvice=%s\nthreads=%d\n", info.library.c_str(),
              info.kernels.c_str(), info.cpu.c_str(), info.advice.c_str(), cos2p::compute_threads());
  for (const char* name :
       {"OMP_NUM_THREADS", "OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "OPENBLAS_CORETYPE", "COS2P_STARTED"}) {
    std::printf("%s=%s\n", name, variable(name));
  }
  return 0;
}
