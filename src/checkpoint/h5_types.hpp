#pragma once

#include "h5.hpp"

namespace cos2p::h5 {

/// Type of `kind` in memory, or in the file (little endian, whatever the machine is). Text: `text_width`
/// bytes, its closing zero among them. Text of fixed length lies where it is used, under the checksum of its
/// object, not in a heap without.
Handle make_type(Kind kind, std::size_t text_width, bool in_file);

}  // namespace cos2p::h5
