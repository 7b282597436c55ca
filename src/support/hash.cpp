#include "cos2p/support/hash.hpp"

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace cos2p {

std::uint64_t hash64(const void* data, std::size_t size, std::uint64_t seed) {
  return XXH3_64bits_withSeed(data, size, seed);
}

}  // namespace cos2p
