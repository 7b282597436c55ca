#pragma once

// What to do about the matrix library, as functions of what was found: no environment, no machine, so that
// every case is tested on every machine. blas.cpp looks at the machine and acts.

#include <map>
#include <string>
#include <vector>

namespace cos2p::blas {

/// Vector instructions, each including those before it. On ARM all kernels that there are count as
/// `baseline`.
enum class VectorWidth { baseline, avx, avx2, avx512 };

struct Cpu {
  VectorWidth width = VectorWidth::baseline;
  bool amx = false;  ///< has tiles: a CPU for which OpenBLAS has kernels of its own above AVX-512
  std::string name;  ///< "AVX-512", "NEON", ... for people
};

enum class Library { unknown, reference, openblas, blis, mkl };

struct Found {
  Library library = Library::unknown;
  std::string name;       ///< "OpenBLAS 0.3.21"
  std::string threading;  ///< "openmp", "pthread", "serial" or ""
  std::string kernels;    ///< "SkylakeX"; empty where the library does not tell
  std::string file;       ///< the shared library that computes products
};

/// The instructions that a kernel set of OpenBLAS uses.
VectorWidth kernel_width(const std::string& kernels);

/// OPENBLAS_CORETYPE values to try on this CPU, best first; a library that does not know one falls back to
/// detection, so the result is looked at after each. Empty where detection is as good as anything.
std::vector<std::string> core_types(const Cpu& cpu);

/// How much is lost with `found`, relative to the other flavours: higher is better. `flavour` is a directory
/// name of Debian's alternatives ("openblas-openmp").
int flavour_rank(const std::string& flavour, const Cpu& cpu);
/// The flavour's directory name for what is loaded, as far as it can be told.
std::string flavour_of(const Found& found);

struct Situation {
  Cpu cpu;
  Found found;
  /// Other flavours' directories on this machine: name -> path.
  std::map<std::string, std::string> installed;
  /// Environment of this process, as far as it matters here.
  std::map<std::string, std::string> environment;
  /// Variables that an earlier start of this program set itself (the others are the user's).
  std::vector<std::string> ours;
  int threads = 1;
};

/// Variables to set before the program starts anew; empty where it can go on as it is.
std::map<std::string, std::string> variables_to_set(const Situation& situation);

/// What the user could do about what the program cannot change; empty where all is well.
std::string advice(const Situation& situation);

}  // namespace cos2p::blas
