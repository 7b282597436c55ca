#include "cos2p/support/logging.hpp"

#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/sinks/stdout_color_sinks.h>

#include <memory>
#include <vector>

namespace cos2p {

void setup_logging(const std::string& role, const std::string& file, bool quiet_terminal) {
  std::vector<spdlog::sink_ptr> sinks;
  auto terminal = std::make_shared<spdlog::sinks::stderr_color_sink_mt>();
  terminal->set_level(quiet_terminal ? spdlog::level::warn : spdlog::level::info);
  terminal->set_pattern("%^%l%$ [" + role + "] %v");
  sinks.push_back(terminal);
  if (!file.empty()) {
    auto log = std::make_shared<spdlog::sinks::basic_file_sink_mt>(file);
    log->set_pattern("%Y-%m-%d %H:%M:%S.%e %l [" + role + "] %v");
    sinks.push_back(log);
  }
  auto logger = std::make_shared<spdlog::logger>(role, sinks.begin(), sinks.end());
  logger->flush_on(spdlog::level::info);
  spdlog::set_default_logger(logger);
}

}  // namespace cos2p
