#pragma once

#include <cstdint>

namespace cos2p::tensor_memory {

/// Starts to count the bytes of CPU tensors. Call it once, early in main(): tensors made before are not
/// counted. Calling it again changes nothing. Costs two atomic additions per tensor.
void install();
bool installed();

/// Bytes of the CPU tensors that exist now, of this process (0 before install()).
std::int64_t current();
/// The largest value of current() since install() or the last reset_peak().
std::int64_t peak();
void reset_peak();

}  // namespace cos2p::tensor_memory
