// What ranks have to agree on, and how a report travels and reads.
#include "doctor.hpp"

#include <boost/test/unit_test.hpp>

using namespace cos2p;
using namespace cos2p::doctor;

namespace {

RankReport report(int rank, const std::string& host) {
  RankReport r;
  r.rank = rank;
  r.host = host;
  r.version = "1.0";
  r.architecture = "x86_64, little endian";
  r.libraries = "LibTorch 1.13.0, HDF5 1.10.8";
  r.clock_s = 1e9;
  r.findings = {{"CPU", "a CPU with 4 cores", "4 cores", Verdict::ok, ""},
                {"memory", "1 GiB of 2 GiB", "1 GiB", Verdict::warning, "add swap"}};
  return r;
}

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

BOOST_AUTO_TEST_CASE(a_report_travels_whole) {
  RankReport sent = report(3, "n\xC3\xA4me");
  sent.profile = "a:flops=1;memory=2;bandwidth=3;link=4";
  const RankReport got = from_text(to_text(sent));
  BOOST_TEST(got.rank == 3);
  BOOST_TEST(got.host == sent.host);
  BOOST_TEST(got.profile == sent.profile);
  BOOST_TEST(got.clock_s == sent.clock_s);
  BOOST_REQUIRE(got.findings.size() == 2U);
  BOOST_TEST((got.findings[1].verdict == Verdict::warning));
  BOOST_TEST(got.findings[1].cure == "add swap");
  BOOST_CHECK_NO_THROW(to_text(report(0, "\xFF no UTF-8")));
}

BOOST_AUTO_TEST_CASE(ranks_that_do_not_fit_each_other_are_named_with_both_sides) {
  std::vector<RankReport> reports{report(0, "server"), report(1, "same"), report(2, "other"),
                                  report(3, "arm")};
  BOOST_TEST(compare_ranks(reports).size() == 0U);
  reports[2].version = "0.9";
  reports[2].clock_s += 60;
  reports[3].architecture = "aarch64, little endian";  // that alone is no difference
  reports[3].libraries = "LibTorch 2.1.0, HDF5 1.10.8";
  std::vector<Finding> found = compare_ranks(reports);
  BOOST_REQUIRE(found.size() == 3U);
  BOOST_TEST(found[0].value == "rank 2 on other has 0.9, the server on server has 1.0");
  BOOST_TEST((found[0].verdict == Verdict::bad));
  BOOST_TEST(found[1].value == "rank 2 on other is 60 s ahead of the server");
  BOOST_TEST((found[2].verdict == Verdict::warning));
  BOOST_TEST(has(found[2].cure, "last bits"));
  reports[3].architecture = "s390x, big endian";
  found = compare_ranks(reports);
  BOOST_TEST(found[2].check == "byte order");
  BOOST_TEST((found[2].verdict == Verdict::bad));
}

BOOST_AUTO_TEST_CASE(one_machine_is_a_screen_and_several_are_a_row_each) {
  Links links;
  links.component = "osc/sm (shared memory)";
  links.links = {{1, 2e9, 1e9, 5e-6}};
  const std::string screen = report_text({report(0, "board")}, {}, links);
  BOOST_TEST(has(screen, "memory     warning  1 GiB of 2 GiB"));
  BOOST_TEST(has(screen, "-> add swap"));
  BOOST_TEST(has(screen, "push 2000 MB/s, pull 1000 MB/s, 5 us a read"));
  const std::vector<Finding> common{{"version", "two of them", "", Verdict::bad, "install one"}};
  const std::string rows = report_text({report(0, "a"), report(1, "b")}, common, links);
  BOOST_TEST(has(rows, "2 ranks, one-sided through osc/sm"));
  BOOST_TEST(has(rows, "rank 1 on b: memory"));
  BOOST_TEST(has(rows, "2000"));
  BOOST_TEST(has(rows, "FAILS"));
  const auto json = report_json({report(0, "a"), report(1, "b")}, common, links);
  BOOST_TEST(json["ready"] == false);
  BOOST_TEST(json["ranks"].size() == 2U);
  BOOST_TEST(json["ranks"][1]["findings"][1]["verdict"] == "warning");
  BOOST_TEST(report_json({report(0, "a")}, {}, links)["ready"] == true);
}
