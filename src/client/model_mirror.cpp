#include "model_mirror.hpp"

#include <algorithm>

#include "cos2p/support/error.hpp"
#include "cos2p/support/narrow.hpp"

namespace cos2p {

ModelMirror::ModelMirror(const SegmentTable& table)
    : table_(table),
      values_(static_cast<std::size_t>(table.size())),
      versions_(static_cast<std::size_t>(table.size()), 0) {}

bool ModelMirror::refresh(WorkerChannel& channel, const std::vector<SegmentId>& segments,
                          const std::function<bool()>& keep_going) {
  const std::vector<std::uint64_t> published = channel.read_versions();
  for (const SegmentId id : segments) {
    const auto s = static_cast<std::size_t>(id.value());
    // Only this thread writes, so it may look without the lock.
    if (!values_[s].empty() && versions_[s] == published[s]) continue;
    if (!keep_going()) return false;
    std::vector<float> values(static_cast<std::size_t>(table_[id].numel));
    const std::uint64_t version = channel.read_segment(id, values);
    const auto size = narrow<std::int64_t>(values.size() * sizeof(float));
    pulled_ += size;
    const std::lock_guard<std::mutex> lock(mutex_);
    if (values_[s].empty()) bytes_ += size;
    values_[s].swap(values);
    versions_[s] = version;
  }
  return true;
}

void ModelMirror::keep_blocks(int blocks) {
  const std::lock_guard<std::mutex> lock(mutex_);
  for (const Segment& segment : table_) {
    std::vector<float>& values = values_[static_cast<std::size_t>(segment.id.value())];
    if (segment.block < blocks || values.empty()) continue;
    bytes_ -= narrow<std::int64_t>(values.size() * sizeof(float));
    values = {};
  }
}

std::int64_t ModelMirror::largest_bytes() const {
  std::size_t largest = 0;
  for (const std::vector<float>& values : values_) largest = std::max(largest, values.size());
  return narrow<std::int64_t>(largest * sizeof(float));
}

std::vector<std::uint64_t> ModelMirror::read_versions() {
  const std::lock_guard<std::mutex> lock(mutex_);
  return versions_;
}

std::uint64_t ModelMirror::read_segment(SegmentId id, Span<float> values) {
  const std::lock_guard<std::mutex> lock(mutex_);
  const std::vector<float>& copy = values_[static_cast<std::size_t>(id.value())];
  if (copy.size() != values.size()) {
    fail(ExitCode::internal, "Segment '{}' is asked for with {} values and was pulled with {}",
         table_[id].name, values.size(), copy.size());
  }
  std::copy(copy.begin(), copy.end(), values.begin());
  return versions_[static_cast<std::size_t>(id.value())];
}

}  // namespace cos2p
