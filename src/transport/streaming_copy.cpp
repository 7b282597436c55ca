#include "streaming_copy.hpp"

#include <cstdint>
#include <cstring>

#ifdef __SSE2__
#include <emmintrin.h>
#endif

namespace cos2p {

#ifdef __SSE2__
void streaming_copy(void* target, const void* source, std::size_t bytes) {
  constexpr std::size_t kLine = 64;
  auto* to = static_cast<char*>(target);
  const auto* from = static_cast<const char*>(source);
  const std::size_t head = (kLine - reinterpret_cast<std::uintptr_t>(to) % kLine) % kLine;
  if (head >= bytes) {
    std::memcpy(to, from, bytes);
    return;
  }
  std::memcpy(to, from, head);
  std::size_t done = head;
  for (; done + kLine <= bytes; done += kLine) {
    for (std::size_t i = 0; i < kLine; i += sizeof(__m128i)) {
      const __m128i value = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from + done + i));
      _mm_stream_si128(reinterpret_cast<__m128i*>(to + done + i), value);
    }
  }
  _mm_sfence();
  std::memcpy(to + done, from + done, bytes - done);
}
#else
void streaming_copy(void* target, const void* source, std::size_t bytes) {
  std::memcpy(target, source, bytes);
}
#endif

}  // namespace cos2p
