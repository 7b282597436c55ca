#include "blas_rules.hpp"

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <iterator>

namespace cos2p::blas {
namespace {

std::string lower(std::string text) {
  for (char& c : text) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return text;
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

std::string value_of(const Situation& situation, const std::string& variable) {
  const auto found = situation.environment.find(variable);
  return found == situation.environment.end() ? "" : found->second;
}

bool set_by_user(const Situation& situation, const std::string& variable) {
  return !value_of(situation, variable).empty() &&
         std::find(situation.ours.begin(), situation.ours.end(), variable) == situation.ours.end();
}

bool set_by_us(const Situation& situation, const std::string& variable) {
  return std::find(situation.ours.begin(), situation.ours.end(), variable) != situation.ours.end();
}

/// Somebody has pointed the loader at this very library.
bool chosen_by_user(const Situation& situation) {
  const std::string preloaded = lower(value_of(situation, "LD_PRELOAD"));
  if (contains(preloaded, "blas") || contains(preloaded, "blis") || contains(preloaded, "mkl")) return true;
  if (!set_by_user(situation, "LD_LIBRARY_PATH")) return false;
  const std::string paths = value_of(situation, "LD_LIBRARY_PATH");
  const std::string directory = situation.found.file.substr(0, situation.found.file.rfind('/'));
  return !directory.empty() && contains(":" + paths + ":", ":" + directory + ":");
}

/// The directory of the best flavour, where it is better than what is loaded.
std::string better_directory(const Situation& situation) {
  const Found& found = situation.found;
  // What LibTorch carries inside (MKL) or what we do not know is not exchanged.
  if (found.library == Library::unknown || found.library == Library::mkl) return "";
  int best = flavour_rank(flavour_of(found), situation.cpu);
  std::string directory;
  for (const auto& [flavour, path] : situation.installed) {
    const int rank = flavour_rank(flavour, situation.cpu);
    if (rank > best) {
      best = rank;
      directory = path;
    }
  }
  return directory;
}

bool kernels_too_narrow(const Situation& situation) {
  return situation.found.library == Library::openblas && !situation.found.kernels.empty() &&
         !core_types(situation.cpu).empty() && kernel_width(situation.found.kernels) < situation.cpu.width;
}

/// The candidate after the one that was tried last; "" after all.
std::string next_core_type(const Situation& situation) {
  const std::vector<std::string> candidates = core_types(situation.cpu);
  const auto tried =
      set_by_us(situation, "OPENBLAS_CORETYPE")
          ? std::find(candidates.begin(), candidates.end(), value_of(situation, "OPENBLAS_CORETYPE"))
          : candidates.end();
  if (tried == candidates.end()) return candidates.front();
  return tried + 1 == candidates.end() ? "" : *(tried + 1);
}

}  // namespace

VectorWidth kernel_width(const std::string& kernels) {
  static const std::map<std::string, VectorWidth> kWidths{{"sapphirerapids", VectorWidth::avx512},
                                                          {"cooperlake", VectorWidth::avx512},
                                                          {"skylakex", VectorWidth::avx512},
                                                          {"haswell", VectorWidth::avx2},
                                                          {"zen", VectorWidth::avx2},
                                                          {"excavator", VectorWidth::avx2},
                                                          {"sandybridge", VectorWidth::avx},
                                                          {"bulldozer", VectorWidth::avx},
                                                          {"piledriver", VectorWidth::avx},
                                                          {"steamroller", VectorWidth::avx}};
  const auto width = kWidths.find(lower(kernels));
  return width == kWidths.end() ? VectorWidth::baseline : width->second;
}

std::vector<std::string> core_types(const Cpu& cpu) {
  // Names that every OpenBLAS of the last years knows, except the first. AMD's own ("ZEN") are the same
  // kernels as HASWELL.
  std::vector<std::string> names;
  if (cpu.width == VectorWidth::avx512 && cpu.amx) names.emplace_back("SAPPHIRERAPIDS");
  if (cpu.width == VectorWidth::avx512) names.emplace_back("SKYLAKEX");
  if (cpu.width >= VectorWidth::avx2) names.emplace_back("HASWELL");
  return names;
}

int flavour_rank(const std::string& flavour, const Cpu& cpu) {
  if (contains(flavour, "openblas-openmp")) return 5;
  if (contains(flavour, "openblas-pthread")) return 4;
  // BLIS has no kernels for many a CPU with AVX-512 (a twentieth of OpenBLAS's speed was seen); without, it
  // is as good.
  if (contains(flavour, "blis")) return cpu.width == VectorWidth::avx512 ? 3 : 5;
  if (contains(flavour, "openblas")) return 2;
  return contains(flavour, "atlas") ? 1 : 0;
}

std::string flavour_of(const Found& found) {
  switch (found.library) {
    case Library::openblas:
      return found.threading.empty() ? "openblas" : "openblas-" + found.threading;
    case Library::blis:
      return "blis";
    case Library::mkl:
      return "mkl";
    case Library::reference:
      return contains(found.file, "atlas") ? "atlas" : "blas";
    case Library::unknown:
      break;
  }
  return "";
}

std::map<std::string, std::string> variables_to_set(const Situation& situation) {
  std::map<std::string, std::string> variables;
  // Ranks share cores with each other: a thread that waits for work must sleep, not spin.
  if (!set_by_user(situation, "OMP_WAIT_POLICY")) variables["OMP_WAIT_POLICY"] = "PASSIVE";
  if (!set_by_user(situation, "GOMP_SPINCOUNT") && !set_by_user(situation, "OMP_WAIT_POLICY"))
    variables["GOMP_SPINCOUNT"] = "0";
  if (std::atoi(value_of(situation, "OMP_NUM_THREADS").c_str()) != situation.threads) {
    variables["OMP_NUM_THREADS"] = std::to_string(situation.threads);
  }

  const std::string directory = chosen_by_user(situation) ? "" : better_directory(situation);
  if (!directory.empty() && !set_by_us(situation, "LD_LIBRARY_PATH")) {
    const std::string before = value_of(situation, "LD_LIBRARY_PATH");
    variables["LD_LIBRARY_PATH"] = directory + (before.empty() ? "" : ":" + before);
  } else if (kernels_too_narrow(situation) && !set_by_user(situation, "OPENBLAS_CORETYPE")) {
    const std::string core_type = next_core_type(situation);
    if (!core_type.empty()) variables["OPENBLAS_CORETYPE"] = core_type;
  }
  for (auto variable = variables.begin(); variable != variables.end();) {
    const bool already = value_of(situation, variable->first) == variable->second;
    variable = already ? variables.erase(variable) : std::next(variable);
  }
  return variables;
}

std::string advice(const Situation& situation) {
  const Found& found = situation.found;
  const bool slow = found.library == Library::reference;
  const bool pthread = found.library == Library::openblas && found.threading == "pthread";
  if ((slow || pthread) && chosen_by_user(situation)) {
    return "LD_PRELOAD or LD_LIBRARY_PATH chooses a slow BLAS (" + found.file + "), unset it";
  }
  if (slow)
    return "matrix products may be 30 times faster, install OpenBLAS: apt-get install libopenblas0-openmp";
  if (kernels_too_narrow(situation)) {
    if (!set_by_user(situation, "OPENBLAS_CORETYPE")) {
      return "this OpenBLAS has no kernels for " + situation.cpu.name + ", a newer one may be twice as fast";
    }
    return "OPENBLAS_CORETYPE=" + value_of(situation, "OPENBLAS_CORETYPE") +
           " chooses kernels that do not use " + situation.cpu.name + ", unset it for up to twice the speed";
  }
  if (pthread) return "OpenBLAS with OpenMP threads is faster: apt-get install libopenblas0-openmp";
  return "";
}

}  // namespace cos2p::blas
