// A worker that joins a run which goes on.
#include <spdlog/spdlog.h>

#include <chrono>
#include <thread>

#include "commands.hpp"
#include "cos2p/support/clock.hpp"
#include "cos2p/support/error.hpp"
#include "cos2p/support/logging.hpp"
#include "cos2p/support/machine.hpp"
#include "cos2p/transport/join.hpp"
#include "device_times.hpp"
#include "experiment.hpp"
#include "resume.hpp"
#include "signals.hpp"
#include "version.hpp"
#include "worker_part.hpp"

namespace cos2p {
namespace {

constexpr double kRetryEvery_s = 1;

/// "board7" or "board7:7000"; the rest stays as the key says.
void take_server(const std::string& given, JoinKey& key) {
  if (given.empty()) return;
  std::string host = given;
  const std::size_t colon = given.rfind(':');
  if (colon != std::string::npos && given.find(':') == colon) {
    host = given.substr(0, colon);
    const std::string digits = given.substr(colon + 1);
    key.port = 0;
    if (!digits.empty() && digits.size() < 6 && digits.find_first_not_of("0123456789") == std::string::npos)
      key.port = std::stoi(digits);
    if (host.empty() || key.port < 1 || key.port > 65535)
      fail(ExitCode::usage, "--server cannot be '{}' (expected HOST or HOST:PORT), see cos2p join --help",
           given);
  }
  key.hosts = {host};
}

/// What this worker is made of, kept over reconnections to the same run.
struct Prepared {
  std::string options;
  Experiment experiment;
  std::unique_ptr<WorkerPart> part;
};

std::unique_ptr<Prepared> prepare(const JoinWelcome& welcome, const CommandLine& given) {
  auto prepared = std::make_unique<Prepared>();
  prepared->options = welcome.options;
  CommandLine own = given;
  own.subcommand = Subcommand::train;
  const RunOptions options = adopt_options(welcome.options, own).options;
  std::optional<Vocabulary> vocabulary;
  if (!welcome.vocabulary.empty())
    vocabulary = Vocabulary::from_text(welcome.vocabulary, welcome.lower_case, "the server's vocabulary");
  prepared->experiment = make_experiment(options, welcome.executors, vocabulary);
  if (!options.emulate_speeds.empty()) set_default_device(prepared->experiment);
  prepared->part = std::make_unique<WorkerPart>(prepared->experiment, 0, 1);
  return prepared;
}

/// Takes part until the run ends, or until the connection is lost (Error(no_workers)).
WorkerEnd take_part(const JoinKey& key, const CommandLine& given, std::unique_ptr<Prepared>& prepared,
                    double& last_contact_s) {
  JoinClient client(key, program_in_words(kVersion), {host_name(), given.options.seats});
  last_contact_s = monotonic_seconds();
  const JoinWelcome& welcome = client.welcome();
  say(fmt::format("cos2p {}: worker {} of the run at {} port {}", kVersion, welcome.worker, key.hosts.front(),
                  key.port));
  if (!prepared || prepared->options != welcome.options) prepared = prepare(welcome, given);
  const Experiment& e = prepared->experiment;
  const std::unique_ptr<WorkerChannel> channel = client.make_channel(*e.table, e.options.ring);
  try {
    return prepared->part->run(*channel);
  } catch (const Error&) {
    last_contact_s = monotonic_seconds();
    throw;
  }
}

}  // namespace

int run_join(const CommandLine& given) {
  JoinKey key = read_join_key(given.options.file);
  take_server(given.options.server, key);
  install_signal_handlers(false);
  std::unique_ptr<Prepared> prepared;
  double last_contact_s = monotonic_seconds();
  while (true) {
    try {
      switch (take_part(key, given, prepared, last_contact_s)) {
        case WorkerEnd::run_ended:
          say("the run has ended");
          return static_cast<int>(ExitCode::ok);
        case WorkerEnd::left:
          say("left the run on request");
          return static_cast<int>(ExitCode::ok);
        case WorkerEnd::excluded:
          fail(ExitCode::environment,
               "the server put this worker out (its log says why), join again if it may");
        case WorkerEnd::server_gone:
          last_contact_s = monotonic_seconds();
          fail(ExitCode::no_workers, "the server is silent, look into its log");
      }
    } catch (const Error& lost) {
      if (lost.code() != ExitCode::no_workers) throw;
      if (stop_requested()) return static_cast<int>(ExitCode::ok);
      const double left_s = given.options.retry_for_s - (monotonic_seconds() - last_contact_s);
      if (left_s <= 0) throw;
      spdlog::warn("{}; trying again for {:.0f} s", lost.what(), left_s);
    }
    for (double slept = 0; slept < kRetryEvery_s && !stop_requested(); slept += 0.1)
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
}

}  // namespace cos2p
