#pragma once

#include <mpi.h>

#include <boost/test/unit_test.hpp>

#include "cos2p/transport/mpi_runtime.hpp"

namespace cos2p_test {

/// The runtime that test/harness/mpi_main.cpp started.
cos2p::MpiRuntime& mpi();

/// True on every rank if it is true on every rank. Collective.
bool true_on_all_ranks(bool here);

}  // namespace cos2p_test

/// BOOST_REQUIRE for tests on several ranks: one rank that throws alone would strand the others. Collective.
#define REQUIRE_ALL_RANKS(condition) \
  BOOST_REQUIRE_MESSAGE(::cos2p_test::true_on_all_ranks(condition), #condition " (on all ranks)")
