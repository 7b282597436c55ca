#pragma once

#include <cstddef>
#include <vector>

#include "cos2p/support/span.hpp"

namespace cos2p {

/// Walks through a message's body, which lies in several parts, in blocks that are contiguous in memory.
class BodyReader {
 public:
  explicit BodyReader(const std::vector<Span<const std::byte>>& parts) : parts_(parts) { skip_empty(); }

  /// Bytes that can be had from data() without crossing into the next part.
  std::size_t contiguous() const { return part_ < parts_.size() ? parts_[part_].size() - at_ : 0; }
  const std::byte* data() const { return parts_[part_].data() + at_; }
  void advance(std::size_t bytes) {
    at_ += bytes;
    skip_empty();
  }
  /// Copies the next `bytes` across parts, and advances.
  void gather(std::byte* target, std::size_t bytes);

 private:
  void skip_empty() {
    while (part_ < parts_.size() && at_ == parts_[part_].size()) {
      ++part_;
      at_ = 0;
    }
  }
  const std::vector<Span<const std::byte>>& parts_;
  std::size_t part_ = 0, at_ = 0;
};

}  // namespace cos2p
