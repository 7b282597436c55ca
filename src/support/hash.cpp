#include "cos2p/support/hash.hpp"

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace cos2p {

#ifdef COS2P_HASH_X86
namespace detail {
// The same function compiled for wider vectors: two and three times as fast on data in the cache, and the
// same value.
std::uint64_t hash64_avx2(const void* data, std::size_t size, std::uint64_t seed);
std::uint64_t hash64_avx512(const void* data, std::size_t size, std::uint64_t seed);
}  // namespace detail

namespace {

using Hash = std::uint64_t (*)(const void*, std::size_t, std::uint64_t);

std::uint64_t hash64_baseline(const void* data, std::size_t size, std::uint64_t seed) {
  return XXH3_64bits_withSeed(data, size, seed);
}

Hash widest() {
  if (__builtin_cpu_supports("avx512f")) return detail::hash64_avx512;
  if (__builtin_cpu_supports("avx2")) return detail::hash64_avx2;
  return hash64_baseline;
}

}  // namespace

std::uint64_t hash64(const void* data, std::size_t size, std::uint64_t seed) {
  static const Hash hash = widest();
  return hash(data, size, seed);
}
#else
std::uint64_t hash64(const void* data, std::size_t size, std::uint64_t seed) {
  return XXH3_64bits_withSeed(data, size, seed);
}
#endif

}  // namespace cos2p
