#include "contradictions.hpp"

#include <algorithm>
#include <limits>
#include <map>
#include <utility>

#include "cos2p/method/method.hpp"
#include "cos2p/support/error.hpp"
#include "policy_settings.hpp"

namespace cos2p::config {
namespace {

Source source_of(const WrittenOptions& written, const std::string& name) {
  const auto found = written.find(name);
  return found == written.end() ? Source::standard : found->second.source;
}

std::string called(const WrittenOptions& written, const std::string& name) {
  const auto found = written.find(name);
  if (found == written.end()) return "--" + name;
  const std::string& where = found->second.where;
  return where.empty() ? "--" + name : fmt::format("--{} ({})", name, where);
}

void drop_overruled(WrittenOptions& written) {
  for (const OptionSpec& spec : option_table()) {
    const Source own = source_of(written, spec.name);
    if (own == Source::standard) continue;
    if (!spec.yields_to.empty() && source_of(written, spec.yields_to) > own) written.erase(spec.name);
    if (spec.exclusive_with.empty()) continue;
    const Source other = source_of(written, spec.exclusive_with);
    if (other == own) {
      fail(ExitCode::usage,
           "{} and {} contradict each other (both say the same thing in different ways), give one of them",
           called(written, spec.name), called(written, spec.exclusive_with));
    }
    if (other > own) written.erase(spec.name);
  }
}

bool is_given(const WrittenOptions& written, const std::string& name) {
  return source_of(written, name) > Source::environment;
}

/// Puts in a setting that is always so beside `owner` ("--method NAME"). It is no place to be contradicted;
/// environment variables are a machine's defaults and give way.
void fix(WrittenOptions& written, const Method::Setting& setting, const std::string& owner) {
  if (!is_given(written, setting.option)) {
    written[setting.option] = {{setting.value}, Source::standard, owner};
    return;
  }
  const Values& values = written.at(setting.option).values;
  if (values == Values{setting.value}) return;
  fail(
      ExitCode::usage,
      "{} cannot be '{}' beside {} (it is a part of this {} and always '{}'), leave it out or choose another "
      "{}",
      called(written, setting.option), values.back(), owner, owner.substr(2, owner.find(' ') - 2),
      setting.value, owner.substr(2, owner.find(' ') - 2));
}

/// Puts in what the method and the policy say. What the method fixes is how it trains, whatever the policy;
/// of usual values the policy's go first, because it says how merges are made in time.
void apply_settings(WrittenOptions& written) {
  const auto last = [&written](const char* name, const std::string& otherwise) {
    const auto found = written.find(name);
    return found == written.end() ? otherwise : found->second.values.back();
  };
  const std::string chosen = last("method", methods().front().name);
  const Method& method = find_method(chosen);
  const std::string of_method = "--method " + method.name;
  for (const Method::Setting& setting : method.fixed) fix(written, setting, of_method);
  const std::string name = last("policy", to_string(PolicyOptions{}.kind));
  const PolicySettings policy = policy_settings(name);
  const std::string of_policy = "--policy " + name;
  for (const Method::Setting& setting : policy.fixed) {
    const bool taken = std::any_of(method.fixed.begin(), method.fixed.end(),
                                   [&](const Method::Setting& own) { return own.option == setting.option; });
    if (!taken) fix(written, setting, of_policy);
  }
  if (name == to_string(PolicyKind::semi_async) || name == to_string(PolicyKind::fedbuff)) {
    const std::string of_both = fmt::format("{} {}", of_method, of_policy);
    for (const Method::Setting& setting : method.buffered_defaults)
      written.insert({setting.option, {{setting.value}, Source::standard, of_both}});
  }
  for (const Method::Setting& setting : policy.defaults)
    written.insert({setting.option, {{setting.value}, Source::standard, of_policy}});
  for (const Method::Setting& setting : method.defaults)
    written.insert({setting.option, {{setting.value}, Source::standard, of_method}});
}

RunOptions read_all(Subcommand subcommand, const WrittenOptions& written) {
  RunOptions options;
  for (const OptionSpec& spec : option_table()) {
    const auto found = written.find(spec.name);
    if (found == written.end()) continue;
    try {
      spec.set(options, found->second.values);
    } catch (const BadValue& bad) {
      std::string text;
      for (const std::string& value : found->second.values) text += (text.empty() ? "" : ",") + value;
      const std::string& where = found->second.where;
      fail(ExitCode::usage, "{} cannot be '{}' (expected {}{}), see cos2p {} --help",
           spec.positional ? spec.metavar : "--" + spec.name, text, bad.expected,
           where.empty() ? "" : "; " + where, to_string(subcommand));
    }
  }
  return options;
}

/// What was not written beside --resume, and the data of an evaluation without --dataset, stand in the
/// checkpoint, and the data of a run that is joined are told by its server: they are not known here.
bool cause_unknown(Subcommand subcommand, const WrittenOptions& written, const std::string& cause) {
  const bool data_elsewhere = subcommand == Subcommand::evaluate || subcommand == Subcommand::join;
  const bool open = data_elsewhere ? cause == "dataset" : source_of(written, "resume") != Source::standard;
  return open && source_of(written, cause) == Source::standard;
}

void drop_meaningless(Subcommand subcommand, const RunOptions& options, WrittenOptions& written) {
  for (const OptionSpec& spec : option_table()) {
    const Source own = source_of(written, spec.name);
    if (own == Source::standard) continue;
    for (const Objection& objection : spec.objections) {
      const std::string& cause = objection.cause;
      if (cause_unknown(subcommand, written, cause)) continue;
      const std::string reason = objection.why_not(options);
      if (reason.empty()) continue;
      if (own >= Source::file && own >= source_of(written, cause)) {
        const auto owner = written.find(cause);
        const bool of_method = owner != written.end() && owner->second.source == Source::standard &&
                               !owner->second.where.empty();
        fail(ExitCode::usage, "{} has no meaning beside --{} {}{} ({}), leave one of them out or change it",
             called(written, spec.name), cause, find_option(cause)->get(options),
             of_method ? " of " + owner->second.where : "", reason);
      }
      written.erase(spec.name);
      break;
    }
  }
}

void refuse_impossible(Subcommand subcommand, const RunOptions& o, const WrittenOptions& written) {
  const std::map<Subcommand, std::pair<const char*, const char*>> needs{
      {Subcommand::inspect, {"a checkpoint", "runs/latest/latest"}},
      {Subcommand::evaluate, {"a checkpoint", "runs/latest/latest"}},
      {Subcommand::join, {"the key of a run", "runs/latest/join.json"}},
      {Subcommand::replay, {"the output directory of a run", "runs/latest"}}};
  if (const auto needed = needs.find(subcommand); needed != needs.end() && o.file.empty()) {
    fail(ExitCode::usage, "FILE is missing ({0} needs {1}), write for example: cos2p {0} {2}",
         to_string(subcommand), needed->second.first, needed->second.second);
  }
  const bool training = (bit(subcommand) & kTrain) != 0;
  const bool dataset_counts = training || source_of(written, "dataset") != Source::standard;
  if (dataset_counts && o.dataset.kind != DatasetKind::synthetic && o.dataset.data_dir.empty()) {
    fail(ExitCode::usage,
         "--data-dir is missing (--dataset {} is read from files), give the directory that holds them; "
         "datasets/README.md says "
         "how to get them",
         to_string(o.dataset.kind));
  }
  if (training && o.model.linear() && holds_texts(o.dataset.kind)) {
    fail(ExitCode::usage,
         "--model linear cannot read texts (it weighs pixels, and --dataset {} holds texts), choose another "
         "model or a data set of images",
         to_string(o.dataset.kind));
  }
  if (subcommand == Subcommand::train && o.model.reads_texts() && !holds_texts(o.dataset.kind)) {
    fail(ExitCode::usage,
         "--model {} is a model of texts (--dataset {} holds images), choose base or a data set of texts",
         o.model_name, to_string(o.dataset.kind));
  }
  if (o.fleet.frozen_blocks >= o.model.blocks) {
    fail(ExitCode::usage,
         "--frozen-blocks cannot be {} (the model has {} blocks and at least one must be trained), freeze at "
         "most {}",
         o.fleet.frozen_blocks, o.model.blocks, o.model.blocks - 1);
  }
  if (training && o.local.warmup_rounds > o.rounds) {
    fail(ExitCode::usage,
         "--warmup-rounds cannot be {} (the run has {} rounds), warm up over at most so many",
         o.local.warmup_rounds, o.rounds);
  }
  if (training && o.policy.depth_momentum > 0 && o.policy.merge != MergeKind::deltas) {
    fail(ExitCode::usage,
         "--depth-momentum cannot be {} beside --merge {} (it mixes deltas), give --merge deltas",
         o.policy.depth_momentum, to_string(o.policy.merge));
  }
  if (o.local.overlap && o.fleet.rolling_windows) {
    fail(ExitCode::usage,
         "--overlap cannot be beside --rolling-windows (it holds a copy of every block, which is more than a "
         "window's budget), leave one of them out");
  }
  if (subcommand == Subcommand::train && o.local.overlap &&
      (o.policy.lockstep() || o.transport == TransportKind::in_process)) {
    fail(ExitCode::usage, "--overlap cannot hide transfers beside {} ({}), leave it out or choose {}",
         o.policy.lockstep() ? "--policy sync" : "--transport in-process",
         o.policy.lockstep() ? "a round begins when the one before is merged" : "nothing is transferred",
         o.policy.lockstep() ? "--policy semi-async" : "--transport rma");
  }
  if (training && o.output.empty()) {
    fail(ExitCode::usage,
         "--output cannot be empty (checkpoints and metrics are written there), give a directory");
  }
}

/// The numbers that follow from others.
void complete(RunOptions& options, const WrittenOptions& written) {
  if (source_of(written, "partition-seed") == Source::standard) options.partition.seed = options.seed;
  if (options.fleet.submodel == SubmodelKind::smallest) {
    // One small model for all: everybody has the same units, at the size they have in it.
    options.width.rule = WidthRule::prefix;
    options.width.reselect_every = 0;
    options.local.scale_kept_units = false;
  }
  PolicyOptions& policy = options.policy;
  if (!policy.lockstep() && !policy.at_once()) return;
  policy.deadline_s = 0;
  policy.min_updates = policy.lockstep() ? std::numeric_limits<int>::max() : 1;
}

}  // namespace

RunOptions resolve(Subcommand subcommand, WrittenOptions& written) {
  drop_overruled(written);
  apply_settings(written);
  drop_meaningless(subcommand, read_all(subcommand, written), written);
  RunOptions options = read_all(subcommand, written);
  refuse_impossible(subcommand, options, written);
  complete(options, written);
  return options;
}

}  // namespace cos2p::config
