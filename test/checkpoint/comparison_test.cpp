#include "cos2p/checkpoint/comparison.hpp"

#include <boost/test/unit_test.hpp>

#include "cos2p/support/error.hpp"

using namespace cos2p;

namespace {

ComparedRun sample(const std::string& method, std::uint64_t seed, double accuracy) {
  ComparedRun run;
  run.method = method;
  run.seed = seed;
  run.accuracy = accuracy;
  run.exit_blocks = {0, 2};
  run.exit_accuracy = {accuracy / 2, accuracy};
  run.client_accuracy = {accuracy, accuracy / 4};
  run.time_s = 10;
  run.peak_memory = {{"0.5", 3 << 20}, {"orin-nano", 9 << 20}};
  run.curve = {{1, 2.5, 1e6, accuracy / 2, 2}, {2, 5, 2e6, accuracy, 1}};
  return run;
}

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(comparison)

BOOST_AUTO_TEST_CASE(the_target_is_met_at_the_first_evaluation_that_reaches_it) {
  ComparedRun run = sample("a", 0, 0.8);
  measure_target(run, 0.4);
  BOOST_TEST(run.time_to_target_s == 2.5);
  BOOST_TEST(run.bytes_to_target == 1e6);
  measure_target(run, 0.5);
  BOOST_TEST(run.time_to_target_s == 5);
  measure_target(run, 0.81);
  BOOST_TEST(run.time_to_target_s == -1);
  measure_target(run, 0);
  BOOST_TEST(run.bytes_to_target == -1);
}

BOOST_AUTO_TEST_CASE(a_table_has_mean_and_deviation_and_says_who_missed_the_target) {
  std::vector<ComparedRun> runs{sample("a", 0, 0.8), sample("a", 1, 0.6), sample("b:x=1", 0, 0.5)};
  for (ComparedRun& run : runs) measure_target(run, 0.7);
  const std::string table = comparison_markdown(runs, 0.7);
  // mean 70 %, deviation sqrt((10^2 + 10^2) / 1)
  BOOST_TEST(has(table, "| a | 2 | 70.00 ± 14.14 |"), table);
  BOOST_TEST(has(table, "| b:x=1 | 1 | 50.00 |"), table);
  BOOST_TEST(has(table, "s to 70 %"), table);
  BOOST_TEST(has(table, "| 5.000 (1 of 2) |"), table);
  BOOST_TEST(has(table, "| – |"), table);
  BOOST_TEST(has(table, "MiB of orin-nano | exit 0 % | exit 2 % |\n"), table);
  BOOST_TEST(has(table, "| 35.00 ± 7.07 | 70.00 ± 14.14 |\n"), table);
  BOOST_TEST(!has(comparison_markdown(runs, 0), "s to"));
}

BOOST_AUTO_TEST_CASE(a_csv_row_per_run) {
  ComparedRun odd = sample("a,\"b\"", 3, 0.25);
  odd.peak_memory.clear();
  const std::string csv = comparison_csv({sample("a", 18446744073709551615ULL, 0.5), odd});
  BOOST_TEST(has(csv, "method,seed,accuracy,loss,"), csv);
  BOOST_TEST(has(csv,
                 ",accuracy_exit_0,accuracy_exit_2,peak_memory_bytes_0.5,peak_memory_bytes_orin-nano,client_"
                 "accuracy_0,client_accuracy_1\n"),
             csv);
  BOOST_TEST(has(csv, "\na,18446744073709551615,0.5,0,0,0,,,10,"), csv);
  BOOST_TEST(has(csv, "\n\"a,\"\"b\"\"\",3,0.25,"), csv);
  BOOST_TEST(has(csv, ",0.125000,0.250000,,,0.250000,0.062500\n"), csv);
}

BOOST_AUTO_TEST_CASE(json_reads_back) {
  const ComparedRun run = sample("a:b=\"c\"", 7, 1.0 / 3);
  const ComparedRun again = compared_run_from_json(to_json(run), "result.json");
  BOOST_TEST(to_json(again) == to_json(run));
  BOOST_TEST(again.accuracy == run.accuracy);
  BOOST_TEST(again.client_accuracy == run.client_accuracy, boost::test_tools::per_element());
  BOOST_TEST(again.curve.size() == 2U);
  for (const char* text : {"", "{}", "[1]", "{\"method\": 3}"}) {
    BOOST_CHECK_EXCEPTION(compared_run_from_json(text, "x/result.json"), Error, [](const Error& e) {
      return e.code() == ExitCode::checkpoint && has(e.what(), "x/result.json");
    });
  }
}

BOOST_AUTO_TEST_SUITE_END()
