#include "cos2p/transport/model_store.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <cstring>

#include "cos2p/support/error.hpp"
#include "cos2p/support/hash.hpp"
#include "cos2p/support/narrow.hpp"
#include "cos2p/support/parallel.hpp"
#include "cos2p/transport/ring_layout.hpp"
#include "cos2p/transport/store_entry.hpp"

namespace cos2p {

namespace {

constexpr std::size_t kHugePage = 2 << 20;
constexpr std::size_t kPage = 4096;
constexpr std::size_t kPart = 128 << 10;  // written and hashed at a time: stays in the second-level cache
static_assert(kPart % kHashBlock == 0);

StoreEntry* entry_of(std::byte* memory, std::size_t offset) {
  return reinterpret_cast<StoreEntry*>(memory + offset);
}

// Holds a segment's sequence lock: odd from construction to destruction. Also when the writer throws, what
// stands in the memory gets its checksum, so that readers never wait for ever.
class Writing {
 public:
  Writing(StoreEntry& entry, const std::byte* values, std::size_t bytes, std::uint64_t version)
      : entry_(entry), values_(values), bytes_(bytes), version_(version) {
    __atomic_store_n(&entry_.lock, entry_.lock + 1, __ATOMIC_RELAXED);
    std::atomic_thread_fence(
        std::memory_order_seq_cst);  // no value changes before the lock is seen to be odd
  }
  ~Writing() {
    __atomic_store_n(&entry_.checksum, checksum_ ? *checksum_ : chained_hash(values_, bytes_, version_),
                     __ATOMIC_RELAXED);
    __atomic_store_n(&entry_.version, version_, __ATOMIC_RELAXED);
    store_release(&entry_.lock, entry_.lock + 1);  // nor after it is even again
  }
  Writing(const Writing&) = delete;
  Writing& operator=(const Writing&) = delete;

  /// Of the values as they are now, where the writer knows it.
  void set_checksum(std::uint64_t checksum) { checksum_ = checksum; }

 private:
  StoreEntry& entry_;
  const std::byte* values_;
  std::size_t bytes_;
  std::uint64_t version_;
  std::optional<std::uint64_t> checksum_;
};

}  // namespace

std::vector<ModelStore::Layout> ModelStore::layout(const SegmentTable& table) {
  std::vector<Layout> result;
  std::size_t entries = static_cast<std::size_t>(table.size()) * sizeof(StoreEntry);
  std::size_t next = (entries + kPage - 1) / kPage * kPage;
  for (const Segment& segment : table) {
    Layout at;
    at.entry_offset = result.size() * sizeof(StoreEntry);
    at.values_offset = next;
    at.values_bytes = narrow<std::size_t>(segment.bytes(), "segment size");
    next += (at.values_bytes + 63) / 64 * 64;
    result.push_back(at);
  }
  return result;
}

std::size_t ModelStore::memory_bytes(const SegmentTable& table) {
  const Layout last = layout(table).back();
  return (last.values_offset + last.values_bytes + kPage - 1) / kPage * kPage;
}

ModelStore::ModelStore(const SegmentTable& table)
    : table_(table), layout_(layout(table)), bytes_(memory_bytes(table)) {
  const std::size_t alignment = bytes_ >= kHugePage ? kHugePage : kPage;
  void* memory = nullptr;
  if (posix_memalign(&memory, alignment, bytes_) != 0) {
    fail(ExitCode::environment,
         "No memory for the published model ({} bytes), use a machine with more of it or a smaller model",
         bytes_);
  }
#ifdef MADV_HUGEPAGE
  madvise(memory, bytes_, MADV_HUGEPAGE);  // only a hint: fewer page faults and address lookups
#endif
  memory_ = static_cast<std::byte*>(memory);
  std::memset(memory_, 0, bytes_);
  for (const Layout& at : layout_) {
    entry_of(memory_, at.entry_offset)->checksum =
        chained_hash(memory_ + at.values_offset, at.values_bytes, 0);
  }
}

ModelStore::~ModelStore() {
  std::free(memory_);
}

std::uint64_t ModelStore::publish(SegmentId id, int threads, const WritePart& write) {
  const Layout& at = layout_.at(static_cast<std::size_t>(id.value()));
  StoreEntry& entry = *entry_of(memory_, at.entry_offset);
  std::byte* values = memory_ + at.values_offset;
  const std::uint64_t next = entry.version + 1;
  Writing writing(entry, values, at.values_bytes, next);
  std::vector<std::uint64_t> hashes((at.values_bytes + kHashBlock - 1) / kHashBlock);
  parallel_for(narrow<std::int64_t>((at.values_bytes + kPart - 1) / kPart), threads, [&](std::int64_t part) {
    const std::size_t begin = static_cast<std::size_t>(part) * kPart;
    const std::size_t bytes = std::min(kPart, at.values_bytes - begin);
    write(narrow<std::int64_t>(begin / sizeof(float)),
          Span<float>(reinterpret_cast<float*>(values + begin), bytes / sizeof(float)));
    for (std::size_t done = 0; done < bytes; done += kHashBlock) {
      hashes[(begin + done) / kHashBlock] = hash64(values + begin + done, std::min(kHashBlock, bytes - done));
    }
  });
  std::uint64_t checksum = next;
  for (std::uint64_t hash : hashes) checksum = chain(checksum, hash);
  writing.set_checksum(checksum);
  return next;
}

void ModelStore::restore(SegmentId id, Span<const float> values, std::uint64_t version) {
  const Layout& at = layout_.at(static_cast<std::size_t>(id.value()));
  if (values.size_bytes() != at.values_bytes) {
    fail(ExitCode::internal, "Segment '{}' has {} bytes, not {}", table_[id].name, at.values_bytes,
         values.size_bytes());
  }
  const Writing writing(*entry_of(memory_, at.entry_offset), memory_ + at.values_offset, at.values_bytes,
                        version);
  std::memcpy(memory_ + at.values_offset, values.data(), at.values_bytes);
}

Span<const float> ModelStore::values(SegmentId id) const {
  const Layout& at = layout_.at(static_cast<std::size_t>(id.value()));
  return {reinterpret_cast<const float*>(memory_ + at.values_offset), at.values_bytes / sizeof(float)};
}

std::uint64_t ModelStore::version(SegmentId id) const {
  return load_acquire(
      &entry_of(memory_, layout_.at(static_cast<std::size_t>(id.value())).entry_offset)->version);
}

std::uint64_t ModelStore::checksum(SegmentId id) const {
  return load_acquire(
      &entry_of(memory_, layout_.at(static_cast<std::size_t>(id.value())).entry_offset)->checksum);
}

std::optional<std::uint64_t> ModelStore::try_copy(SegmentId id, Span<float> target) const {
  const Layout& at = layout_.at(static_cast<std::size_t>(id.value()));
  COS2P_ASSERT(target.size_bytes() == at.values_bytes);
  const StoreEntry& entry = *entry_of(memory_, at.entry_offset);
  const std::uint64_t before = load_acquire(&entry.lock);
  if (before % 2 != 0) return std::nullopt;
  const std::uint64_t version = load_acquire(&entry.version);
  racing_copy(target.data(), memory_ + at.values_offset, at.values_bytes);
  std::atomic_thread_fence(std::memory_order_acquire);  // no value is read after the lock is looked at again
  if (load_acquire(&entry.lock) != before) return std::nullopt;
  return version;
}

Span<std::byte> ModelStore::memory() const {
  return {memory_, bytes_};
}

}  // namespace cos2p
