// What is refused, and in which words. Every message names the option, what was written and what is accepted.
#include <boost/test/unit_test.hpp>

#include "config/parsing.hpp"
#include "cos2p/method/method.hpp"

using namespace cos2p;
using namespace cos2p::testing;

namespace {

struct Case {
  std::vector<std::string> words;
  std::vector<std::string> parts;  // of the message
};

void check(const std::vector<Case>& cases) {
  for (const Case& one : cases) {
    std::string line;
    for (const std::string& word : one.words) line += word + " ";
    const std::string message = refusal(one.words);
    for (const std::string& part : one.parts)
      BOOST_TEST(has(message, part), line << "-> '" << message << "' lacks '" << part << "'");
  }
}

/// Another value of an option than `value`, for options that are choices, flags or whole numbers.
std::string other_value(const config::OptionSpec& spec, const std::string& value) {
  if (spec.flag) return value == "true" ? "false" : "true";
  if (spec.metavar == "N") return std::to_string(std::stoi(value) + 1);
  const std::size_t bar = spec.metavar.find('|');
  const std::string first = spec.metavar.substr(0, bar);
  return first != value ? first : spec.metavar.substr(bar + 1, spec.metavar.find('|', bar + 1) - bar - 1);
}

}  // namespace

BOOST_FIXTURE_TEST_SUITE(messages, NoCos2pVariables)

BOOST_AUTO_TEST_CASE(subcommands_and_unknown_options) {
  check({{{},
          {"a subcommand is missing",
           "train, simulate, compare, plan, inspect, evaluate, doctor, join or replay", "cos2p --help"}},
         {{"trian"}, {"'trian' is not a subcommand", "did you mean 'train'?"}},
         {{"train", "--round", "3"},
          {"--round is not an option of train", "did you mean '--rounds'?", "cos2p train --help"}},
         {{"train", "--qwertz=3"}, {"--qwertz is not an option of train"}},
         {{"train", "--json"}, {"--json is not an option of train", "other subcommands have it"}},
         {{"plan", "--rounds", "3"}, {"--rounds is not an option of plan", "other subcommands have it"}},
         {{"train", "extra"}, {"'extra' is not understood"}},
         {{"train", "--rounds"}, {"--rounds"}},
         {{"inspect"}, {"FILE is missing", "inspect"}},
         {{"evaluate", "--json"}, {"FILE is missing", "evaluate"}},
         {{"inspect", "a", "b"}, {"'b' is not understood"}}});
}

