#include "cos2p/server/staging_pool.hpp"

#include <sys/mman.h>

#include <iterator>
#include <new>

namespace cos2p {
namespace {

std::size_t rounded(std::size_t bytes) {
  constexpr std::size_t kUnit = 4096;
  return (bytes + kUnit - 1) / kUnit * kUnit + (bytes == 0 ? kUnit : 0);
}

// Straight from the system: malloc would keep what is given back, in pieces that fit nothing.
std::byte* map(std::size_t bytes) {
  void* data = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (data == MAP_FAILED) throw std::bad_alloc();
  return static_cast<std::byte*>(data);
}

}  // namespace

StagingPool::~StagingPool() {
  for (auto& [capacity, data] : free_) munmap(data, capacity);
}

std::optional<Buffer> StagingPool::acquire(std::size_t bytes) {
  std::size_t capacity = rounded(bytes);
  const std::lock_guard<std::mutex> lock(mutex_);
  auto found = free_.lower_bound(capacity);
  std::byte* data = nullptr;
  if (found != free_.end() &&
      found->first <= 2 * capacity) {  // a little too large is better than fresh memory
    capacity = found->first;
    data = found->second;
    free_.erase(found);
  } else {
    // Buffers of sizes nobody asks for any more make room for those somebody does.
    while (reserved_ + capacity > limit_ && !free_.empty()) {
      auto largest = std::prev(free_.end());
      reserved_ -= largest->first;
      munmap(largest->second, largest->first);
      free_.erase(largest);
    }
    if (reserved_ + capacity > limit_) return std::nullopt;
    data = map(capacity);
    reserved_ += capacity;
  }
  in_use_ += capacity;
  return Buffer(data, bytes, capacity, this, [](void* owner, std::byte* released, std::size_t size) {
    static_cast<StagingPool*>(owner)->release(released, size);
  });
}

void StagingPool::release(std::byte* data, std::size_t capacity) {
  const std::lock_guard<std::mutex> lock(mutex_);
  in_use_ -= capacity;
  free_.emplace(capacity, data);
}

std::size_t StagingPool::in_use() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return in_use_;
}

std::size_t StagingPool::reserved() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return reserved_;
}

Buffer plain_buffer(std::size_t bytes) {
  const std::size_t capacity = (bytes + 4095) / 4096 * 4096 + 4096;
  auto* data = static_cast<std::byte*>(std::aligned_alloc(4096, capacity));
  if (data == nullptr) throw std::bad_alloc();
  return {data, bytes, capacity, nullptr,
          [](void*, std::byte* released, std::size_t) { std::free(released); }};
}

}  // namespace cos2p
