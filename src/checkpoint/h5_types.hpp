#pragma once

#include "h5.hpp"

namespace cos2p::h5 {

/// Type of `kind` in memory, or in the file (little endian, whatever the machine is). Text: fixed length,
/// zero padded. Fixed-length text lies where it is used, under the checksum of its object, instead of in a
/// heap without one.
Handle make_type(Kind kind, std::size_t text_width, bool in_file);

}  // namespace cos2p::h5
