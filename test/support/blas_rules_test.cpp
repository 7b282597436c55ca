#include "blas_rules.hpp"

#include <boost/test/unit_test.hpp>

#include "cpu_share.hpp"

using namespace cos2p::blas;

namespace {

const Cpu kOld{VectorWidth::baseline, false, "SSE"}, kAvx2{VectorWidth::avx2, false, "AVX2"},
    kAvx512{VectorWidth::avx512, false, "AVX-512"}, kTiles{VectorWidth::avx512, true, "AVX-512"},
    kArm{VectorWidth::baseline, false, "NEON"};

Found openblas(const std::string& kernels, const std::string& threading = "openmp") {
  return {Library::openblas, "OpenBLAS 0.3.21", threading, kernels,
          "/usr/lib/m/openblas-" + threading + "/libblas.so.3"};
}
const Found kReference{Library::reference, "reference BLAS", "", "", "/usr/lib/m/blas/libblas.so.3.11.0"};

Situation situation(const Cpu& cpu, const Found& found) {
  Situation s;
  s.cpu = cpu;
  s.found = found;
  s.environment = {{"OMP_WAIT_POLICY", "PASSIVE"}, {"GOMP_SPINCOUNT", "0"}, {"OMP_NUM_THREADS", "1"}};
  s.ours = {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "OMP_NUM_THREADS"};
  return s;
}

using Variables = std::map<std::string, std::string>;

}  // namespace

BOOST_AUTO_TEST_SUITE(blas_rules)

BOOST_AUTO_TEST_CASE(core_types_by_cpu) {
  BOOST_TEST((core_types(kTiles) == std::vector<std::string>{"SAPPHIRERAPIDS", "SKYLAKEX", "HASWELL"}));
  BOOST_TEST((core_types(kAvx512) == std::vector<std::string>{"SKYLAKEX", "HASWELL"}));
  BOOST_TEST((core_types(kAvx2) == std::vector<std::string>{"HASWELL"}));
  BOOST_TEST(core_types(kOld).empty());
  BOOST_TEST(core_types(kArm).empty());
  for (const Cpu& cpu : {kTiles, kAvx512, kAvx2}) {
    for (const std::string& name : core_types(cpu)) BOOST_TEST((kernel_width(name) <= cpu.width), name);
  }
}

BOOST_AUTO_TEST_CASE(good_kernels_are_left_alone) {
  for (const char* kernels : {"SkylakeX", "Cooperlake", "SapphireRapids"}) {
    BOOST_TEST(variables_to_set(situation(kAvx512, openblas(kernels))).empty(), kernels);
  }
  for (const char* kernels : {"Haswell", "Zen"})
    BOOST_TEST(variables_to_set(situation(kAvx2, openblas(kernels))).empty(), kernels);
  BOOST_TEST(variables_to_set(situation(kArm, openblas("cortexa57"))).empty());
  BOOST_TEST(variables_to_set(situation(kArm, openblas("armv8"))).empty());
  BOOST_TEST(advice(situation(kArm, openblas("armv8"))).empty());
}

BOOST_AUTO_TEST_CASE(poor_kernels_are_corrected_one_candidate_after_the_other) {
  Situation s = situation(kTiles, openblas("Prescott"));
  std::vector<std::string> tried;
  for (int start = 0; start < 6; ++start) {
    const Variables set = variables_to_set(s);
    if (set.empty()) break;
    BOOST_TEST(set.size() == 1U);
    tried.push_back(set.at("OPENBLAS_CORETYPE"));
    s.environment["OPENBLAS_CORETYPE"] = tried.back();
    s.ours.emplace_back("OPENBLAS_CORETYPE");
  }
  BOOST_TEST(tried == core_types(kTiles), boost::test_tools::per_element());
  BOOST_TEST(!advice(s).empty());
  s.found.kernels = "SapphireRapids";
  BOOST_TEST(advice(s).empty());
  BOOST_TEST((variables_to_set(situation(kAvx2, openblas("Nehalem"))) ==
              Variables{{"OPENBLAS_CORETYPE", "HASWELL"}}));
  BOOST_TEST((variables_to_set(situation(kAvx512, openblas("Haswell"))) ==
              Variables{{"OPENBLAS_CORETYPE", "SKYLAKEX"}}));
}