BOOST_AUTO_TEST_CASE(values_out_of_range) {
  check({{{"train", "--rounds", "0"}, {"--rounds cannot be '0'", "whole number of at least 1"}},
         {{"train", "--rounds", "-1"}, {"--rounds cannot be '-1'"}},
         {{"train", "--submodel", "ful"}, {"--submodel cannot be 'ful'", "did you mean 'full'?"}},
         {{"train", "--submodel", "smallest", "--width-rule", "random"},
          {"--width-rule has no meaning beside --submodel", "the same first ones"}},
         {{"plan", "--min-trainers", "-1"}, {"--min-trainers cannot be '-1'", "at least 0"}},
         {{"simulate", "--method", "fedavg", "--width-rule", "random"},
          {"--width-rule has no meaning beside --submodel \"full\" of --method fedavg", "nobody chooses"}},
         {{"simulate", "--method", "fedavg-drop", "--balance", "deep"},
          {"--balance has no meaning beside --submodel \"drop\" of --method fedavg-drop", "the full model"}},
         {{"simulate", "--method", "fedavg", "--rolling-windows"},
          {"--rolling-windows has no meaning beside --submodel \"full\" of --method fedavg"}},
         {{"plan", "--rolling-windows", "--balance", "deep"},
          {"--rolling-windows has no meaning beside --balance", "trains all of its blocks"}},
         {{"plan", "--rolling-windows", "--balance", "wide", "--frozen-blocks", "1"},
          {"--frozen-blocks has no meaning beside --rolling-windows", "freezes blocks in turn"}},
         {{"train", "--policy", "sync", "--normalize", "changed"},
          {"--normalize has no meaning beside --merge \"values\"", "whether a client changed a value"}},
         {{"train", "--depth-momentum", "0.2"},
          {"--depth-momentum has no meaning beside --balance \"shallow\"", "clients of unlike width"}},
         {{"train", "--policy", "sync", "--depth-momentum", "0.2", "--balance", "wide"},
          {"--depth-momentum cannot be 0.2 beside --merge values", "give --merge deltas"}},
         {{"train", "--overlap", "--policy", "sync"},
          {"--overlap cannot hide transfers beside --policy sync", "semi-async"}},
         {{"plan", "--overlap", "--rolling-windows"},
          {"--overlap cannot be beside --rolling-windows", "leave one of them out"}},
         {{"train", "--overlap", "--transport", "in-process"},
          {"--overlap cannot hide transfers beside --transport in-process", "--transport rma"}},
         {{"train", "--weight-mask", "magnitude"},
          {"--weight-mask has no meaning beside --submodel \"fit\"", "of the full model only"}},
         {{"train", "--method", "fiarse", "--weight-decay", "0.1"},
          {"--weight-decay has no meaning beside --weight-mask", "that the mask leaves out"}},
         {{"train", "--method", "fiarse", "--merge", "values"},
          {"--merge cannot be 'values' beside --method fiarse", "part of this method"}},
         {{"train", "--policy", "fedbuff", "--merge", "values"},
          {"--merge cannot be 'values' beside --policy fedbuff", "part of this policy"}},
         {{"train", "--policy", "fedasync", "--min-updates", "3"},
          {"--min-updates has no meaning beside --policy", "merges every update at once"}},
         {{"train", "--policy", "fedbuf"}, {"--policy cannot be 'fedbuf'", "did you mean 'fedbuff'?"}},
         {{"train", "--server-learning-rate", "0"}, {"--server-learning-rate cannot be '0'"}},
         {{"train", "--server-momentum", "1"}, {"--server-momentum cannot be '1'", "at most 0.9999"}},
         {{"train", "--width-rule", "prefx"}, {"--width-rule cannot be 'prefx'", "did you mean 'prefix'?"}},
         {{"train", "--width-rule", "random", "--mask-steps", "3"},
          {"--mask-steps has no meaning beside --width-rule", "does not look at the client's data"}},
         {{"simulate", "--model", "linear", "--blocks", "3"},
          {"--blocks has no meaning beside --model \"linear\"", "a linear model has no blocks"}},
         {{"simulate", "--model", "linear", "--width-rule", "prefix"},
          {"--width-rule has no meaning beside --model \"linear\"", "no units"}},
         {{"train", "--model", "linear", "--distillation", "mutual"},
          {"--distillation has no meaning beside --model \"linear\"", "one exit"}},
         {{"train", "--model", "linear", "--dataset", "glue", "--data-dir", "x"},
          {"--model linear cannot read texts", "--dataset glue", "a data set of images"}},
         {{"train", "--partition", "iid", "--size-exponent", "2"},
          {"--size-exponent has no meaning beside --partition \"iid\"", "only the partition 'shards'"}},
         {{"train", "--width-rule", "taylor", "--mask-steps", "0"},
          {"--mask-steps cannot be '0'", "at least 1"}},
         {{"train", "--rounds", "3x"}, {"--rounds cannot be '3x'"}},
         {{"train", "--rounds", "99999999999"}, {"--rounds cannot be"}},
         {{"train", "--rounds", ""}, {"--rounds cannot be ''"}},
         {{"train", "--batch-size", "0"}, {"--batch-size cannot be '0'"}},
         {{"train", "--dirichlet-alpha", "0"}, {"--dirichlet-alpha cannot be '0'", "greater than 0"}},
         {{"train", "--learning-rate", "-0.1"}, {"--learning-rate cannot be '-0.1'", "greater than 0"}},
         {{"train", "--learning-rate", "nan"}, {"--learning-rate cannot be 'nan'"}},
         {{"train", "--learning-rate", "inf"}, {"--learning-rate cannot be 'inf'"}},
         {{"train", "--learning-rate", "1e-999x"}, {"--learning-rate"}},
         {{"train", "--momentum", "1"}, {"--momentum cannot be '1'", "at most 0.9999"}},
         {{"train", "--threads", "-2"}, {"--threads cannot be '-2'", "from 0 to 1024"}},
         {{"train", "--seed", "-1"}, {"--seed cannot be '-1'", "2^64"}},
         {{"train", "--ring-slots", "1"}, {"--ring-slots cannot be '1'", "from 2 to 65536"}},
         {{"train", "--ring-slot-bytes", "12"}, {"--ring-slot-bytes cannot be '12'", "4KiB to 1GiB"}},
         {{"train", "--ring-slot-bytes", "much"}, {"--ring-slot-bytes cannot be 'much'"}},
         {{"train", "--device", "gpu"}, {"--device cannot be 'gpu'", "cuda:N"}},
         {{"train", "--device", "cuda:x"}, {"--device cannot be 'cuda:x'"}},
         {{"train", "--dataset", "fashion_mnist"},
          {"--dataset cannot be 'fashion_mnist'", "did you mean 'fashion-mnist'?", "cifar-10, "}},
         {{"train", "--policy", "semi"},
          {"--policy cannot be 'semi'", "sync, semi-async, async, fedasync or fedbuff"}},
         {{"train", "--model", "bas"}, {"--model cannot be 'bas'", "did you mean 'base'?"}},
         {{"train", "--exit-loss", "shallow"}, {"--exit-loss cannot be 'shallow'", "rising"}},
         {{"train", "--distillation", "self"}, {"--distillation cannot be 'self'", "deepest or mutual"}},
         {{"train", "--distillation-temperature", "0"},
          {"--distillation-temperature cannot be '0'", "greater than 0"}},
         {{"train", "--distillation-start", "1.5"}, {"--distillation-start cannot be '1.5'", "at most 1"}},
         {{"train", "--exits", "6"}, {"--exits cannot be '6'", "block numbers from 0 to 5"}},
         {{"train", "--exits", "none"}, {"--exits cannot be 'none'"}},
         {{"train", "--patch", "0"}, {"--patch cannot be '0'"}},
         {{"train", "--budgets", ","}, {"--budgets cannot be ','", "at least one budget"}},
         {{"train", "--compute-budgets", "1,1.5"}, {"--compute-budgets cannot be '1,1.5'", "at most 1"}},
         {{"train", "--compute-budgets", ","}, {"--compute-budgets cannot be ','", "for example 1,0.5"}},
         {{"plan", "--width-balance", "odd"}, {"--width-balance cannot be 'odd'", "falling or rising"}},
         {{"plan", "--image", "32x32"}, {"--image cannot be '32x32'", "32x32x3"}},
         {{"plan", "--text", "128"}, {"--text cannot be '128'", "128x30522"}},
         {{"plan", "--text", "1x500"}, {"--text cannot be '1x500'"}},
         {{"train", "--dataset", "glue", "--data-dir", "d", "--max-length", "1"},
          {"--max-length cannot be '1'", "from 2 to"}},
         {{"plan", "--image", "32xx3"}, {"--image cannot be '32xx3'"}},
         {{"train", "--frozen-blocks", "6"}, {"--frozen-blocks cannot be 6", "6 blocks", "at most 5"}},
         {{"train", "--warmup-rounds", "11"}, {"--warmup-rounds cannot be 11", "10 rounds"}},
         {{"train", "--output", ""}, {"--output cannot be empty"}}});
}

