// The main() of every unit-test program: Boost.Test, and an empty run is a failure (Boost.Test's own rule).
#define BOOST_TEST_MODULE cos2p
#include <boost/test/unit_test.hpp>