BOOST_AUTO_TEST_CASE(the_users_core_type_stays) {
  Situation s = situation(kAvx512, openblas("Haswell"));
  s.environment["OPENBLAS_CORETYPE"] = "Haswell";
  BOOST_TEST(variables_to_set(s).empty());
  BOOST_TEST(advice(s).find("OPENBLAS_CORETYPE=Haswell") != std::string::npos);
  BOOST_TEST(advice(s).find("AVX-512") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(a_better_library_on_the_machine_is_used) {
  Situation s = situation(kAvx512, kReference);
  BOOST_TEST(variables_to_set(s).empty());
  BOOST_TEST(advice(s).find("apt-get install libopenblas0-openmp") != std::string::npos);
  s.installed = {{"openblas-pthread", "/usr/lib/m/openblas-pthread"}};
  BOOST_TEST((variables_to_set(s) == Variables{{"LD_LIBRARY_PATH", "/usr/lib/m/openblas-pthread"}}));
  s.installed["openblas-openmp"] = "/usr/lib/m/openblas-openmp";
  s.environment["LD_LIBRARY_PATH"] = "/opt/lib";
  BOOST_TEST((variables_to_set(s) == Variables{{"LD_LIBRARY_PATH", "/usr/lib/m/openblas-openmp:/opt/lib"}}));
  s.found = openblas("SkylakeX", "pthread");
  BOOST_TEST((variables_to_set(s) == Variables{{"LD_LIBRARY_PATH", "/usr/lib/m/openblas-openmp:/opt/lib"}}));
  s.ours.emplace_back("LD_LIBRARY_PATH");  // tried already: whatever came of it, not again
  BOOST_TEST(variables_to_set(s).empty());
  s.found = openblas("SkylakeX");
  BOOST_TEST(advice(s).empty());
}

BOOST_AUTO_TEST_CASE(blis_gives_way_only_where_openblas_has_wider_kernels) {
  const Found blis{Library::blis, "BLIS 0.9", "", "haswell", "/usr/lib/m/blis-openmp/libblas.so.3"};
  Situation s = situation(kAvx2, blis);
  s.installed = {{"openblas-openmp", "/o"}};
  BOOST_TEST(variables_to_set(s).empty());
  s.cpu = kAvx512;
  BOOST_TEST((variables_to_set(s) == Variables{{"LD_LIBRARY_PATH", "/o"}}));
}

BOOST_AUTO_TEST_CASE(the_users_library_and_foreign_ones_stay) {
  Situation s = situation(kAvx512, kReference);
  s.installed = {{"openblas-openmp", "/o"}};
  s.environment["LD_PRELOAD"] = "/usr/lib/m/blas/libblas.so.3";
  BOOST_TEST(variables_to_set(s).empty());
  BOOST_TEST(advice(s).find("LD_PRELOAD") != std::string::npos);
  s.environment.erase("LD_PRELOAD");
  s.environment["LD_LIBRARY_PATH"] = "/x:/usr/lib/m/blas";
  BOOST_TEST(variables_to_set(s).empty());
  s.environment.erase("LD_LIBRARY_PATH");
  for (const Library library : {Library::mkl, Library::unknown}) {
    s.found.library = library;
    BOOST_TEST(variables_to_set(s).empty());
    BOOST_TEST(advice(s).empty());
  }
}

BOOST_AUTO_TEST_CASE(threads_and_waiting) {
  Situation s = situation(kAvx2, openblas("Haswell"));
  s.ours.clear();
  s.environment.clear();
  s.threads = 4;
  BOOST_TEST((variables_to_set(s) ==
              Variables{{"GOMP_SPINCOUNT", "0"}, {"OMP_NUM_THREADS", "4"}, {"OMP_WAIT_POLICY", "PASSIVE"}}));
  s.environment = {{"OMP_WAIT_POLICY", "ACTIVE"}, {"OMP_NUM_THREADS", "4,2"}};
  BOOST_TEST(variables_to_set(s).empty());
}

BOOST_AUTO_TEST_CASE(shares_of_cores) {
  BOOST_TEST(share_of_cores({8, 8, 0}, 1) == 8);
  BOOST_TEST(share_of_cores({8, 8, 0}, 4) == 2);
  BOOST_TEST(share_of_cores({2, 2, 0}, 4) == 1);
  BOOST_TEST(share_of_cores({1, 8, 0}, 4) == 1);    // bound to one core by the launcher
  BOOST_TEST(share_of_cores({4, 8, 0}, 2) == 4);    // bound to a socket of its own
  BOOST_TEST(share_of_cores({4, 8, 0}, 4) == 2);    // two ranks on each socket
  BOOST_TEST(share_of_cores({64, 64, 2}, 1) == 2);  // a container with two cores' worth of time
  BOOST_TEST(share_of_cores({64, 64, 0.5}, 1) == 1);
  BOOST_TEST(share_of_cores({0, 0, 0}, 0) == 1);
  const CoreCounts here = count_cores();
  BOOST_TEST(here.own >= 1);
  BOOST_TEST(here.launcher >= here.own);
  BOOST_TEST(parse_quota("200000 100000\n") == 2);
  BOOST_TEST(parse_quota("max 100000") == 0);
  BOOST_TEST(parse_quota("-1\n100000\n") == 0);
  BOOST_TEST(parse_quota("") == 0);
}

BOOST_AUTO_TEST_SUITE_END()
