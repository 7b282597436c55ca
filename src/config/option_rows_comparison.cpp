#include <algorithm>

#include "option_rows.hpp"

namespace cos2p::config {
namespace {

std::string texts(const Values& values) {
  Values quoted;
  for (const std::string& value : values) quoted.push_back(toml_string(value));
  return toml_array(quoted);
}

void set_seeds(RunOptions& o, const Values& v) {
  std::vector<std::uint64_t>& seeds = o.comparison.seeds;
  seeds.clear();
  for (const std::string& text : split_list(v)) {
    const std::uint64_t seed = parse_seed(text);
    if (std::find(seeds.begin(), seeds.end(), seed) != seeds.end())
      throw BadValue{fmt::format("each seed once, {} is there twice", seed)};
    seeds.push_back(seed);
  }
  if (seeds.empty()) throw BadValue{"at least one seed, for example 0,1,2"};
}

}  // namespace

void add_comparison(Table& t) {
  t.group("Comparison", kCompare);
  OptionSpec& rows = t.add("methods", "M[:NAME=VALUE...],...",
                           "what is compared: methods, each with options of its own if you like "
                           "(co-s2p:min-updates=4); see cos2p simulate --help");
  rows.list = true;
  rows.set = [](RunOptions& o, const Values& v) { o.comparison.methods = split_list(v); };
  rows.get = [](const RunOptions& o) { return texts(o.comparison.methods); };
  rows.default_text = "none";
  OptionSpec& seeds = t.add("seeds", "N,...", "each method runs once with each seed");
  seeds.list = true;
  seeds.set = set_seeds;
  seeds.get = [](const RunOptions& o) {
    Values numbers;
    for (const std::uint64_t seed : o.comparison.seeds) numbers.push_back(fmt::format("{}", seed));
    return toml_array(numbers);
  };
  seeds.default_text = "0";
  OptionSpec& overrides =
      t.add("for", "METHOD:NAME=VALUE,...",
            "options of one method, for all its rows that do not say otherwise; may be repeated");
  overrides.list = true;
  overrides.set = [](RunOptions& o, const Values& v) { o.comparison.overrides = v; };
  overrides.get = [](const RunOptions& o) { return texts(o.comparison.overrides); };
  overrides.default_text = "none";
  t.whole("jobs", AT(comparison.jobs), 0, 4096, "runs at a time, each on one thread; 0 = cores");
  t.real("target-accuracy", AT(comparison.target_accuracy), 0, true, 1,
         "share in [0, 1]: time and bytes until the full model reaches it are measured; 0 = none");
}

}  // namespace cos2p::config
