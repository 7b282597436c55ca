#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <limits>
#include <sstream>

#include "config/parsing.hpp"
#include "help.hpp"

using namespace cos2p;
using namespace cos2p::testing;

BOOST_FIXTURE_TEST_SUITE(command_line, NoCos2pVariables)

BOOST_AUTO_TEST_CASE(every_option_of_train_reaches_its_member) {
  const CommandLine line = parse({"train",
                                  "--dataset",
                                  "cifar-100",
                                  "--data-dir",
                                  "d",
                                  "--coarse-labels",
                                  "--limit-train",
                                  "100",
                                  "--limit-test",
                                  "50",
                                  "--crop-padding",
                                  "4",
                                  "--flip",
                                  "--partition",
                                  "shards",
                                  "--classes-per-client",
                                  "3",
                                  "--minimum-size",
                                  "7",
                                  "--partition-seed",
                                  "18446744073709551615",
                                  "--model",
                                  "tiny",
                                  "--dim",
                                  "96",
                                  "--blocks",
                                  "5",
                                  "--heads",
                                  "6",
                                  "--feed-forward",
                                  "200",
                                  "--patch",
                                  "8",
                                  "--exits",
                                  "4,1",
                                  "--budgets",
                                  "1,0.5",
                                  "--memory-budget",
                                  "2GiB,orin-nano",
                                  "--clients",
                                  "9",
                                  "--balance",
                                  "deep",
                                  "--frozen-blocks",
                                  "2",
                                  "--rounds",
                                  "33",
                                  "--policy",
                                  "semi-async",
                                  "--min-updates",
                                  "4",
                                  "--deadline",
                                  "2.5",
                                  "--staleness-bound",
                                  "3",
                                  "--discount",
                                  "hinge",
                                  "--discount-a",
                                  "0.25",
                                  "--discount-b",
                                  "2",
                                  "--weighting",
                                  "uniform",
                                  "--normalize",
                                  "updates",
                                  "--local-steps",
                                  "12",
                                  "--batch-size",
                                  "48",
                                  "--optimizer",
                                  "adamw",
                                  "--learning-rate",
                                  "1e-3",
                                  "--weight-decay",
                                  "0.01",
                                  "--schedule",
                                  "cosine",
                                  "--warmup-rounds",
                                  "2",
                                  "--schedule-rounds",
                                  "30",
                                  "--clip-norm",
                                  "0",
                                  "--no-scale-kept-units",
                                  "--reselect-every",
                                  "5",
                                  "--seed",
                                  "42",
                                  "--output",
                                  "out dir",
                                  "--resume",
                                  "r",
                                  "--evaluate-every",
                                  "2",
                                  "--checkpoint-every",
                                  "3",
                                  "--transport",
                                  "in-process",
                                  "--ring-slots",
                                  "16",
                                  "--ring-slot-bytes",
                                  "1MiB",
                                  "--quiet",
                                  "--device",
                                  "cuda:1",
                                  "--threads",
                                  "3",
                                  "--evaluation-batch",
                                  "64"});
  const RunOptions& o = line.options;
  BOOST_TEST((line.subcommand == Subcommand::train));
  BOOST_TEST((o.dataset.kind == DatasetKind::cifar_100));
  BOOST_TEST(o.dataset.data_dir == "d");
  BOOST_TEST(o.dataset.coarse_labels);
  BOOST_TEST(o.dataset.limit_train == 100);
  BOOST_TEST(o.dataset.limit_test == 50);
  BOOST_TEST(o.augment.crop_padding == 4);
  BOOST_TEST(o.augment.flip);
  BOOST_TEST((o.partition.kind == PartitionKind::shards));
  BOOST_TEST(o.partition.classes_per_client == 3);
  BOOST_TEST(o.partition.minimum_size == 7);
  BOOST_TEST(o.partition.seed == std::numeric_limits<std::uint64_t>::max());
  BOOST_TEST(o.model_name == "tiny");
  BOOST_TEST(o.model.dim == 96);
  BOOST_TEST(o.model.blocks == 5);
  BOOST_TEST(o.model.heads == 6);
  BOOST_TEST(o.model.feed_forward == 200);
  BOOST_TEST(o.model.patch == 8);
  BOOST_TEST(o.patch_given);
  BOOST_TEST(o.model.exits == (std::vector<int>{1, 4}), boost::test_tools::per_element());
  BOOST_TEST(o.budgets == (std::vector<std::string>{"1", "0.5", "2GiB", "orin-nano"}),
             boost::test_tools::per_element());
  BOOST_TEST(o.clients == 9);
  BOOST_TEST((o.fleet.balance == BalanceKind::deep));
  BOOST_TEST(o.fleet.frozen_blocks == 2);
  BOOST_TEST(o.rounds == 33);
  BOOST_TEST(o.policy.min_updates == 4);
  BOOST_TEST(o.policy.deadline_s == 2.5);
  BOOST_TEST(o.policy.staleness_bound == 3);
  BOOST_TEST((o.policy.discount == DiscountKind::hinge));
  BOOST_TEST(o.policy.discount_a == 0.25);
  BOOST_TEST(o.policy.discount_b == 2);
  BOOST_TEST((o.policy.weighting == WeightingKind::uniform));
  BOOST_TEST((o.policy.normalize == NormalizeKind::updates));
  BOOST_TEST(o.local.local_steps == 12);
  BOOST_TEST(o.local.batch_size == 48);
  BOOST_TEST((o.local.optimizer == OptimizerKind::adamw));
  BOOST_TEST(o.local.learning_rate == 1e-3);
  BOOST_TEST(o.local.weight_decay == 0.01);
  BOOST_TEST((o.local.schedule == ScheduleKind::cosine));
  BOOST_TEST(o.local.warmup_rounds == 2);
  BOOST_TEST(o.local.schedule_rounds == 30);
  BOOST_TEST(o.local.clip_norm == 0);
  BOOST_TEST(!o.local.scale_kept_units);
  BOOST_TEST(o.width.reselect_every == 5);
  BOOST_TEST(o.seed == 42);
  BOOST_TEST(o.output == "out dir");
  BOOST_TEST(o.resume == "r");
  BOOST_TEST(o.evaluate_every == 2);
  BOOST_TEST(o.checkpoint_every == 3);
  BOOST_TEST((o.transport == TransportKind::in_process));
  BOOST_TEST(o.ring.slots == 16);
  BOOST_TEST(o.ring.slot_bytes == 1 << 20);
  BOOST_TEST(o.quiet);
  BOOST_TEST(o.device == "cuda:1");
  BOOST_TEST(o.threads == 3);
  BOOST_TEST(o.evaluation_batch == 64);
  BOOST_TEST(line.in_effect.at("output") == "\"out dir\"");
  BOOST_TEST(line.in_effect.at("exits") == "[1, 4]");
  BOOST_TEST(line.in_effect.count("momentum") == 0);
  BOOST_TEST(line.given.count("rounds") == 1U);
  BOOST_TEST(line.given.count("momentum") == 0U);
}

