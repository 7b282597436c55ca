#pragma once

#include <cstdint>

namespace cos2p {

/// Resident memory of this process, bytes, from /proc/self/status (0 where there is none).
std::uint64_t resident_bytes();
/// Largest resident memory since the start or the last reset_peak_resident(), bytes.
std::uint64_t peak_resident_bytes();
/// Resets the kernel's peak to the present value (Linux: /proc/self/clear_refs); false where that is not
/// allowed.
bool reset_peak_resident();
/// Lets malloc keep freed memory for the next training step in place of giving it back to the system after
/// each one, which costs page faults: a seventh of a small model's step. Blocks above 32 MiB are still given
/// back.
void keep_freed_memory();
/// Memory of this machine, bytes; a container's limit where one is set.
std::uint64_t machine_memory_bytes();

}  // namespace cos2p
