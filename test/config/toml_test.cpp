#include "toml.hpp"

#include <boost/test/unit_test.hpp>
#include <fstream>
#include <sstream>

#include "cos2p/support/error.hpp"
#include "cos2p/support/random.hpp"

using namespace cos2p;
using namespace cos2p::config;

namespace {

std::vector<TomlEntry> read(const std::string& text) {
  std::istringstream input(text);
  return read_toml(input, "f.toml");
}

std::string refusal_of(const std::string& text) {
  try {
    read(text);
  } catch (const Error& error) {
    return error.code() == ExitCode::usage ? error.what() : "";
  }
  return "";
}

}  // namespace

BOOST_AUTO_TEST_SUITE(toml)

BOOST_AUTO_TEST_CASE(values_of_every_kind) {
  const auto entries = read(
      "# comment\n  a = 1_000 # thousand\r\nb=-0.5e-3\nc = \"x # y, \\\"z\\\" \\u00e9\\t\\\\\"\nd = 'C:\\d'\n"
      "e = [1, \"two\" , # inside\n  'three',\n]\nf = []\ng = true\nh = +5");
  BOOST_REQUIRE_EQUAL(entries.size(), 8U);
  const Values expected{"1000", "-0.5e-3", "x # y, \"z\" \xC3\xA9\t\\", "C:\\d"};
  for (std::size_t i = 0; i < expected.size(); ++i) BOOST_TEST(entries[i].values.at(0) == expected[i]);
  BOOST_TEST(entries[4].values == (Values{"1", "two", "three"}), boost::test_tools::per_element());
  BOOST_TEST(entries[4].array);
  BOOST_TEST(entries[5].values.empty());
  BOOST_TEST(entries[6].values.at(0) == "true");
  BOOST_TEST(entries[7].values.at(0) == "5");
  BOOST_TEST(entries[6].line == 10);
}

BOOST_AUTO_TEST_CASE(what_is_not_flat_toml_is_refused_with_its_line) {
  const std::vector<std::pair<std::string, std::string>> cases{
      {"[train]\n", "line 1"},
      {"a\n", "name = value"},
      {"\n\na = \n", "line 3"},
      {"a = mnist\n", "\"mnist\""},
      {"a = \"open\n", "missing \""},
      {"a = 'open\n", "missing '"},
      {"a = [1, 2\n", "missing ]"},
      {"a = [1 2]\n", "neither"},
      {"a = 1 2\n", "more text"},
      {"a = \"\\q\"\n", "escape"},
      {"a = \"\\u12\"\n", "escape"},
      {"a = \"\\ud800\"\n", "\\uD800 is no character"},
      {"a = \"\\u0000\"\n", "\\u0000 is no character"},
      {"= 3\n", "name = value"},
      {std::string("a = 1\0\n", 7), "zero bytes"},
      {"a = 1\na = 2\n", "already set in line 1"}};
  for (const auto& [text, part] : cases) {
    const std::string message = refusal_of(text);
    BOOST_TEST(message.find(part) != std::string::npos, text << " -> " << message);
    BOOST_TEST(message.find("f.toml") != std::string::npos, message);
  }
}

BOOST_AUTO_TEST_CASE(a_file_without_an_end_is_refused) {
  std::ifstream zeros("/dev/zero");
  BOOST_CHECK_EXCEPTION(read_toml(zeros, "f.toml"), Error, [](const Error& error) {
    return std::string(error.what()).find("more than 1048576 bytes") != std::string::npos;
  });
}

BOOST_AUTO_TEST_CASE(any_string_survives_writing_and_reading) {
  Rng rng(17);
  for (int i = 0; i < 500; ++i) {
    std::string text;
    for (std::uint64_t n = rng.below(20); n > 0; --n) text.push_back(static_cast<char>(1 + rng.below(255)));
    const auto entries = read("a = " + toml_array({toml_string(text), "1"}));
    BOOST_REQUIRE_EQUAL(entries.at(0).values.at(0), text);
  }
}

BOOST_AUTO_TEST_CASE(any_bytes_are_read_or_refused) {
  Rng rng(18);
  const std::string letters = "ab=[]\"'\\,#1.-_ \n\tu";
  int refused = 0;
  for (int i = 0; i < 2000; ++i) {
    std::string text;
    for (std::uint64_t n = rng.below(30); n > 0; --n) text.push_back(letters[rng.below(letters.size())]);
    refused += refusal_of(text).empty() ? 0 : 1;
  }
  BOOST_TEST(refused > 1000);
  BOOST_TEST(refused < 2000);
}

BOOST_AUTO_TEST_SUITE_END()