BOOST_AUTO_TEST_CASE(defaults_and_numbers_that_follow_from_others) {
  const RunOptions o = parse({"train", "--seed", "7"}).options;
  BOOST_TEST(o.partition.seed == 7);
  BOOST_TEST(o.dataset.seed == 0);
  BOOST_TEST(!o.patch_given);
  BOOST_TEST(o.policy.min_updates == 2);
  const RunOptions sync = parse({"train", "--policy", "sync"}).options;
  BOOST_TEST(sync.policy.min_updates == std::numeric_limits<int>::max());
  BOOST_TEST(sync.policy.deadline_s == 0);
  BOOST_TEST(sync.policy.lockstep());
  const RunOptions async = parse({"train", "--policy", "async"}).options;
  BOOST_TEST(async.policy.min_updates == 1);
  BOOST_TEST(async.policy.deadline_s == 0);
  BOOST_TEST(parse({"train", "--model", "base"}).options.model.dim == 768);
  BOOST_TEST(parse({"train", "--exits", "last", "--blocks", "4"}).options.model.exits.at(0) == 3);
  BOOST_TEST(parse({"train", "--exits", "all"}).options.model.exits.empty());
}

BOOST_AUTO_TEST_CASE(published_policies_are_settings_of_the_rule) {
  const RunOptions fedasync = parse({"train", "--policy", "fedasync"}).options;
  BOOST_TEST(fedasync.policy.min_updates == 1);
  BOOST_TEST((fedasync.policy.merge == MergeKind::values));
  BOOST_TEST((fedasync.policy.normalize == NormalizeKind::updates));
  BOOST_TEST(!fedasync.policy.pace_correction);
  BOOST_TEST(fedasync.policy.server_rate == 0.9);
  BOOST_TEST(
      parse({"train", "--policy", "fedasync", "--server-learning-rate", "0.6"}).options.policy.server_rate ==
      0.6);
  BOOST_TEST(fedasync.policy.server_momentum == 0);  // the method's own would be another
  const RunOptions rival = parse({"train", "--policy", "fedbuff", "--method", "fjord"}).options;
  BOOST_TEST((rival.policy.weighting == WeightingKind::uniform));
  const CommandLine line = parse({"train", "--policy", "fedbuff", "--min-updates", "5"});
  const PolicyOptions& fedbuff = line.options.policy;
  BOOST_TEST(fedbuff.min_updates == 5);
  BOOST_TEST(fedbuff.deadline_s == 0);
  BOOST_TEST((fedbuff.merge == MergeKind::deltas));
  BOOST_TEST((fedbuff.weighting == WeightingKind::uniform));
  BOOST_TEST(!fedbuff.pace_correction);
  // What is recorded gives the same options again, on whatever else they are read beside.
  const CommandLine again = parse_options(Subcommand::train, to_toml(line.in_effect));
  BOOST_TEST((again.in_effect == line.in_effect));
}

