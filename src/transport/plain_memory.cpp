#include "cos2p/transport/plain_memory.hpp"

#include <atomic>

#include "cos2p/support/error.hpp"
#include "cos2p/transport/ring_layout.hpp"

namespace cos2p {

namespace {
void check_bounds(std::size_t bytes, std::size_t offset, std::size_t size) {
  if (offset > size || bytes > size - offset) {
    fail(ExitCode::internal, "Access to bytes {}+{} of memory that has {}", offset, bytes, size);
  }
}
}  // namespace

void PlainMemory::put(const void* source, std::size_t bytes, std::size_t offset) {
  check_bounds(bytes, offset, memory_.size());
  racing_copy(memory_.data() + offset, source, bytes);
}

void PlainMemory::get(void* target, std::size_t bytes, std::size_t offset) {
  check_bounds(bytes, offset, memory_.size());
  racing_copy(target, memory_.data() + offset, bytes);
}

void PlainMemory::flush() {
  std::atomic_thread_fence(std::memory_order_seq_cst);
}

}  // namespace cos2p
