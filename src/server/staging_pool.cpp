#include "cos2p/server/staging_pool.hpp"

#include <cstdlib>
#include <new>

namespace cos2p {
namespace {

std::size_t rounded(std::size_t bytes) {
  constexpr std::size_t kUnit = 4096;
  return (bytes + kUnit - 1) / kUnit * kUnit + (bytes == 0 ? kUnit : 0);
}

}  // namespace

StagingPool::~StagingPool() {
  for (auto& [capacity, data] : free_) std::free(data);
}

std::optional<Buffer> StagingPool::acquire(std::size_t bytes) {
  const std::size_t capacity = rounded(bytes);
  const std::lock_guard<std::mutex> lock(mutex_);
  auto found = free_.find(capacity);
  std::byte* data = nullptr;
  if (found != free_.end()) {
    data = found->second;
    free_.erase(found);
  } else {
    // Buffers of sizes nobody asks for any more make room for those somebody does.
    while (reserved_ + capacity > limit_ && !free_.empty()) {
      auto largest = std::prev(free_.end());
      reserved_ -= largest->first;
      std::free(largest->second);
      free_.erase(largest);
    }
    if (reserved_ + capacity > limit_) return std::nullopt;
    data = static_cast<std::byte*>(std::aligned_alloc(4096, capacity));
    if (data == nullptr) throw std::bad_alloc();
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

}  // namespace cos2p
