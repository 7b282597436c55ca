#pragma once

#include <cstdint>
#include <string>

namespace cos2p {

/// "2GiB", "512 MiB", "1.5GB", "4096" -> bytes. Binary (KiB, MiB, GiB, TiB) and decimal (kB, MB, GB, TB)
/// units. Throws Error(usage) naming `option` for anything else, for negative and for overflowing sizes.
std::uint64_t parse_bytes(const std::string& text, const std::string& option);

/// 1536 -> "1.5 KiB".
std::string format_bytes(double bytes);

}  // namespace cos2p
