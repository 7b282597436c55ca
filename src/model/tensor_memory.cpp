#include "cos2p/model/tensor_memory.hpp"

#include <c10/core/Allocator.h>
#include <c10/core/CPUAllocator.h>
#include <c10/core/impl/alloc_cpu.h>
#include <malloc.h>

#include <algorithm>
#include <atomic>
#include <cstring>

namespace cos2p::tensor_memory {
namespace {

// Of each thread by itself, so that clients that compute side by side are told apart.
thread_local std::int64_t current_bytes = 0;
thread_local std::int64_t peak_bytes = 0;
std::atomic<bool> is_installed{false};

void count(std::int64_t bytes) {
  current_bytes += bytes;
  peak_bytes = std::max(peak_bytes, current_bytes);
}

// The size is asked of malloc again when the block is freed, so that no header and no table has to carry it.
std::int64_t size_of(void* block) {
  return static_cast<std::int64_t>(malloc_usable_size(block));
}

void release(void* block) {
  if (block == nullptr) return;
  count(-size_of(block));
  c10::free_cpu(block);
}

// LibTorch 1.13 declares allocate() const, 2.x without const and beside it copy_data(). All are written here
// without `override`, and each LibTorch takes what it knows.
class CountingAllocator final : public c10::Allocator {
 public:
  c10::DataPtr allocate(std::size_t bytes) const { return make(bytes); }  // NOLINT
  c10::DataPtr allocate(std::size_t bytes) { return make(bytes); }        // NOLINT
  c10::DeleterFnPtr raw_deleter() const override { return &release; }
  void copy_data(void* to, const void* from, std::size_t bytes) const {  // NOLINT
    std::memcpy(to, from, bytes);
  }

 private:
  static c10::DataPtr make(std::size_t bytes) {
    void* block = c10::alloc_cpu(bytes);
    if (block != nullptr) count(size_of(block));
    return {block, block, &release, c10::Device(c10::DeviceType::CPU)};
  }
};

}  // namespace

void install() {
  if (is_installed.exchange(true)) return;
  static CountingAllocator allocator;
  c10::SetCPUAllocator(&allocator, 255);
}

bool installed() {
  return is_installed.load();
}
std::int64_t current() {
  return current_bytes;
}
std::int64_t peak() {
  return peak_bytes;
}
void reset_peak() {
  peak_bytes = current_bytes;
}

}  // namespace cos2p::tensor_memory
