#pragma once

#include <cstdint>
#include <vector>

#include "cos2p/model/segment_table.hpp"

namespace cos2p {

/// Initial values of one full segment: normal(0, 0.02) truncated at two deviations for weights, the class
/// token and the positions; zeros for biases; ones for norm weights. Depends on (seed, segment) alone.
std::vector<float> initial_values(const Segment& segment, std::uint64_t seed);

}  // namespace cos2p
