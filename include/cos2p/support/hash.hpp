#pragma once

#include <cstddef>
#include <cstdint>

namespace cos2p {

/// XXH3, 64 bits, of `size` bytes. Detects torn and corrupted data; it is no defence against an attacker.
std::uint64_t hash64(const void* data, std::size_t size, std::uint64_t seed = 0);

}  // namespace cos2p
