// cos2p doctor: what would keep a run on these machines from working, or slow, before it is tried.
#include <fmt/format.h>
#include <mpi.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <climits>
#include <cstdio>
#include <memory>

#include "commands.hpp"
#include "cos2p/support/bytes.hpp"
#include "cos2p/support/error.hpp"
#include "cos2p/support/logging.hpp"
#include "cos2p/support/machine.hpp"
#include "cos2p/support/narrow.hpp"
#include "cos2p/transport/mpi_call.hpp"
#include "doctor.hpp"

namespace cos2p {
namespace {

using namespace doctor;

constexpr int kTrial_s = 90;  // for two ranks on this host; a fabric that hangs is refused after 7

/// Every rank's text, at rank 0. Collective.
std::vector<std::string> gather_texts(const MpiRuntime& mpi, const std::string& text) {
  const auto ranks = static_cast<std::size_t>(mpi.size());
  const auto size = narrow<int>(text.size(), "report");
  std::vector<int> sizes(ranks), offsets(ranks);
  COS2P_MPI(MPI_Gather, &size, 1, MPI_INT, sizes.data(), 1, MPI_INT, 0, MPI_COMM_WORLD);
  int total = 0;
  for (std::size_t r = 0; r < ranks; ++r) {
    offsets[r] = total;
    total += sizes[r];
  }
  std::string all(static_cast<std::size_t>(total), ' ');
  COS2P_MPI(MPI_Gatherv, text.data(), size, MPI_CHAR, all.data(), sizes.data(), offsets.data(), MPI_CHAR, 0,
            MPI_COMM_WORLD);
  std::vector<std::string> texts;
  for (std::size_t r = 0; mpi.rank() == 0 && r < ranks; ++r)
    texts.push_back(all.substr(static_cast<std::size_t>(offsets[r]), static_cast<std::size_t>(sizes[r])));
  return texts;
}

std::string this_program() {
  std::array<char, PATH_MAX> path{};
  const ssize_t size = readlink("/proc/self/exe", path.data(), path.size() - 1);
  return size > 0 ? std::string(path.data(), static_cast<std::size_t>(size)) : "cos2p";
}

/// A word of a shell command.
std::string quoted(const std::string& text) {
  std::string word = "'";
  for (const char c : text) word += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return word + "'";
}

/// Started alone, there is nobody to reach: two ranks on this host try what a run does.
Finding try_two_ranks(Links& links) {
  const std::string command =
      fmt::format("timeout {} mpirun {}--oversubscribe -n 2 {} doctor --links-only 2>&1", kTrial_s,
                  geteuid() == 0 ? "--allow-run-as-root " : "", quoted(this_program()));
  Finding f{"MPI", "", "", Verdict::ok, ""};
  std::string output;
  std::unique_ptr<FILE, int (*)(FILE*)> pipe(popen(command.c_str(), "r"), pclose);
  std::array<char, 4096> part{};
  while (pipe && std::fgets(part.data(), part.size(), pipe.get()) != nullptr) output += part.data();
  const int status = pipe ? pclose(pipe.release()) : -1;
  try {
    // One line; mpirun and its helpers may write others around it.
    const std::size_t line =
        output.find("\n{") == std::string::npos ? output.find('{') : output.find("\n{") + 1;
    const std::size_t end = output.find('\n', std::min(line, output.size()));
    const auto json = nlohmann::json::parse(output.substr(std::min(line, output.size()), end - line));
    links.component = json.at("one_sided");
    for (const auto& link : json.at("links"))
      links.links.push_back(
          {link.at("rank"), link.at("push_bytes_per_s"), link.at("pull_bytes_per_s"), link.at("read_s")});
    f.value = json.at("mpi").get<std::string>() + ", tried with two ranks on this host";
  } catch (const std::exception&) {
    f.verdict = Verdict::bad;
    f.value = "two ranks on this host cannot exchange anything";
    const int code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    f.cure = code == 127   ? "mpirun was not found: install openmpi-bin, or put it into PATH"
             : code == 124 ? fmt::format("mpirun has not returned for {} s: {}", kTrial_s, output)
                           : fmt::format("mpirun ended with {}: {}", code, output);
  }
  return f;
}

/// "board.json" for one host, "board-HOST.json" for several.
std::string profile_path(const std::string& file, const std::string& name, bool several) {
  return several ? fmt::format("{}-{}.json", file.substr(0, file.size() - 5), name) : file;
}

void write_profiles(const std::vector<RankReport>& reports, const Links& links, const RunOptions& options) {
  const auto measured = std::count_if(reports.begin(), reports.end(),
                                      [](const RankReport& report) { return !report.profile.empty(); });
  for (const RankReport& report : reports) {
    if (report.profile.empty()) continue;
    DeviceProfile profile = find_device_profile(report.profile);
    std::string link_note = "gigabit Ethernet assumed";
    for (const Link& link : links.links) {
      if (reports.size() == 1 || link.rank != report.rank) continue;
      profile.link = 2 / (1 / link.push + 1 / link.pull);  // of as many bytes one way as the other
      link_note = "link measured to the server";
    }
    profile.description = fmt::format("{} ({})", report.findings.front().value, link_note);
    const std::string path = profile_path(options.calibrate, profile.name, measured > 1);
    write_device_profile(path, profile);
    if (options.json) continue;
    fmt::print(
        "{}: {:.3g} FLOP/s in training, {} of memory at {:.3g} B/s, {}: {:.3g} B/s; use it as a budget: "
        "--budgets {}\n",
        path, profile.flops, format_bytes(static_cast<double>(profile.memory)), profile.bandwidth, link_note,
        profile.link, path);
  }
}

int conclude(const std::vector<RankReport>& reports, const std::vector<Finding>& common, const Links& links,
             const RunOptions& options) {
  const nlohmann::ordered_json json = report_json(reports, common, links);
  if (options.json) {
    fmt::print("{}\n", json.dump(2));
  } else {
    fmt::print("{}", report_text(reports, common, links));
  }
  const bool ready = json.at("ready").get<bool>();
  if (!options.json) fmt::print("{}\n", ready ? "ready to run" : "a run could not work: see FAILS above");
  std::fflush(stdout);
  return static_cast<int>(ready ? ExitCode::ok : ExitCode::environment);
}

/// Whatever fails here is a finding: the other ranks wait for this one's report.
RankReport look(const RunOptions& options, int rank, int local_rank) {
  RankReport report;
  report.rank = rank;
  try {
    report = examine(options, rank, local_rank);
    if (!options.calibrate.empty() && local_rank == 0)
      report.profile = profile_text(calibrate(options, local_rank));
  } catch (const std::exception& error) {
    report.findings.push_back({"machine", "cannot be looked at or measured", "", Verdict::bad, error.what()});
  }
  return report;
}

int examine_alone(const RunOptions& options) {
  std::vector<RankReport> reports{look(options, 0, 0)};
  Links links;
  if (!options.this_host_only) reports.front().findings.push_back(try_two_ranks(links));
  const int code = conclude(reports, {}, links, options);
  if (!options.calibrate.empty()) write_profiles(reports, links, options);
  return code;
}

void print_links(const MpiRuntime& mpi, const Links& links) {
  nlohmann::ordered_json json = report_json({}, {}, links);
  json["mpi"] = mpi.library_version();
  fmt::print("{}\n", json.dump());
}

}  // namespace

int run_doctor(int& argc, char**& argv, const CommandLine& command, const LaunchInfo& launch) {
  const RunOptions& options = command.options;
  if (launch.ranks == 1 || options.this_host_only) return examine_alone(options);
  const std::string environment = prepare_mpi_environment(launch);
  MpiRuntime mpi(argc, argv);
  setup_logging(mpi.rank() == 0 ? "doctor" : fmt::format("rank {}", mpi.rank()), "", mpi.rank() != 0);
  std::vector<RankReport> reports;
  std::vector<Finding> common;
  const bool speaks = mpi.rank() == 0;
  if (!options.links_only) {
    RankReport own = look(options, mpi.rank(), launch.local_rank);
    COS2P_MPI(MPI_Barrier, MPI_COMM_WORLD);
    own.clock_s = wall_clock_seconds();
    for (const std::string& text : gather_texts(mpi, to_text(own))) reports.push_back(from_text(text));
    if (speaks) {
      common = compare_ranks(reports);
      common.insert(common.begin(),
                    {"MPI", mpi.library_version() + " (" + environment + ")", "", Verdict::ok, ""});
    }
  }
  Links links;
  try {
    links = probe_links(mpi);
  } catch (const Error& error) {
    if (options.links_only || !speaks) {
      fmt::print(stderr, "{}\n", error.what());
    } else {
      common.push_back({"links", "the ranks cannot reach each other", "", Verdict::bad, error.what()});
      conclude(reports, common, {}, options);
    }
    mpi.abort(static_cast<int>(ExitCode::environment));
  }
  int code = 0;
  if (speaks && options.links_only) print_links(mpi, links);
  if (speaks && !options.links_only) code = conclude(reports, common, links, options);
  if (speaks && !options.calibrate.empty()) {
    try {
      write_profiles(reports, links, options);
    } catch (const Error& error) {
      fmt::print(stderr, "{}\n", error.what());
      code = static_cast<int>(error.code());
    }
  }
  std::fflush(stdout);
  mpi.finish(true, code);
  return code;
}

}  // namespace cos2p
