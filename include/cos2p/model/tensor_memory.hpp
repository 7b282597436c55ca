#pragma once

#include <cstdint>

namespace cos2p::tensor_memory {

/// Starts to count the bytes of CPU tensors. Call it once, early in main(): tensors made before are not
/// counted. Calling it again changes nothing. Costs two additions per tensor.
void install();
bool installed();

/// Bytes of the CPU tensors that the calling thread has made, less those it has freed (0 before install()). A
/// tensor that another thread frees counts down there.
std::int64_t current();
/// The largest value of current(), in this thread, since install() or the last reset_peak().
std::int64_t peak();
void reset_peak();

}  // namespace cos2p::tensor_memory
