#include "cos2p/server/staging_pool.hpp"

#include <boost/test/unit_test.hpp>

using namespace cos2p;

BOOST_AUTO_TEST_CASE(the_pool_reuses_what_comes_back_and_never_passes_its_limit) {
  StagingPool pool(64 << 10);
  const std::byte* first = nullptr;
  {
    auto a = pool.acquire(10000);
    BOOST_REQUIRE(a.has_value());
    BOOST_TEST(a->size() == 10000U);
    BOOST_TEST(reinterpret_cast<std::uintptr_t>(a->data()) % 64 == 0U);
    first = a->data();
  }
  BOOST_TEST(pool.in_use() == 0U);
  auto again = pool.acquire(9000);
  BOOST_TEST(again->data() == first);
  auto big = pool.acquire(48 << 10);
  BOOST_TEST(big.has_value());
  BOOST_TEST(!pool.acquire(16 << 10).has_value());
  BOOST_TEST(pool.reserved() <= pool.limit());
  big.reset();
  BOOST_TEST(pool.acquire(16 << 10).has_value());  // the freed buffer of another size makes room
}

BOOST_AUTO_TEST_CASE(an_empty_message_needs_no_special_case) {
  StagingPool pool(8192);
  BOOST_TEST(pool.acquire(0).has_value());
}
