#include <boost/test/unit_test.hpp>
#include <cmath>
#include <cstdint>
#include <numeric>
#include <string>
#include <vector>

#include "cos2p/support/bytes.hpp"
#include "cos2p/support/hash.hpp"
#include "cos2p/support/memory.hpp"
#include "cos2p/support/narrow.hpp"
#include "cos2p/support/random.hpp"
#include "cos2p/support/typed_id.hpp"

using namespace cos2p;

BOOST_AUTO_TEST_CASE(sizes_are_parsed_with_binary_and_decimal_units) {
  BOOST_TEST(parse_bytes("2GiB", "--x") == 2ULL << 30);
  BOOST_TEST(parse_bytes("1.5 KiB", "--x") == 1536U);
  BOOST_TEST(parse_bytes("4096", "--x") == 4096U);
  BOOST_TEST(parse_bytes("3MB", "--x") == 3000000U);
}

BOOST_AUTO_TEST_CASE(a_bad_size_names_the_option_and_the_value) {
  for (const char* bad : {"", "GiB", "2 potatoes", "-1GiB", "nan", "1e30GiB", "12GiBs"}) {
    BOOST_CHECK_EXCEPTION(parse_bytes(bad, "--memory-budget"), Error, [&](const Error& e) {
      const std::string text = e.what();
      return e.code() == ExitCode::usage && text.find("--memory-budget") != std::string::npos &&
             text.find(bad) != std::string::npos;
    });
  }
}

BOOST_AUTO_TEST_CASE(narrowing_refuses_to_change_a_value) {
  BOOST_TEST(narrow<int>(std::int64_t{7}) == 7);
  BOOST_CHECK_THROW(narrow<int>(std::int64_t{1} << 31), Error);
  BOOST_CHECK_THROW(narrow<unsigned>(-1), Error);
  BOOST_CHECK_THROW(narrow<std::int32_t>(std::uint32_t{0xffffffffU}), Error);
}

BOOST_AUTO_TEST_CASE(random_streams_are_named_by_their_keys) {
  Rng a(1, {2, 3});
  Rng b(1, {2, 3});
  Rng other(1, {3, 2});
  const auto x = a();
  BOOST_TEST(x == b());
  BOOST_TEST(x != other());
}

BOOST_AUTO_TEST_CASE(random_distributions_have_their_moments) {
  Rng rng(7);
  const int n = 200000;
  double mean = 0, square = 0, gamma = 0, small_gamma = 0;
  std::vector<int> counts(7);
  for (int i = 0; i < n; ++i) {
    const double x = rng.normal();
    mean += x / n;
    square += x * x / n;
    gamma += rng.gamma(3.0) / n;
    small_gamma += rng.gamma(0.3) / n;
    ++counts[rng.below(7)];
  }
  BOOST_TEST(std::abs(mean) < 0.02);
  BOOST_TEST(std::abs(square - 1) < 0.02);
  BOOST_TEST(std::abs(gamma - 3.0) < 0.03);
  BOOST_TEST(std::abs(small_gamma - 0.3) < 0.01);
  for (int c : counts) BOOST_TEST(std::abs(c - n / 7.0) < 1000);
}

BOOST_AUTO_TEST_CASE(shuffle_is_a_permutation) {
  std::vector<int> values(100);
  std::iota(values.begin(), values.end(), 0);
  auto shuffled = values;
  Rng(3).shuffle(shuffled);
  BOOST_TEST((shuffled != values));
  std::sort(shuffled.begin(), shuffled.end());
  BOOST_TEST((shuffled == values));
}

BOOST_AUTO_TEST_CASE(a_flipped_bit_changes_the_hash) {
  std::vector<std::uint8_t> bytes(100003, 5);
  const auto whole = hash64(bytes.data(), bytes.size());
  bytes[77777] ^= 1;
  BOOST_TEST(whole != hash64(bytes.data(), bytes.size()));
  BOOST_TEST(hash64(nullptr, 0) == hash64("", 0));
}

BOOST_AUTO_TEST_CASE(memory_readings_follow_what_is_touched) {
  BOOST_TEST(machine_memory_bytes() > 1ULL << 28);
  const auto before = resident_bytes();
  std::vector<char> block(64 << 20, 1);
  BOOST_TEST(resident_bytes() >= before + (60ULL << 20));
  BOOST_TEST(peak_resident_bytes() >= resident_bytes());
  BOOST_TEST(block[12345] == 1);
}

static_assert(!std::is_convertible_v<ClientId, SegmentId> && !std::is_convertible_v<int, ClientId>,
              "ids of different kinds must not mix");

BOOST_AUTO_TEST_CASE(what_a_file_holds_is_shown_short_and_without_control_characters) {
  BOOST_TEST(shown("as it is, \xc3\xa9") == "as it is, \xc3\xa9");
  BOOST_TEST(shown("a\rb\x1b[1m\n") == "a\\x0db\\x1b[1m\\x0a");
  BOOST_TEST(shown("abcdef", 3) == "abc...");
  BOOST_TEST(shown("ab\xc3\xa9", 3) == "ab...");  // no half of a character
  BOOST_TEST(shown("") == "");
}