BOOST_AUTO_TEST_CASE(contradictions) {
  check({{{"train", "--policy", "sync", "--min-updates", "2"},
          {"--min-updates", "--policy \"sync\"", "waits for all trainers"}},
         {{"train", "--policy", "sync", "--deadline", "3"}, {"--deadline", "--policy \"sync\""}},
         {{"train", "--policy", "async", "--min-updates", "2"},
          {"--min-updates", "merges every update at once"}},
         {{"train", "--policy", "async", "--deadline", "3"}, {"--deadline", "merges every update at once"}},
         {{"train", "--local-steps", "5", "--local-epochs", "2"}, {"--local-epochs", "--local-steps 5"}},
         {{"train", "--schedule-rounds", "5"}, {"--schedule-rounds", "--schedule \"constant\"", "cosine"}},
         {{"train", "--partition", "iid", "--dirichlet-alpha", "1"},
          {"--dirichlet-alpha", "--partition \"iid\""}},
         {{"train", "--partition", "shards", "--dirichlet-alpha", "1"},
          {"--dirichlet-alpha", "--partition \"shards\""}},
         {{"train", "--classes-per-client", "2"}, {"--classes-per-client", "--partition \"dirichlet\""}},
         {{"train", "--optimizer", "adamw", "--momentum", "0.9"}, {"--momentum", "--optimizer \"adamw\""}},
         {{"train", "--discount", "constant", "--discount-a", "1"},
          {"--discount-a", "--discount \"constant\""}},
         {{"train", "--discount-b", "1"}, {"--discount-b", "hinge"}},
         {{"train", "--data-dir", "d"}, {"--data-dir", "--dataset \"synthetic\""}},
         {{"train", "--dataset", "mnist"}, {"--data-dir is missing", "--dataset mnist"}},
         {{"train", "--dataset", "cifar-10", "--data-dir", "d", "--coarse-labels"},
          {"--coarse-labels", "only cifar-100"}},
         {{"train", "--dataset", "mnist", "--data-dir", "d", "--synthetic-train", "5"},
          {"--synthetic-train", "--dataset \"mnist\""}},
         {{"evaluate", "f", "--dataset", "mnist"}, {"--data-dir is missing"}},
         {{"train", "--distillation", "none", "--distillation-weight", "1"},
          {"--distillation-weight", "--distillation \"none\"", "no exit learns from another"}},
         {{"train", "--distillation", "none", "--distillation-temperature", "1"},
          {"--distillation-temperature", "--distillation \"none\""}},
         {{"train", "--distillation", "none", "--distillation-start", "0"},
          {"--distillation-start", "--distillation \"none\""}},
         {{"train", "--distillation", "none", "--distillation-ramp", "0"},
          {"--distillation-ramp", "--distillation \"none\""}},
         {{"train", "--distillation", "none", "--feature-hint", "1"},
          {"--feature-hint", "--distillation \"none\""}},
         {{"plan", "--balance", "wide", "--width-balance", "rising"},
          {"--width-balance", "--balance \"wide\"", "all their units"}},
         {{"train", "--balance", "shallow", "--rolling-windows", "--width-balance", "falling"},
          {"--width-balance", "--rolling-windows true"}},
         {{"train", "--method", "fjord", "--width-balance", "falling"},
          {"--width-balance", "same in every block"}},
         {{"plan", "--model", "linear", "--compute-budgets", "1"},
          {"--compute-budgets", "a linear model has no blocks"}},
         {{"train", "--masked-logits", "--logit-adjustment", "1"},
          {"--logit-adjustment", "--masked-logits true", "missing classes"}},
         {{"train", "--max-length", "64"}, {"--max-length", "--dataset \"synthetic\"", "images, not texts"}},
         {{"train", "--cased"}, {"--cased", "images, not texts"}},
         {{"train", "--dataset", "glue", "--data-dir", "d", "--vocabulary", "v", "--vocabulary-size", "99"},
          {"--vocabulary-size", "--vocabulary names a file"}},
         {{"train", "--dataset", "glue", "--data-dir", "d", "--flip"}, {"--flip", "--dataset \"glue\""}},
         {{"train", "--dataset", "sst-2", "--data-dir", "d", "--patch", "4"}, {"--patch", "no patches"}},
         {{"train", "--dataset", "sst-2"}, {"--data-dir is missing", "--dataset sst-2"}},
         {{"train", "--model", "bert-base"}, {"--model bert-base", "--dataset synthetic", "holds images"}},
         {{"plan", "--image", "8x8x1", "--text", "64x1000"}, {"--image", "--text", "contradict"}},
         {{"plan", "--fleet", "a", "--budgets", "1"}, {"--fleet", "--budgets", "contradict"}}});
  BOOST_TEST(refusal({"train", "--policy", "async", "--min-updates", "1"}).empty());
}