BOOST_AUTO_TEST_CASE(a_method_keeps_what_it_fixes_beside_any_policy) {
  const RunOptions o = parse({"train", "--method", "fiarse", "--policy", "fedbuff"}).options;
  BOOST_TEST((o.policy.kind == PolicyKind::fedbuff));
  BOOST_TEST((o.policy.normalize == NormalizeKind::changed));
  BOOST_TEST((o.policy.merge == MergeKind::deltas));
  BOOST_TEST((o.fleet.submodel == SubmodelKind::full));
  BOOST_TEST((o.local.weight_mask == WeightMaskKind::magnitude));
  const RunOptions values = parse({"train", "--method", "fiarse", "--policy", "fedasync"}).options;
  BOOST_TEST((values.policy.merge == MergeKind::deltas));
  BOOST_TEST(values.policy.server_rate == 0.9);
}

BOOST_AUTO_TEST_CASE(plan_inspect_and_evaluate) {
  const CommandLine plan =
      parse({"plan", "--memory-budget", "2GiB", "--image", "32x48x3", "--classes", "100", "--json"});
  BOOST_TEST(plan.options.budgets.at(0) == "2GiB");
  BOOST_TEST(plan.options.model.image_height == 32);
  BOOST_TEST(plan.options.model.image_width == 48);
  BOOST_TEST(plan.options.model.channels == 3);
  BOOST_TEST(plan.options.model.classes == 100);
  BOOST_TEST(plan.options.json);
  const CommandLine evaluate =
      parse({"evaluate", "a/latest", "--json", "--dataset", "mnist", "--data-dir", "d"});
  BOOST_TEST((evaluate.subcommand == Subcommand::evaluate));
  BOOST_TEST(evaluate.options.file == "a/latest");
  BOOST_TEST((evaluate.options.dataset.kind == DatasetKind::mnist));
  const CommandLine inspect = parse({"inspect", "--json", "x.h5"});
  BOOST_TEST(inspect.options.file == "x.h5");
  BOOST_TEST(inspect.options.json);
  // Without --dataset the checkpoint's is meant, whatever it needs.
  BOOST_TEST(parse({"evaluate", "x.h5", "--data-dir", "d"}).options.dataset.data_dir == "d");
  // A run that is joined says which data set it trains on.
  BOOST_TEST(parse({"join", "join.json", "--data-dir", "d"}).options.dataset.data_dir == "d");
}

