// As hash_avx2.cpp, for AVX-512; nothing else may be included here.
#include <cstddef>
#include <cstdint>

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace cos2p::detail {

std::uint64_t hash64_avx512(const void* data, std::size_t size, std::uint64_t seed) {
  return XXH3_64bits_withSeed(data, size, seed);
}

}  // namespace cos2p::detail
