#include "cos2p/support/logging.hpp"

#include <fmt/format.h>
#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/sinks/rotating_file_sink.h>
#include <spdlog/sinks/stdout_color_sinks.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <memory>
#include <vector>

namespace cos2p {
namespace {

std::atomic<bool> bar_stands{false};
std::shared_ptr<spdlog::logger> file_logger;  // set up before there are threads

/// Standard error; a progress bar on standard output makes room first.
class TerminalSink : public spdlog::sinks::stderr_color_sink_mt {
 public:
  void log(const spdlog::details::log_msg& message) override {
    clear_progress_bar();
    spdlog::sinks::stderr_color_sink_mt::log(message);
  }
};

}  // namespace

void setup_logging(const std::string& role, const std::string& file, bool quiet_terminal,
                   std::int64_t limit) {
  std::vector<spdlog::sink_ptr> sinks;
  auto terminal = std::make_shared<TerminalSink>();
  terminal->set_level(quiet_terminal ? spdlog::level::warn : spdlog::level::info);
  terminal->set_pattern("%^%l%$ [" + role + "] %v");
  sinks.push_back(terminal);
  file_logger = nullptr;
  if (!file.empty()) {
    spdlog::sink_ptr log;
    if (limit > 0) {
      log = std::make_shared<spdlog::sinks::rotating_file_sink_mt>(file, static_cast<std::size_t>(limit), 1);
    } else {
      log = std::make_shared<spdlog::sinks::basic_file_sink_mt>(file);
    }
    log->set_pattern("%Y-%m-%d %H:%M:%S.%e %l [" + role + "] %v");
    sinks.push_back(log);
    file_logger = std::make_shared<spdlog::logger>(role, log);
    file_logger->flush_on(spdlog::level::info);
  }
  auto logger = std::make_shared<spdlog::logger>(role, sinks.begin(), sinks.end());
  logger->flush_on(spdlog::level::info);
  spdlog::set_default_logger(logger);
}

void say(const std::string& text) {
  clear_progress_bar();
  fmt::print("{}\n", text);
  std::fflush(stdout);
  record(text);
}

void record(const std::string& text) {
  if (!file_logger) return;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    if (end > begin) file_logger->info("{}", text.substr(begin, end - begin));
    begin = end + 1;
  }
}

void clear_progress_bar() {
  if (!bar_stands.exchange(false)) return;
  std::fputs("\r\033[K", stdout);
  std::fflush(stdout);
}

void progress_bar_stands() {
  bar_stands = true;
}

}  // namespace cos2p
