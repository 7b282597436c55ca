#pragma once

#include <string>

namespace cos2p {

/// Which matrix kernels this process computes with; decides its speed on a CPU by up to 35x.
struct BlasInfo {
  std::string library;  ///< "OpenBLAS 0.3.21 (openmp)", "reference BLAS", ...
  std::string kernels;  ///< "SkylakeX"; empty where unknown
  std::string cpu;      ///< "AVX-512", "AVX2", "NEON", ...
  std::string advice;   ///< what to do where it could be much faster; empty where all is well
};
BlasInfo blas_info();

/// Chooses kernels and thread behaviour before anything computes: the libraries read these variables when
/// they load, so where something must change the program sets them and starts itself anew (once). Variables
/// that the user set stay. Call first thing in main(); `threads` = 0: cores of this host shared by
/// `local_ranks`.
void choose_blas_and_threads(char** argv, int threads, int local_ranks);

/// Cores that this process may use: of its affinity and its control group.
int usable_cores();
/// Threads that choose_blas_and_threads() settled on.
int compute_threads();

}  // namespace cos2p
