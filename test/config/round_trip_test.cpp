// Property: the options recorded for a run, given back as a configuration file, are the same options.
#include <boost/test/unit_test.hpp>

#include "config/parsing.hpp"
#include "cos2p/support/random.hpp"

using namespace cos2p;
using namespace cos2p::testing;

namespace {

/// Values to draw from, for options whose kind does not say it; the others are drawn from their choices or as
/// numbers.
const std::map<std::string, std::vector<std::string>> kSamples{
    {"model", {"micro", "tiny", "small", "base"}},
    {"exits", {"all", "last", "0,1", "1"}},
    {"budgets", {"1", "1,0.5,0.25", "2GiB,orin-nano", "1.5GB"}},
    {"data-dir", {"d", "/a b/c"}},
    {"output", {"out", "a \"b\" #c, 'd' \\e", "line\nbreak", "\xC3\xA9", "[x]", "true", "7", " ", "%%"}},
    {"device", {"auto", "cpu", "cuda", "cuda:12"}},
    {"event-log-limit", {"0", "512MiB"}},
    {"log-limit", {"0", "10MiB"}},
    {"ring-slot-bytes", {"4KiB", "512KiB", "1048576"}},
    {"patch", {"auto", "7", "14"}},
    {"deadline", {"0", "0.25", "1e3"}},
    {"momentum", {"0", "0.5", "0.999"}},
    {"emulate-speeds", {"none", "1,0.5", "0.25"}},
    {"speeds", {"1", "1,0.5", "1e-3"}},
    {"compute-budgets", {"none", "1,0.5", "0.25"}},
    {"profile", {"cpu", "orin-nx"}},
    {"link", {"0", "12.5MB", "1e9"}},
    {"dropout-time", {"0", "1.5"}},
    {"suspect-after", {"0.5", "30"}},
    {"worker-timeout", {"2", "1e3"}},
    {"seed", {"0", "18446744073709551615"}},
};

std::string sample(const config::OptionSpec& spec, Rng& rng) {
  if (const auto found = kSamples.find(spec.name); found != kSamples.end())
    return found->second[rng.below(found->second.size())];
  if (spec.metavar == "X")
    return fmt::format(
        "{}", rng.below(2) == 0 ? 1e-3 + rng.uniform() : 0.1 * static_cast<double>(1 + rng.below(9)));
  if (spec.metavar == "N") return std::to_string(2 + rng.below(4));
  const config::Values names = [&spec] {
    std::string commas = spec.metavar;
    for (char& c : commas) c = c == '|' ? ',' : c;
    return config::split_list({commas});
  }();
  return names[rng.below(names.size())];
}

std::vector<std::string> random_words(Subcommand subcommand, Rng& rng) {
  std::vector<std::string> words{to_string(subcommand)};
  for (const config::OptionSpec& spec : config::option_table()) {
    // Beside --resume options stand that only the checkpoint gives a meaning.
    const bool offered = (spec.subcommands & config::bit(subcommand)) != 0 && !spec.positional &&
                         spec.name != "fleet" && spec.name != "resume";
    if (!offered || rng.below(5) != 0) continue;
    if (spec.flag) {
      words.push_back((rng.below(2) == 0 ? "--" : "--no-") + spec.name);
    } else {
      words.push_back("--" + spec.name + "=" + sample(spec, rng));
    }
  }
  return words;
}

/// Every member that an option reaches, whether it has a meaning or not.
std::string all_values(const RunOptions& options) {
  std::string text;
  for (const config::OptionSpec& spec : config::option_table()) {
    if (spec.get) text += spec.name + " = " + spec.get(options) + "\n";
  }
  return text;
}

}  // namespace

BOOST_FIXTURE_TEST_CASE(options_survive_being_written_and_read_back, NoCos2pVariables) {
  Rng rng(4);
  int tried = 0, accepted = 0;
  for (; accepted < 60 && tried < 20000; ++tried) {
    const Subcommand subcommand = tried % 2 == 0 ? Subcommand::train : Subcommand::simulate;
    const std::vector<std::string> words = random_words(subcommand, rng);
    if (!refusal(words).empty()) continue;  // contradictory: nothing would be recorded
    ++accepted;
    const CommandLine first = parse(words);
    const TextFile file("round_trip.toml", to_toml(first.in_effect));
    const CommandLine second = parse({to_string(subcommand), "--config", file.path()});
    BOOST_TEST(all_values(first.options) == all_values(second.options));
    BOOST_TEST(to_toml(first.in_effect) == to_toml(second.in_effect));
  }
  BOOST_TEST(accepted == 60);
}

BOOST_FIXTURE_TEST_CASE(the_defaults_survive_too, NoCos2pVariables) {
  const CommandLine first = parse({"train"});
  BOOST_TEST(first.given.empty());
  const TextFile file("defaults.toml", to_toml(first.in_effect));
  BOOST_TEST(all_values(parse({"train", "--config", file.path()}).options) == all_values(first.options));
}
