#include <boost/test/unit_test.hpp>
#include <limits>

#include "cos2p/server/policy.hpp"

using namespace cos2p;

BOOST_AUTO_TEST_CASE(the_policies_are_numbers_of_one_rule) {
  PolicyOptions policy;
  policy.min_updates = 3;
  policy.deadline_s = 7;
  policy.staleness_bound = 5;
  policy.kind = PolicyKind::semi_async;
  BOOST_TEST(merge_rule(policy).min_updates == 3);
  BOOST_TEST(merge_rule(policy).deadline_s == 7);
  BOOST_TEST(merge_rule(policy).staleness_bound == 5);
  policy.kind = PolicyKind::sync;
  BOOST_TEST(merge_rule(policy).min_updates == std::numeric_limits<int>::max());
  BOOST_TEST(merge_rule(policy).deadline_s == 0);
  policy.kind = PolicyKind::async;
  BOOST_TEST(merge_rule(policy).min_updates == 1);
}

BOOST_AUTO_TEST_CASE(staleness_discounts_by_hand, *boost::unit_test::tolerance(1e-12)) {
  PolicyOptions policy;
  policy.discount = DiscountKind::constant;
  BOOST_TEST(staleness_discount(policy, 9) == 1.0);
  policy.discount = DiscountKind::polynomial;
  policy.discount_a = 0.5;
  BOOST_TEST(staleness_discount(policy, 0) == 1.0);
  BOOST_TEST(staleness_discount(policy, 3) == 0.5);
  policy.discount = DiscountKind::hinge;
  policy.discount_a = 2;
  policy.discount_b = 4;
  BOOST_TEST(staleness_discount(policy, 4) == 1.0);
  BOOST_TEST(staleness_discount(policy, 6) == 0.2);
}
