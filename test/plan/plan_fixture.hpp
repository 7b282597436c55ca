#pragma once

#include <boost/test/unit_test.hpp>
#include <functional>
#include <string>
#include <vector>

#include "cos2p/model/segment_table.hpp"
#include "cos2p/plan/planner.hpp"
#include "cos2p/plan/submodel_plan.hpp"
#include "cos2p/support/error.hpp"
#include "cos2p/support/random.hpp"

namespace cos2p::test {

inline void expect_error(ExitCode code, const std::vector<std::string>& words,
                         const std::function<void()>& action) {
  try {
    action();
    BOOST_ERROR("nothing was thrown");
  } catch (const Error& error) {
    BOOST_TEST(static_cast<int>(error.code()) == static_cast<int>(code));
    for (const std::string& word : words) {
      BOOST_TEST(std::string(error.what()).find(word) != std::string::npos, error.what()
                                                                                << " lacks '" << word << "'");
    }
  }
}

inline ModelOptions small_options() {
  ModelOptions options;
  options.image_height = options.image_width = 8;
  options.patch = 4;
  options.dim = 12;
  options.blocks = 4;
  options.heads = 3;
  options.feed_forward = 10;
  options.exits = {1, 2, 3};
  options.validate();
  return options;
}

inline UnitSet random_units(Rng& rng, std::int64_t total) {
  std::vector<std::int32_t> kept;
  while (kept.empty()) {
    for (std::int32_t u = 0; u < total; ++u) {
      if (rng.below(2) == 1) kept.push_back(u);
    }
  }
  return UnitSet(total, kept);
}

inline SubmodelPlan random_plan(Rng& rng, const SegmentTable& table) {
  const int kept = 2 + static_cast<int>(rng.below(3));
  std::vector<UnitSet> heads, neurons;
  for (int block = 0; block < kept; ++block) {
    heads.push_back(random_units(rng, table.options().heads));
    neurons.push_back(random_units(rng, table.options().feed_forward));
  }
  return SubmodelPlan(table, kept, static_cast<int>(rng.below(static_cast<std::uint64_t>(kept))), heads,
                      neurons);
}

inline SegmentTable preset_table(const std::string& name) {
  ModelOptions options = model_preset(name);
  options.validate();
  return SegmentTable(options);
}

inline std::int64_t needed(const SegmentTable& table, const Assignment& a) {
  return estimate_cost(table, a, {}).memory.total();
}

inline ClientBudget share(const SegmentTable& table, const std::string& text) {
  return parse_budget(text, table, {}, "--budgets");
}

}  // namespace cos2p::test