BOOST_AUTO_TEST_CASE(configuration_files) {
  const TextFile unknown("unknown.toml", "# a run\n\nroundz = 3\n"),
      bad("bad.toml", "seed = 1\nrounds = 0\n"),
      contradictory("contradictory.toml", "policy = \"sync\"\nmin-updates = 2\n"),
      array("array.toml", "rounds = [1, 2]\n"), twice("twice.toml", "rounds = 1\nseed = 2\nrounds = 3\n"),
      alias("alias.toml", "budgets = [1]\nmemory-budget = \"2GiB\"\n"),
      flag("flag.toml", "quiet = \"perhaps\"\n"), config("config.toml", "config = \"other.toml\"\n");
  check({{{"train", "--config", "unknown.toml"},
          {"unknown.toml, line 3", "'roundz' is not an option", "did you mean 'rounds'?"}},
         {{"train", "--config", "bad.toml"}, {"--rounds cannot be '0'", "line 2 of bad.toml"}},
         {{"train", "--config", "contradictory.toml"},
          {"--min-updates (line 2 of contradictory.toml)", "--policy"}},
         {{"train", "--config", "array.toml"}, {"array.toml, line 1", "'rounds' cannot be an array"}},
         {{"train", "--config", "twice.toml"}, {"twice.toml, line 3", "'rounds' is already set in line 1"}},
         {{"train", "--config", "alias.toml"}, {"alias.toml, line 2", "already set as 'budgets' (line 1)"}},
         {{"train", "--config", "flag.toml"}, {"flag.toml, line 1", "'quiet' cannot be 'perhaps'"}},
         {{"train", "--config", "config.toml"}, {"'config' is not an option"}},
         {{"train", "--config", "no such file"}, {"--config: cannot read 'no such file'"}},
         {{"train", "--config", "."}, {"--config: cannot read '.'"}}});
}

