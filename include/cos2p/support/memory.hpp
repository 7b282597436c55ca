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
/// Gives what keep_freed_memory() has kept back to the system.
void release_freed_memory();
/// Memory of this machine, bytes; a container's limit where one is set.
std::uint64_t machine_memory_bytes();
/// Memory that can still be taken without swap, bytes: of the machine, or what a container's limit leaves, at
/// least 1; 0 where the machine does not tell.
std::uint64_t available_memory_bytes();

/// How much memory this process can have for work that has begun after this was made: what it has taken
/// since, and its part of what is available beyond a reserve, a twentieth of the machine's memory or 512 MiB.
/// On a machine that is full, a process that holds all it needs may so have less than it holds.
class FreeMemory {
 public:
  /// `sharers`: processes of this machine that look at it so.
  explicit FreeMemory(int sharers);
  std::int64_t bytes() const;  ///< above 0; 0 where the machine does not tell

 private:
  int sharers_;
  std::uint64_t resident_at_start_;
};

}  // namespace cos2p
