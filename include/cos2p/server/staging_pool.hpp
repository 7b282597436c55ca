#pragma once

#include <cstddef>
#include <map>
#include <mutex>
#include <optional>
#include <vector>

#include "cos2p/transport/message.hpp"

namespace cos2p {

/// Memory for messages between their arrival and their merge, with a fixed limit: when it is used up,
/// channels stop draining, and their senders wait. Freed buffers are kept and handed out again, since
/// touching fresh memory is slow. Thread-safe; must outlive every Buffer it gave out.
class StagingPool {
 public:
  explicit StagingPool(std::size_t limit_bytes) : limit_(limit_bytes) {}
  ~StagingPool();
  StagingPool(const StagingPool&) = delete;
  StagingPool& operator=(const StagingPool&) = delete;

  /// A buffer of exactly `bytes` usable bytes (page-aligned), or nothing while the limit is reached.
  std::optional<Buffer> acquire(std::size_t bytes);
  std::size_t limit() const { return limit_; }
  /// Bytes handed out at present, and reserved at most so far.
  std::size_t in_use() const;
  std::size_t reserved() const;

 private:
  void release(std::byte* data, std::size_t capacity);

  const std::size_t limit_;
  mutable std::mutex mutex_;
  std::size_t in_use_ = 0, reserved_ = 0;
  std::multimap<std::size_t, std::byte*> free_;  ///< by capacity
};

/// A buffer outside every pool, for messages that come from a file. Throws std::bad_alloc.
Buffer plain_buffer(std::size_t bytes);

}  // namespace cos2p