BOOST_AUTO_TEST_CASE(environment_variables_are_named) {
  const Environment rounds("COS2P_ROUNDS", "many");
  check({{{"train"}, {"--rounds cannot be 'many'", "COS2P_ROUNDS"}}});
  const Environment right("COS2P_ROUNDS", "3"), quiet("COS2P_QUIET", "perhaps");
  check({{{"train"}, {"--quiet (COS2P_QUIET=perhaps)", "true or false"}},
         {{"plan", "--json=maybe"}, {"--json=maybe", "true or false"}}});
}

BOOST_AUTO_TEST_CASE(what_a_method_fixes_cannot_be_changed_beside_it) {
  check({{{"train", "--method", "fedavgg"}, {"the method 'fedavgg' is unknown", "co-s2p"}},
         {{"train", "--method", "depthfl", "--balance", "deep"},
          {"--balance cannot be 'deep' beside --method depthfl", "always 'wide'"}},
         {{"train", "--method", "depthfl", "--distillation", "none"},
          {"--distillation cannot be 'none' beside --method depthfl", "always 'mutual'"}}});
}

BOOST_AUTO_TEST_CASE(each_fixed_option_of_each_method_is_refused_with_another_value_and_taken_with_its_own) {
  for (const Method& method : methods()) {
    std::vector<std::string> own{"train", "--method", method.name};
    for (const Method::Setting& setting : method.fixed) {
      const config::OptionSpec& spec = *config::find_option(setting.option);
      const std::string other = other_value(spec, setting.value);
      check({{{"train", "--method", method.name, "--" + setting.option + "=" + other},
              {"--" + setting.option + " cannot be '" + other + "' beside --method " + method.name,
               "always '" + setting.value + "'"}}});
      own.push_back("--" + setting.option + "=" + setting.value);
    }
    BOOST_TEST(refusal(own) == "", method.name);
    const std::map<std::string, std::string> written = parse(own).in_effect;
    BOOST_TEST(to_toml(written) == to_toml(parse({"train", "--method", method.name}).in_effect), method.name);
  }
}

