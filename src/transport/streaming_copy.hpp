#pragma once

#include <cstddef>

namespace cos2p {

/// memcpy past the cache, for data that is not read again soon: the target's old content need not be fetched
/// first, which on x86 saves a third of the memory traffic. Plain memcpy where there is no such thing.
void streaming_copy(void* target, const void* source, std::size_t bytes);

}  // namespace cos2p
