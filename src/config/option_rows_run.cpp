#include "option_rows.hpp"

#include <algorithm>
#include <cctype>

#include "cos2p/support/bytes.hpp"
#include "cos2p/support/error.hpp"
#include "cos2p/support/narrow.hpp"

namespace cos2p::config {

namespace {

void set_device(RunOptions& o, const Values& v) {
  const std::string& text = v.back();
  bool known = text == "auto" || text == "cpu" || text == "cuda";
  if (text.rfind("cuda:", 0) == 0) {
    const std::string number = text.substr(5);
    known = !number.empty() && number.size() < 4 &&
            std::all_of(number.begin(), number.end(), [](unsigned char c) { return std::isdigit(c) != 0; });
  }
  if (!known) throw BadValue{"auto, cpu, cuda or cuda:N"};
  o.device = text;
}

constexpr double kLeastSpeedChange = 1.2;

/// Of an option that takes 0 for "no limit".
std::int64_t size_or_none(const std::string& text, const char* option) {
  try {
    return narrow<std::int64_t>(parse_bytes(text, option));
  } catch (const Error&) {
    throw BadValue{"a size such as 512MiB, or 0"};
  }
}

}  // namespace

void add_run(Table& t) {
  t.group("Run", kRanks | kSimulate);
  t.seed("seed", AT(seed), "of all that is random");
  t.group("Run", kTrain | kDoctor);
  t.text("output", AT(output), "DIR",
         "directory for checkpoints, metrics.csv, options.toml and run.log; compare: for its tables and all "
         "runs; doctor: where a checkpoint is written on trial");
  t.group("Run", kDoctor);
  t.text("calibrate", AT(calibrate), "FILE.json",
         "measure FLOP/s, memory and link, and write a device profile that --budgets takes; under mpirun one "
         "for "
         "each host, FILE-HOST.json")
      .set = [](RunOptions& o, const Values& v) {
    const std::string& name = v.back();
    if (name.size() < 6 || name.substr(name.size() - 5) != ".json")
      throw BadValue{"a name that ends with .json"};
    o.calibrate = name;
  };
  t.flag("this-host-only", AT(this_host_only), "do not try MPI: only what this host has and can do");
  t.flag("links-only", AT(links_only), "only the links between ranks, as JSON").hidden = true;
  t.group("Run", kRanks | kSimulate);
  t.text("resume", AT(resume), "DIR|FILE", "go on from this checkpoint, or from the newest in this directory")
      .default_text = "none";
  t.group("Run", kTrain);
  t.whole("evaluate-every", AT(evaluate_every), 0, kMany,
          "server rounds between evaluations; 0 = only at the end");
  t.whole("checkpoint-every", AT(checkpoint_every), 0, kMany,
          "server rounds between checkpoints; 0 = only at the end");
  t.group("Run", kRanks);
  t.choice<TransportKind>(
      "transport", AT(transport),
      "rma: one-sided MPI between processes; in-process: all in one, reproducible to the bit");
  OptionSpec& suspect =
      t.real("suspect-after", AT(suspect_after_s), 0, false, kAny,
             "seconds without a heartbeat (one an optimizer step) after which nobody waits for a "
             "worker until it is heard again");
  suspect.metavar = "SECONDS";
  OptionSpec& timeout = t.real("worker-timeout", AT(worker_timeout_s), 0, false, kAny,
                               "seconds without a heartbeat after which a worker is put out");
  timeout.metavar = "SECONDS";
  t.whole(
      "bad-messages", AT(bad_messages), 0, kMany,
      "a worker that sends more messages than this which cannot be used (damaged, forged, no numbers) is put "
      "out; 0 = never");
  t.flag("replan", AT(replan),
         "when a segment has lost trainers and has fewer than --min-trainers, let clients whose budget holds "
         "it train it, until "
         "the others are back; give a client whose machine runs short of memory a smaller submodel, until it "
         "has more; not with --depth-momentum");
  OptionSpec& speed =
      t.real("replan-speed", AT(replan_speed), 0, true, kAny,
             "give a client that has become slower by this factor (a hot or shared machine) a submodel of as "
             "many fewer FLOPs, until it is faster again; 0 = never");
  speed.set = [set = speed.set](RunOptions& o, const Values& v) {
    set(o, v);
    if (o.replan_speed > 0 && o.replan_speed < kLeastSpeedChange)
      throw BadValue{fmt::format("0 or at least {}: less is noise", kLeastSpeedChange)};
  };
  only(
      speed, "replan", [](const RunOptions& o) { return o.replan; }, "no plan changes");
  only(
      speed, "depth-momentum", [](const RunOptions& o) { return o.policy.depth_momentum == 0; },
      "no plan changes with it");
  only(
      speed, "submodel", [](const RunOptions& o) { return o.fleet.submodel == SubmodelKind::fit; },
      "clients get no other submodels then");
  t.flag("stop-uncovered", AT(stop_uncovered),
         "end the run, with a checkpoint, when a segment has lost its last trainer and no plan gives it "
         "another, instead of going on "
         "without");
  t.flag("accept-joins", AT(accept_joins),
         "let workers join while the run goes on: cos2p join OUTPUT/join.json, a file with the run's secret");
  OptionSpec& port =
      t.whole("join-port", AT(join_port), 0, 65535, "where they are listened for; 0 = a free port");
  only(
      port, "accept-joins", [](const RunOptions& o) { return o.accept_joins; }, "nobody may join");
  OptionSpec& seats =
      t.whole("open-seats", AT(open_seats), 0, kMany,
              "clients (the last ones) that no worker executes until one joins; they are planned for");
  only(
      seats, "accept-joins", [](const RunOptions& o) { return o.accept_joins; }, "nobody may join");
  t.group("Run", kRanks | kSimulate);
  t.flag("event-log", AT(event_log),
         "record all that the server is told, and what it publishes, in OUTPUT/events, for cos2p replay");
  OptionSpec& limit =
      t.add("event-log-limit", "SIZE", "bytes after which nothing more is recorded; 0 = none");
  limit.set = [](RunOptions& o, const Values& v) {
    o.event_log_limit = size_or_none(v.back(), "--event-log-limit");
  };
  limit.get = [](const RunOptions& o) { return std::to_string(o.event_log_limit); };
  limit.default_text = "4GiB";
  only(
      limit, "event-log", [](const RunOptions& o) { return o.event_log; }, "there is no event log");
  t.whole("history-rows", AT(history_rows), 0, kMany,
          "newest rows that each table of /history keeps, in memory and in checkpoints, and each CSV file "
          "(with one more such file, metrics.1.csv); 0 = all");
  OptionSpec& log_limit =
      t.add("log-limit", "SIZE", "bytes of run.log, of which one more is kept (run.1.log); 0 = none");
  log_limit.set = [](RunOptions& o, const Values& v) { o.log_limit = size_or_none(v.back(), "--log-limit"); };
  log_limit.get = [](const RunOptions& o) { return std::to_string(o.log_limit); };
  t.group("Run", kRanks);
  t.whole("ring-slots", AT(ring.slots), 2, 65536, "slots of a worker's channel");
  OptionSpec& slot = t.add("ring-slot-bytes", "SIZE", "bytes of a slot, for example 512KiB");
  slot.set = [](RunOptions& o, const Values& v) {
    std::uint64_t bytes = 0;
    try {
      bytes = parse_bytes(v.back(), "--ring-slot-bytes");
    } catch (const Error&) {
      bytes = 0;
    }
    if (bytes < 4096 || bytes > (std::uint64_t{1} << 30)) throw BadValue{"a size from 4KiB to 1GiB"};
    o.ring.slot_bytes = static_cast<std::int64_t>(bytes);
  };
  slot.get = [](const RunOptions& o) { return std::to_string(o.ring.slot_bytes); };
  slot.default_text = "256KiB";
  t.group("Run", kTrain);
  t.flag("quiet", AT(quiet), "no round lines and no progress bar on the terminal");

  t.group("Run", kTrain | kEvaluate | kDoctor | kJoin);
  t.text("device", AT(device), "auto|cpu|cuda[:N]", "what computes").set = set_device;
  t.group("Run", kRanks | kSimulate | kEvaluate | kDoctor | kJoin);
  t.whole("threads", AT(threads), 0, 1024,
          "CPU threads per rank, 0 = the host's cores shared among its ranks; simulate: local rounds "
          "computed at a "
          "time, 0 = cores");
  t.group("Run", kTrain | kEvaluate);
  t.whole("evaluation-batch", AT(evaluation_batch), 1, 1 << 20, "samples evaluated at once");
  t.group("Output", kPlan | kInspect | kEvaluate | kDoctor | kReplay);
  t.flag("json", AT(json), "print JSON for programs instead of a table");
  t.group("Run", kJoin);
  t.text("server", AT(server), "HOST[:PORT]",
         "the run's server, where the key does not say it as seen from here")
      .default_text = "as the key says";
  t.whole("clients-here", AT(seats), 0, kMany,
          "clients to execute here, if so many have nobody; 0 = as many as an average worker of the run");
  t.real("retry-for", AT(retry_for_s), 0, true, kAny,
         "seconds for which a server that cannot be reached, or was lost, is tried again")
      .metavar = "SECONDS";
  t.group("Run", kReplay);
  t.whole("part", AT(part), 0, kMany, "which start of the server is replayed; 0 = all");
  t.group("Input", kInspect | kEvaluate | kJoin | kReplay);
  t.text("file", AT(file), "FILE",
         "a checkpoint, or the output directory of a run (its newest one); join: the run's join.json or the "
         "directory that holds it; replay: the output directory of a run")
      .positional = true;
}

}  // namespace cos2p::config
