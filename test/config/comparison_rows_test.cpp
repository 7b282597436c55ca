#include "cos2p/config/comparison_rows.hpp"

#include <boost/test/unit_test.hpp>

#include "config/parsing.hpp"

using namespace cos2p;
using namespace cos2p::testing;

namespace {

ComparisonOptions options(const std::vector<std::string>& methods,
                          const std::vector<std::string>& overrides = {}) {
  ComparisonOptions result;
  result.methods = methods;
  result.overrides = overrides;
  return result;
}

}  // namespace

BOOST_FIXTURE_TEST_SUITE(rows_of_a_comparison, NoCos2pVariables)

BOOST_AUTO_TEST_CASE(a_row_is_a_method_and_options_of_its_own) {
  const std::vector<ComparisonRow> rows =
      comparison_rows(options({"co-s2p", "co-s2p:min-updates=4:policy=semi-async"}));
  BOOST_TEST(rows.size() == 2U);
  BOOST_TEST(rows[0].label == "co-s2p");
  BOOST_TEST(rows[0].overrides.empty());
  BOOST_TEST(rows[1].label == "co-s2p:min-updates=4:policy=semi-async");
  BOOST_TEST(rows[1].method == "co-s2p");
  BOOST_TEST((rows[1].overrides ==
              std::map<std::string, std::string>{{"min-updates", "4"}, {"policy", "semi-async"}}));
}

BOOST_AUTO_TEST_CASE(options_of_a_method_are_for_its_rows_that_do_not_say_otherwise) {
  const std::vector<ComparisonRow> rows =
      comparison_rows(options({"co-s2p", "co-s2p:rounds=9"}, {"co-s2p:rounds=3,learning-rate=0.1"}));
  BOOST_TEST(rows[0].overrides.at("rounds") == "3");
  BOOST_TEST(rows[1].overrides.at("rounds") == "9");
  BOOST_TEST(rows[1].overrides.at("learning-rate") == "0.1");
}

BOOST_AUTO_TEST_CASE(seeds_are_numbers_and_each_is_there_once) {
  const CommandLine command =
      parse({"compare", "--methods", "co-s2p", "--seeds", "3,0,18446744073709551615"});
  BOOST_TEST((command.options.comparison.seeds == std::vector<std::uint64_t>{3, 0, 18446744073709551615ULL}));
  BOOST_TEST(has(refusal({"compare", "--methods", "co-s2p", "--seeds", "1,-2"}), "--seeds cannot be '1,-2'"));
  BOOST_TEST(has(refusal({"compare", "--methods", "co-s2p", "--seeds", "1,1"}), "1 is there twice"));
  BOOST_TEST(
      has(refusal({"compare", "--methods", "co-s2p", "--seed", "1"}), "--seed is not an option of compare"));
}

BOOST_AUTO_TEST_SUITE_END()
