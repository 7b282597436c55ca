#include "cos2p/support/error.hpp"

namespace cos2p {

std::string shown(const std::string& text, std::size_t most) {
  std::size_t end = text.size();
  if (end > most) {
    end = most;
    while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xc0U) == 0x80U)
      --end;  // no half of a character
  }
  std::string result;
  for (const char c : text.substr(0, end)) {
    const auto byte = static_cast<unsigned char>(c);
    result += byte < 0x20 || byte == 0x7f ? fmt::format("\\x{:02x}", byte) : std::string(1, c);
  }
  return end < text.size() ? result + "..." : result;
}

namespace detail {

void assertion_failed(const char* expression, const char* file, int line) {
  throw std::logic_error(
      fmt::format("assertion failed: {} ({}:{}), please report this", expression, file, line));
}

}  // namespace detail
}  // namespace cos2p
