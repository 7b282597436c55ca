#include "cos2p/support/blas.hpp"

#include <dlfcn.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <climits>
#include <cstdlib>
#include <cstring>
#include <sstream>
#if defined(__x86_64__) || defined(__i386__)
#include <cpuid.h>
#endif
#if defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#endif

#include "blas_rules.hpp"
#include "cpu_share.hpp"

namespace cos2p {
namespace {

using blas::Cpu;
using blas::Found;
using blas::Library;
using blas::Situation;
using blas::VectorWidth;

/// "2 OMP_NUM_THREADS OPENBLAS_CORETYPE": how often the program has started itself anew, and what it set in
/// doing so.
constexpr const char* kStarted = "COS2P_STARTED";
constexpr int kMostStarts =
    5;  // library, then three core types: a program that has tried them all goes on as it is

struct Choice {
  int threads = 0;
  std::vector<std::string> ours;
};
Choice& choice() {
  static Choice made;
  return made;
}

template <typename Function>
Function symbol(const char* name) {
  return reinterpret_cast<Function>(dlsym(RTLD_DEFAULT, name));  // NOLINT: what dlsym is for
}

Cpu detect_cpu() {
  Cpu cpu;
#if defined(__x86_64__) || defined(__i386__)
  cpu.name = "SSE";
  // These also ask whether the operating system keeps the wide registers.
  if (__builtin_cpu_supports("avx")) {
    cpu.width = VectorWidth::avx;
    cpu.name = "AVX";
  }
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
    cpu.width = VectorWidth::avx2;
    cpu.name = "AVX2";
  }
  if (cpu.width == VectorWidth::avx2 && __builtin_cpu_supports("avx512f") &&
      __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512vl")) {
    cpu.width = VectorWidth::avx512;
    cpu.name = "AVX-512";
    unsigned a = 0, b = 0, c = 0, d = 0;
    cpu.amx = __get_cpuid_count(7, 0, &a, &b, &c, &d) != 0 && (d >> 24U & 1U) != 0;
  }
#elif defined(__aarch64__)
  cpu.name = "NEON";
#if defined(__linux__) && defined(HWCAP_SVE)
  if ((getauxval(AT_HWCAP) & HWCAP_SVE) != 0) cpu.name = "SVE";
#endif
#else
  cpu.name = "unknown";
#endif
  return cpu;
}

/// The file that a loaded function comes from, links resolved; "" where that cannot be told.
std::string file_of(void* function) {
  Dl_info info{};
  if (function == nullptr || dladdr(function, &info) == 0 || info.dli_fname == nullptr) return "";
  char resolved[PATH_MAX];
  return realpath(info.dli_fname, resolved) != nullptr ? resolved : info.dli_fname;
}

std::string openblas_version() {
  const auto config = symbol<char* (*)()>("openblas_get_config");
  std::istringstream words(config != nullptr ? config() : "");
  std::string name, version;
  words >> name >> version;
  return version.empty() ? "OpenBLAS" : "OpenBLAS " + version;
}

std::string openblas_threading() {
  const auto parallel = symbol<int (*)()>("openblas_get_parallel");
  switch (parallel != nullptr ? parallel() : -1) {
    case 0:
      return "serial";
    case 1:
      return "pthread";
    case 2:
      return "openmp";
    default:
      return "";
  }
}

Found detect_blas() {
  Found found;
  found.file = file_of(symbol<void*>("sgemm_"));
  const std::string base = found.file.substr(found.file.rfind('/') + 1);
  const auto core_name = symbol<char* (*)()>("openblas_get_corename");
  const bool from_openblas =
      core_name != nullptr && (found.file.find("openblas") != std::string::npos ||
                               found.file == file_of(symbol<void*>("openblas_get_corename")));
  if (symbol<void*>("MKL_Get_Max_Threads") != nullptr || symbol<void*>("mkl_get_max_threads") != nullptr) {
    found.library = Library::mkl;
    found.name = "MKL";
  } else if (from_openblas) {
    found.library = Library::openblas;
    found.name = openblas_version();
    found.threading = openblas_threading();
    found.kernels = core_name();
  } else if (found.file.find("blis") != std::string::npos) {
    const auto version = symbol<const char* (*)()>("bli_info_get_version_str");
    found.library = Library::blis;
    found.name = version != nullptr ? std::string("BLIS ") + version() : "BLIS";
    const auto id = symbol<int (*)()>("bli_arch_query_id");
    const auto name = symbol<const char* (*)(int)>("bli_arch_string");
    if (id != nullptr && name != nullptr) found.kernels = name(id());
  } else if (base.rfind("libblas.so", 0) == 0 || base.rfind("libf77blas", 0) == 0) {
    found.library = Library::reference;
    found.name = found.file.find("atlas") != std::string::npos ? "ATLAS" : "reference BLAS";
  } else {
    found.name = found.file.empty() ? "unknown BLAS" : "BLAS inside " + base;
  }
  return found;
}

bool exists(const std::string& path) {
  struct stat status {};
  return stat(path.c_str(), &status) == 0;
}

/// Debian installs every BLAS beside the others, in directories named after it; the loader sees one of them.
std::map<std::string, std::string> installed_flavours(const Found& found) {
  std::vector<std::string> roots;
  // .../x86_64-linux-gnu/blas/libblas.so.3 -> .../x86_64-linux-gnu
  const std::string directory = found.file.substr(0, found.file.find_last_of('/'));
  for (const std::string& path : {directory, directory.substr(0, directory.find_last_of('/'))}) {
    if (!path.empty() && path.front() == '/') roots.push_back(path);
  }
  std::map<std::string, std::string> flavours;
  for (const std::string& root : roots) {
    for (const char* name :
         {"openblas-openmp", "openblas-pthread", "openblas-serial", "blis-openmp", "blis-pthread"}) {
      const std::string path = root + "/" + name;
      if (exists(path + "/libblas.so.3")) flavours.emplace(name, path);
    }
  }
  return flavours;
}

Situation look_around() {
  Situation situation;
  situation.cpu = detect_cpu();
  situation.found = detect_blas();
  situation.installed = installed_flavours(situation.found);
  for (const char* name : {"OPENBLAS_CORETYPE", "OMP_NUM_THREADS", "OMP_WAIT_POLICY", "GOMP_SPINCOUNT",
                           "LD_LIBRARY_PATH", "LD_PRELOAD"}) {
    if (const char* value = std::getenv(name)) situation.environment[name] = value;
  }
  situation.ours = choice().ours;
  situation.threads = compute_threads();
  return situation;
}

/// Number of starts so far. The variable is removed: programs that this one may start shall judge for
/// themselves.
int read_started() {
  const char* text = std::getenv(kStarted);
  if (text == nullptr) return 0;
  std::istringstream words(text);
  int starts = 0;
  words >> starts;
  for (std::string name; words >> name;) choice().ours.push_back(name);
  unsetenv(kStarted);
  return starts;
}

int threads_for(int wanted, int local_ranks) {
  if (wanted > 0) return wanted;
  const char* users = std::getenv("OMP_NUM_THREADS");
  const std::vector<std::string>& ours = choice().ours;
  const bool by_user = std::find(ours.begin(), ours.end(), "OMP_NUM_THREADS") == ours.end();
  const long number = users != nullptr && by_user ? std::strtol(users, nullptr, 10) : 0;
  if (number > 0 && number <= 4096) return static_cast<int>(number);
  return blas::share_of_cores(blas::count_cores(), local_ranks);
}

/// Returns only where it could not be done.
void start_anew(char** argv, int starts, const std::map<std::string, std::string>& variables) {
  std::vector<std::string>& ours = choice().ours;
  for (const auto& [name, value] : variables) {
    setenv(name.c_str(), value.c_str(), 1);
    if (std::find(ours.begin(), ours.end(), name) == ours.end()) ours.push_back(name);
  }
  std::string started = std::to_string(starts + 1);
  for (const std::string& name : ours) started += " " + name;
  setenv(kStarted, started.c_str(), 1);
  char path[PATH_MAX];
  const ssize_t length = readlink("/proc/self/exe", path, sizeof(path) - 1);
  if (length > 0) {
    path[length] = '\0';
    execv(path, argv);  // fails under an emulator that the kernel does not know of: goes on as it is
  } else {
    execvp(argv[0], argv);  // no /proc
  }
  unsetenv(kStarted);
}

}  // namespace

BlasInfo blas_info() {
  const Situation situation = look_around();
  const Found& found = situation.found;
  BlasInfo info;
  info.library = found.threading.empty() ? found.name : found.name + " (" + found.threading + ")";
  info.kernels = found.kernels;
  info.cpu = situation.cpu.name;
  info.advice = blas::advice(situation);
  return info;
}

void choose_blas_and_threads(char** argv, int threads, int local_ranks) {
  const int starts = read_started();
  choice().threads = threads_for(threads, local_ranks);
  const std::map<std::string, std::string> variables = blas::variables_to_set(look_around());
  if (!variables.empty() && starts < kMostStarts) start_anew(argv, starts, variables);
}

int usable_cores() {
  return blas::share_of_cores(blas::count_cores(), 1);
}

int compute_threads() {
  if (choice().threads == 0) choice().threads = threads_for(0, 1);
  return choice().threads;
}

}  // namespace cos2p
