// Compiled with AVX2 and called only where the processor has it. Nothing else may be included here: an inline
// function of another header, compiled with AVX2 in this file, could be the copy that the linker keeps for
// the whole program.
#include <cstddef>
#include <cstdint>

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace cos2p::detail {

std::uint64_t hash64_avx2(const void* data, std::size_t size, std::uint64_t seed) {
  return XXH3_64bits_withSeed(data, size, seed);
}

}  // namespace cos2p::detail