BOOST_AUTO_TEST_CASE(command_line_wins_over_file_and_file_over_environment) {
  const TextFile file("precedence.toml", "rounds = 5\nbatch-size = 8\n");
  const Environment rounds("COS2P_ROUNDS", "3"), batch("COS2P_BATCH_SIZE", "4"), seed("COS2P_SEED", "6"),
      quiet("COS2P_QUIET", "true");
  const RunOptions o = parse({"train", "--config", file.path(), "--rounds", "9"}).options;
  BOOST_TEST(o.rounds == 9);
  BOOST_TEST(o.local.batch_size == 8);
  BOOST_TEST(o.seed == 6);
  BOOST_TEST(o.quiet);
  BOOST_TEST(parse({"train", "--config=" + file.path()}).options.rounds == 5);
  BOOST_TEST(parse({"train"}).options.rounds == 3);
}

BOOST_AUTO_TEST_CASE(the_last_of_two_on_the_command_line_counts) {
  BOOST_TEST(parse({"train", "--rounds", "1", "--rounds", "2"}).options.rounds == 2);
  BOOST_TEST(!parse({"train", "--flip", "--no-flip"}).options.augment.flip);
}

BOOST_AUTO_TEST_CASE(flags_in_files_and_environment) {
  const TextFile file("flags.toml", "flip = true\nscale-kept-units = false\nquiet = false\n");
  const RunOptions o = parse({"train", "--config", file.path()}).options;
  BOOST_TEST(o.augment.flip);
  BOOST_TEST(!o.local.scale_kept_units);
  BOOST_TEST(!o.quiet);
  BOOST_TEST(parse({"train", "--config", file.path(), "--no-flip"}).options.augment.flip == false);
  const Environment environment("COS2P_FLIP", "0"), empty("COS2P_QUIET", "");
  BOOST_TEST(!parse({"train"}).options.augment.flip);
  BOOST_TEST(!parse({"train"}).options.quiet);
  for (const char* word : {"--flip=true", "--flip=1", "--no-flip=false"})
    BOOST_TEST(parse({"train", word}).options.augment.flip, word);
  for (const char* word : {"--flip=false", "--flip=off", "--no-flip"})
    BOOST_TEST(!parse({"train", word}).options.augment.flip, word);
}

BOOST_AUTO_TEST_CASE(a_stronger_source_overrules_what_belongs_to_the_weaker_one) {
  const TextFile file(
      "saved.toml",
      "policy = \"semi-async\"\nmin-updates = 3\nmodel = \"micro\"\ndim = 32\nbudgets = [1, 0.5]\n");
  const RunOptions sync = parse({"train", "--config", file.path(), "--policy", "sync"}).options;
  BOOST_TEST(sync.policy.lockstep());
  BOOST_TEST(parse({"train", "--config", file.path(), "--model", "tiny"}).options.model.dim == 192);
  BOOST_TEST(parse({"train", "--config", file.path()}).options.model.dim == 32);
  const TextFile fleet("fleet.txt", "0.25\n");
  BOOST_TEST(parse({"train", "--config", file.path(), "--fleet", fleet.path()}).options.budgets.size() == 1);
  const Environment dir("COS2P_DATA_DIR", "/data");
  BOOST_TEST(parse({"train"})
                 .options.dataset.data_dir.empty());  // synthetic: a machine's default does not contradict
  BOOST_TEST(parse({"train", "--dataset", "mnist"}).options.dataset.data_dir == "/data");
}

