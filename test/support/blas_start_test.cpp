// The real thing: a process that starts itself anew until it has the kernels its CPU deserves.
#include <array>
#include <boost/test/unit_test.hpp>
#include <cstdio>
#include <map>
#include <sstream>
#include <string>

#include "blas_rules.hpp"

using namespace cos2p::blas;

namespace {

/// The probe's lines, started with `variables` in its environment and without those that this test's caller
/// has.
std::map<std::string, std::string> start(const std::string& variables, const std::string& arguments = "") {
  const std::string command =
      "env -u OPENBLAS_CORETYPE -u OMP_NUM_THREADS -u OMP_WAIT_POLICY -u GOMP_SPINCOUNT -u LD_LIBRARY_PATH "
      "-u COS2P_STARTED " +
      variables + " '" COS2P_BLAS_PROBE "' " + arguments;
  std::string text;
  FILE* const pipe = popen(command.c_str(), "r");
  BOOST_REQUIRE(pipe != nullptr);
  std::array<char, 256> buffer{};
  while (std::fgets(buffer.data(), static_cast<int>(buffer.size()), pipe) != nullptr) text += buffer.data();
  BOOST_REQUIRE_EQUAL(pclose(pipe), 0);
  std::map<std::string, std::string> values;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);)
    values[line.substr(0, line.find('='))] = line.substr(line.find('=') + 1);
  return values;
}

VectorWidth width_of(const std::string& cpu) {
  return cpu == "AVX-512" ? VectorWidth::avx512
         : cpu == "AVX2"  ? VectorWidth::avx2
         : cpu == "AVX"   ? VectorWidth::avx
                          : VectorWidth::baseline;
}

bool is_openblas(const std::map<std::string, std::string>& values) {
  return values.at("library").rfind("OpenBLAS", 0) == 0;
}

}  // namespace

BOOST_AUTO_TEST_CASE(without_any_variable_the_process_gets_its_cpus_kernels) {
  const auto values = start("");
  BOOST_TEST_MESSAGE(values.at("library")
                     << ", kernels " << values.at("kernels") << ", CPU " << values.at("cpu"));
  BOOST_TEST(!values.at("library").empty());
  BOOST_TEST(!values.at("cpu").empty());
  BOOST_TEST(values.at("OMP_WAIT_POLICY") == "PASSIVE");
  BOOST_TEST(values.at("GOMP_SPINCOUNT") == "0");
  BOOST_TEST(values.at("OMP_NUM_THREADS") == values.at("threads"));
  BOOST_TEST(values.at("COS2P_STARTED").empty());  // not passed on to programs that this one starts
  if (is_openblas(values)) BOOST_TEST((kernel_width(values.at("kernels")) >= width_of(values.at("cpu"))));
  if (values.at("library") == "reference BLAS")
    BOOST_TEST(values.at("advice").find("apt-get install") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(a_poor_detection_is_corrected) {
  // As if a first start had found these kernels, and as if they had not been the user's wish.
  const auto values = start("OPENBLAS_CORETYPE=Prescott COS2P_STARTED='1 OPENBLAS_CORETYPE'");
  if (is_openblas(values) && width_of(values.at("cpu")) >= VectorWidth::avx2) {
    BOOST_TEST(values.at("OPENBLAS_CORETYPE") != "Prescott");
    BOOST_TEST((kernel_width(values.at("kernels")) >= VectorWidth::avx2));
    BOOST_TEST(values.at("advice").empty());
  } else {
    BOOST_TEST(!values.at("library").empty());
  }
}

BOOST_AUTO_TEST_CASE(what_the_user_set_stays_and_its_cost_is_said) {
  const auto values = start("OPENBLAS_CORETYPE=Prescott OMP_WAIT_POLICY=ACTIVE OMP_NUM_THREADS=3");
  BOOST_TEST(values.at("OPENBLAS_CORETYPE") == "Prescott");
  BOOST_TEST(values.at("OMP_WAIT_POLICY") == "ACTIVE");
  BOOST_TEST(values.at("GOMP_SPINCOUNT").empty());
  BOOST_TEST(values.at("threads") == "3");
  if (is_openblas(values) && width_of(values.at("cpu")) >= VectorWidth::avx2) {
    BOOST_TEST(values.at("kernels") == "Prescott");
    BOOST_TEST(values.at("advice").find("OPENBLAS_CORETYPE=Prescott") != std::string::npos);
  }
}

BOOST_AUTO_TEST_CASE(ranks_of_a_host_share_its_cores) {
  BOOST_TEST(start("", "100000").at("threads") == "1");
  BOOST_TEST(std::stoi(start("", "1").at("threads")) >= std::stoi(start("", "2").at("threads")));
}

BOOST_AUTO_TEST_CASE(a_senseless_guard_variable_does_no_harm) {
  for (const char* guard :
       {"COS2P_STARTED=", "COS2P_STARTED=x", "COS2P_STARTED=99", "COS2P_STARTED='-3 A B'"}) {
    BOOST_TEST(!start(guard).at("library").empty(), guard);
  }
}
