#pragma once

#include <atomic>
#include <functional>
#include <mutex>
#include <vector>

#include "cos2p/transport/channel.hpp"

namespace cos2p {

/// A copy of the segments that this worker's clients read: one thread brings it up to date over a channel
/// while another one trains from it.
class ModelMirror : public ModelReader {
 public:
  explicit ModelMirror(const SegmentTable& table);

  /// Gets those of the segments that are newer at the server. False where `keep_going` (asked before each)
  /// ended it.
  bool refresh(WorkerChannel& channel, const std::vector<SegmentId>& segments,
               const std::function<bool()>& keep_going);
  /// Gives back the copies of deeper blocks.
  void keep_blocks(int blocks);
  std::int64_t bytes() const { return bytes_; }  ///< of the copies held
  /// Beside the copies while refresh() gets a segment: the largest of those held.
  std::int64_t largest_bytes() const;

  std::vector<std::uint64_t> read_versions() override;  ///< of the copies
  std::uint64_t read_segment(SegmentId id, Span<float> values) override;
  /// Of the thread that trains; the other one tells the server.
  void heartbeat() override { ++heartbeats_; }
  std::int64_t heartbeats() const { return heartbeats_; }
  std::int64_t bytes_pulled() const override { return pulled_; }

 private:
  const SegmentTable& table_;
  std::mutex mutex_;
  std::vector<std::vector<float>> values_;  ///< by segment; empty where no copy is held
  std::vector<std::uint64_t> versions_;
  std::atomic<std::int64_t> pulled_{0}, bytes_{0}, heartbeats_{0};
};

}  // namespace cos2p
