#include "fleet_file.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <sstream>

#include "cos2p/plan/device_profile.hpp"
#include "cos2p/support/error.hpp"
#include "values.hpp"

namespace cos2p::config {
namespace {

constexpr std::size_t kLongestBudget =
    64;  // "agx-orin", "1.5GiB": a longer word is not a budget but some other file

constexpr std::size_t kLargestFile = 1 << 20;  // some ten thousand clients with their names

bool is_printable(const std::string& text) {
  return std::none_of(text.begin(), text.end(), [](unsigned char c) { return c < 0x20 && c != '\t'; });
}

}  // namespace

std::vector<std::string> read_fleet_file(const std::string& path) {
  errno = 0;
  std::ifstream file(path);
  std::istringstream input(read_start(file, kLargestFile + 1));
  if (input.str().size() > kLargestFile) {
    fail(ExitCode::usage,
         "--fleet: cannot read '{}' (it is larger than {} bytes), give a text file with one budget a line",
         path, kLargestFile);
  }
  if (input.str().empty()) {
    fail(ExitCode::usage, "--fleet: cannot read '{}' ({}), give a text file with one budget a line", path,
         errno != 0 ? std::strerror(errno) : "it is empty");
  }
  std::vector<std::string> budgets;
  std::string line;
  for (int number = 1; std::getline(input, line); ++number) {
    const std::string text = trimmed(line.substr(0, line.find('#')));
    if (text.empty()) continue;
    const std::string budget = text.substr(0, text.find_first_of(" \t"));
    if (!is_printable(text) || budget.size() > kLongestBudget ||
        budget.find_first_of("=[,") != std::string::npos) {
      fail(ExitCode::usage,
           "--fleet: {}, line {}: cannot be read ('{}' is not a budget), write a share, a size or a device, "
           "then a name",
           path, number, is_printable(text) ? budget.substr(0, kLongestBudget) : "unprintable text");
    }
    budgets.push_back(resolve_profile_file(budget));
    if (std::string("0123456789.+-").find(budget[0]) != std::string::npos) continue;
    try {
      find_device_profile(budgets.back());
    } catch (const Error&) {
      std::vector<std::string> names;
      for (const DeviceProfile& profile : device_profiles()) names.push_back(profile.name);
      fail(ExitCode::usage,
           "--fleet: {}, line {}: device '{}' is unknown (known: {}), write one of them, a share (0.5), a "
           "size (2GiB) or a "
           "NAME.json that cos2p doctor --calibrate wrote",
           path, number, budget, fmt::join(names, ", "));
    }
  }
  if (budgets.empty()) {
    fail(ExitCode::usage, "--fleet: {} names no client (it has only comments), write one budget a line",
         path);
  }
  return budgets;
}

}  // namespace cos2p::config