BOOST_AUTO_TEST_CASE(fleet_file) {
  const TextFile file("boards.txt", "# boards\n\norin-nano  kitchen board\n 2GiB\n0.5 # small\n");
  const RunOptions o = parse({"plan", "--fleet", file.path()}).options;
  BOOST_TEST(o.budgets == (std::vector<std::string>{"orin-nano", "2GiB", "0.5"}),
             boost::test_tools::per_element());
  BOOST_TEST(o.clients == 3);
  BOOST_TEST(parse({"plan", "--fleet", file.path(), "--clients", "6"}).options.clients == 6);
}

BOOST_AUTO_TEST_CASE(a_file_may_be_shared_among_subcommands) {
  const TextFile file("shared.toml", to_toml(parse({"train", "--rounds", "3", "--model", "tiny"}).in_effect));
  BOOST_TEST(parse({"plan", "--config", file.path()}).options.model.dim == 192);
}

BOOST_AUTO_TEST_CASE(what_a_resumed_checkpoint_may_give_a_meaning_is_kept) {
  const CommandLine resumed = parse({"train", "--resume", "r", "--data-dir", "d"});
  BOOST_TEST(resumed.given.at("data-dir") == "\"d\"");
  BOOST_TEST(resumed.given.size() == 2U);
  BOOST_CHECK_THROW(parse({"train", "--resume", "r", "--dataset", "synthetic", "--data-dir", "d"}), Error);
}

BOOST_AUTO_TEST_CASE(help_shows_each_option_with_its_default_and_only_where_it_is_used) {
  const std::string train = config::subcommand_help(Subcommand::train),
                    plan = config::subcommand_help(Subcommand::plan),
                    simulate = config::subcommand_help(Subcommand::simulate);
  for (const config::OptionSpec& spec : config::option_table()) {
    const bool switched_off = spec.flag && spec.default_text == "true";
    const std::string name =
        spec.positional ? "\n  " + spec.metavar : (switched_off ? "\n  --no-" : "\n  --") + spec.name;
    const auto offered = [&](const std::string& help) {
      return has(help, name + "\n") || has(help, name + " ") || has(help, name + ",");
    };
    BOOST_TEST(offered(train) == ((spec.subcommands & config::kRanks) != 0 && !spec.hidden), name);
    BOOST_TEST(offered(simulate) == ((spec.subcommands & config::kSimulate) != 0), name);
    BOOST_TEST(offered(plan) == ((spec.subcommands & config::kPlan) != 0), name);
    BOOST_TEST(!spec.help.empty(), name);
  }
  BOOST_TEST(has(train, "server rounds of the whole run; a resumed run goes on to this number [10]"));
  BOOST_TEST(has(train, "flip training images left to right at random [off]"));
  BOOST_TEST(has(train, "--policy sync|semi-async|async"));
  BOOST_TEST(has(train, "seconds after which a segment is merged"));
  BOOST_TEST(!has(plan, "--rounds"));
  const std::string program = config::program_help();
  for (const char* word :
       {"train", "simulate", "compare", "plan", "inspect", "evaluate", "Exit codes", "  5 ", "  6 "})
    BOOST_TEST(has(program, word), word);
  std::istringstream lines(train + simulate + plan + program);
  for (std::string text; std::getline(lines, text);) BOOST_TEST(text.size() <= 120, text);
}

BOOST_AUTO_TEST_CASE(help_and_version_finish) {
  for (const std::vector<const char*>& words : {std::vector<const char*>{"cos2p", "--help"},
                                                {"cos2p", "--version"},
                                                {"cos2p", "train", "--help"},
                                                {"cos2p", "plan", "-h"}}) {
    bool finished = false;
    std::ostringstream out;
    auto* const before = std::cout.rdbuf(out.rdbuf());
    parse_command_line(static_cast<int>(words.size()), words.data(), finished);
    std::cout.rdbuf(before);
    BOOST_TEST(finished);
    BOOST_TEST(out.str().size() > 5);
  }
}

BOOST_AUTO_TEST_SUITE_END()