BOOST_AUTO_TEST_CASE(usual_values_of_a_method_can_be_changed) {
  const auto expect = [](const Method& method, const std::string& policy,
                         const std::vector<Method::Setting>& settings) {
    const RunOptions options = parse({"train", "--method", method.name, "--policy", policy}).options;
    for (const Method::Setting& setting : settings) {
      const config::OptionSpec& spec = *config::find_option(setting.option);
      const std::string value = spec.get(options);
      BOOST_TEST((value == setting.value || value == '"' + setting.value + '"'),
                 method.name << " with " << policy << ": " << setting.option << " is " << value);
    }
  };
  for (const Method& method : methods()) {
    expect(method, "sync", method.defaults);
    expect(method, "semi-async", method.buffered_defaults);
    expect(method, "fedbuff", method.buffered_defaults);
  }
  // What a policy brings without its name is the default policy's.
  BOOST_TEST((parse({"train"}).options.policy.merge == MergeKind::deltas));
  BOOST_TEST((parse({"train", "--policy", "sync"}).options.policy.merge == MergeKind::values));
  BOOST_TEST((parse({"train", "--policy", "async"}).options.policy.merge == MergeKind::values));
  BOOST_TEST((parse({"train", "--merge", "values"}).options.policy.merge == MergeKind::values));
  BOOST_TEST(
      !parse({"train", "--method", "heterofl", "--no-masked-logits"}).options.local.objective.masked_logits);
  BOOST_TEST(parse({"train", "--method", "fedrolex", "--reselect-every", "3"}).options.width.reselect_every ==
             3);
}

BOOST_AUTO_TEST_CASE(fleet_files) {
  const TextFile empty("empty_fleet.txt", ""), comments("comments_fleet.txt", "# nothing\n"),
      binary("binary_fleet.txt", "0.5\n\x01\x02\n"), table("table_fleet.txt", "0.5\nbudget=0.5\n"),
      unknown("unknown_fleet.txt", "0.5 a\n2GiB b\nwarpcore c\n");
  check({{{"plan", "--fleet", "no such fleet"}, {"--fleet: cannot read 'no such fleet'"}},
         {{"plan", "--fleet", "."}, {"--fleet: cannot read '.'"}},
         {{"plan", "--fleet", "empty_fleet.txt"}, {"--fleet: cannot read 'empty_fleet.txt'", "empty"}},
         {{"plan", "--fleet", "/dev/zero"}, {"--fleet: cannot read '/dev/zero'", "larger than"}},
         {{"plan", "--fleet", "comments_fleet.txt"}, {"names no client"}},
         {{"plan", "--fleet", "binary_fleet.txt"}, {"binary_fleet.txt, line 2", "unprintable"}},
         {{"plan", "--fleet", "table_fleet.txt"}, {"table_fleet.txt, line 2"}},
         {{"simulate", "--fleet", "unknown_fleet.txt"},
          {"--fleet: unknown_fleet.txt, line 3: device 'warpcore' is unknown (known:", "orin-nano"}}});
}

BOOST_AUTO_TEST_SUITE_END()
