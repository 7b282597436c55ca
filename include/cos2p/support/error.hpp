#pragma once

#include <fmt/format.h>

#include <stdexcept>
#include <string>
#include <utility>

namespace cos2p {

/// How the program ends; documented in README.md and `cos2p --help`.
enum class ExitCode : int {
  ok = 0,
  internal = 1,     ///< a fault of ours: an assertion, an unexpected exception
  usage = 2,        ///< an option, a budget or a combination that cannot work
  data = 3,         ///< a data set that is missing, cut or wrong
  checkpoint = 4,   ///< a checkpoint that cannot be read or does not fit
  no_workers = 5,   ///< nobody is left to train (server), or the server cannot be reached (worker)
  environment = 6,  ///< the machine, MPI, the network, the output directory
};

/// The user's mistake or the machine's state, in words: PROBLEM (REASON), SUGGESTION. Carries the exit code.
class Error : public std::runtime_error {
 public:
  Error(ExitCode code, const std::string& message) : std::runtime_error(message), code_(code) {}
  ExitCode code() const noexcept { return code_; }

 private:
  ExitCode code_;
};

/// Throws an Error with a formatted message: `fail(ExitCode::data, "{} is cut ({} of {} bytes), download it
/// again", ...)`.
template <typename... Args>
[[noreturn]] void fail(ExitCode code, fmt::format_string<Args...> format, Args&&... args) {
  throw Error(code, fmt::format(format, std::forward<Args>(args)...));
}

/// What a file holds, as a message may show it: control characters escaped, cut after `most` bytes (UTF-8).
std::string shown(const std::string& text, std::size_t most = 60);

namespace detail {
[[noreturn]] void assertion_failed(const char* expression, const char* file, int line);
}

}  // namespace cos2p

/// For programmers' faults; checked in every build, since none stands on a hot path.
#define COS2P_ASSERT(expression) \
  ((expression) ? static_cast<void>(0) : ::cos2p::detail::assertion_failed(#expression, __FILE__, __LINE__))
