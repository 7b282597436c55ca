// The published model, and arithmetic beyond 2 GiB (the sizes are large, the memory is not).
#include <spdlog/sinks/ostream_sink.h>
#include <spdlog/spdlog.h>
#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <boost/test/unit_test.hpp>
#include <chrono>
#include <cstring>
#include <map>
#include <sstream>
#include <stdexcept>
#include <thread>

#include "contract.hpp"
#include "cos2p/support/error.hpp"
#include "cos2p/transport/plain_memory.hpp"
#include "cos2p/transport/ring_layout.hpp"
#include "cos2p/transport/store_entry.hpp"
#include "rma_window.hpp"

using namespace cos2p;
using namespace transport_test;

namespace {

constexpr std::size_t kGiB = std::size_t{1} << 30;

// About 3 x 10^9 parameters: 12 GB of segments.
SegmentTable huge_table() {
  ModelOptions options;
  options.dim = 4096;
  options.blocks = 15;
  options.heads = 32;
  options.feed_forward = 16384;
  options.validate();
  return SegmentTable(options);
}

WorkerChannel worker_of(const SegmentTable& table, RingOptions options, Span<std::byte> ring,
                        Span<std::byte> store) {
  return WorkerChannel(table, options, std::make_unique<PlainMemory>(ring),
                       std::make_unique<PlainMemory>(store), {});
}

struct Put {
  std::size_t bytes, offset;
};

// Memory of any size that only writes down what is asked of it; gets answer with `words` (by offset) or
// zeros.
class SizesOnly final : public RemoteMemory {
 public:
  void put(const void*, std::size_t bytes, std::size_t offset) override { puts.push_back({bytes, offset}); }
  void get(void* target, std::size_t bytes, std::size_t offset) override {
    gets.push_back({bytes, offset});
    std::memset(target, 0, bytes);
    const auto found = answers.find(offset);
    if (found != answers.end())
      std::memcpy(target, found->second.data(), std::min(bytes, found->second.size()));
  }
  void flush() override {}
  std::vector<Put> puts, gets;
  std::map<std::size_t, std::vector<std::byte>> answers;
};

template <typename T>
std::vector<std::byte> bytes_of(const T& value) {
  std::vector<std::byte> bytes(sizeof(T));
  std::memcpy(bytes.data(), &value, sizeof(T));
  return bytes;
}

}  // namespace

BOOST_AUTO_TEST_CASE(the_layout_of_a_model_has_no_overlaps_and_fits) {
  for (const SegmentTable& table : {SegmentTable(small_model()), huge_table()}) {
    const auto layout = ModelStore::layout(table);
    BOOST_REQUIRE(layout.size() == static_cast<std::size_t>(table.size()));
    std::size_t end = static_cast<std::size_t>(table.size()) * sizeof(StoreEntry);
    for (const Segment& segment : table) {
      const auto& at = layout[static_cast<std::size_t>(segment.id.value())];
      BOOST_TEST(at.values_offset >= end);
      BOOST_TEST(at.values_offset % 64 == 0U);
      BOOST_TEST(at.values_bytes == static_cast<std::size_t>(segment.numel) * 4);
      end = at.values_offset + at.values_bytes;
    }
    BOOST_TEST(ModelStore::memory_bytes(table) >= end);
    BOOST_TEST(ModelStore::memory_bytes(table) < end + 8192);
  }
  BOOST_TEST(ModelStore::memory_bytes(huge_table()) > 8 * kGiB);
}

BOOST_AUTO_TEST_CASE(publish_counts_versions_and_restore_sets_them) {
  const SegmentTable table(small_model());
  ModelStore store(table);
  const SegmentId id = table.attention(1);
  BOOST_TEST(store.version(id) == 0U);
  const auto add_one = [](std::int64_t, Span<float> part) {
    for (float& value : part) value += 1;
  };
  BOOST_TEST(store.publish(id, 1, add_one) == 1U);
  BOOST_TEST(store.publish(id, 2, [&](std::int64_t begin, Span<float> part) {
    add_one(begin, part);
    if (begin == 0) part[3] += 1;
  }) == 2U);
  BOOST_TEST(store.values(id)[3] == 3.0F);
  BOOST_TEST(store.version(id) == 2U);
  BOOST_TEST(store.version(table.embedding()) == 0U);
  std::vector<float> values(store.values(id).size(), 0.25F);
  store.restore(id, values, 41);
  BOOST_TEST(store.version(id) == 41U);
  BOOST_TEST(store.values(id)[7] == 0.25F);
  values.pop_back();
  BOOST_CHECK_THROW(store.restore(id, values, 42), Error);
}

/// A channel's memory, aligned.
struct RingMemory {
  explicit RingMemory(RingOptions options) : bytes(ServerChannel::memory_bytes(options, 0) + 64) {}
  Span<std::byte> span() {
    const std::size_t shift = (64 - reinterpret_cast<std::uintptr_t>(bytes.data()) % 64) % 64;
    return {bytes.data() + shift, bytes.size() - 64};
  }
  std::vector<std::byte> bytes;
};

/// The memory of a model one of whose segments is merged again while it is read, so many times.
class MergedMeanwhile final : public RemoteMemory {
 public:
  MergedMeanwhile(ModelStore& store, SegmentId id, int times, ModelStore::WritePart merge)
      : plain_(store.memory()), store_(store), id_(id), times_(times), merge_(std::move(merge)) {}
  void put(const void* source, std::size_t bytes, std::size_t offset) override {
    plain_.put(source, bytes, offset);
  }
  void get(void* target, std::size_t bytes, std::size_t offset) override {
    plain_.get(target, bytes, offset);
    if (bytes != store_.values(id_).size_bytes() || times_-- <= 0) return;
    store_.publish(id_, 1, merge_);
  }
  void flush() override {}

 private:
  PlainMemory plain_;
  ModelStore& store_;
  SegmentId id_;
  int times_;
  ModelStore::WritePart merge_;
};

BOOST_AUTO_TEST_CASE(a_segment_that_is_merged_each_time_it_is_read_is_read_from_a_copy_at_the_server) {
  const SegmentTable table(small_model());
  std::ostringstream told;
  const auto before = spdlog::default_logger();
  spdlog::set_default_logger(
      std::make_shared<spdlog::logger>("told", std::make_shared<spdlog::sinks::ostream_sink_mt>(told)));
  RingOptions options;
  options.held_piece_bytes = 256;
  ModelStore store(table);
  const SegmentId id = table.attention(1);
  const auto add_one = [](std::int64_t, Span<float> part) {
    for (float& value : part) value += 1;
  };
  RingMemory memory(options);
  const Span<std::byte> ring = memory.span();
  ServerChannel server(WorkerRank(1), options, 0, ring);
  // The server merges in each of its turns, too: also between the pieces of a copy.
  WorkerChannel worker(table, options, std::make_unique<PlainMemory>(ring),
                       std::make_unique<MergedMeanwhile>(store, id, 5, add_one), [&] {
                         store.publish(id, 1, add_one);
                         server.heartbeat();
                         server.serve_pull(store);
                       });
  std::vector<float> values(store.values(id).size());
  const auto read = [&] {
    const std::uint64_t version = worker.read_segment(id, values);
    for (float value : values) BOOST_REQUIRE(value == static_cast<float>(version));
    return version;
  };
  std::uint64_t last = 0;
  for (int held = 1; held <= 20; ++held) {
    const std::uint64_t version = read();
    BOOST_TEST(version > last);
    BOOST_TEST(version < store.version(id));
    last = version;
    BOOST_TEST(worker.stats().torn_reads == (held <= 8 ? 3 : held <= 16 ? 4 : 5));  // then a try now and then
    BOOST_TEST(worker.stats().held_reads == held);
  }
  while (worker.stats().held_reads < 24) read();
  for (int i = 0; i < 2; ++i) BOOST_TEST(read() == store.version(id));  // merges are slow again: at once
  BOOST_TEST(worker.stats().held_reads == 24);
  BOOST_TEST(worker.stats().torn_reads == 5);
  spdlog::set_default_logger(before);
  const std::string words = told.str(), one = "segment 'block_01/attention' is merged again while it is read";
  BOOST_TEST(words.find(one) != std::string::npos, words);
  BOOST_TEST(words.find(one) == words.rfind(one), "it is told more than once: " << words);
  BOOST_TEST(words.find("--min-updates") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(a_server_passes_over_requests_for_what_there_is_not) {
  const SegmentTable table(small_model());
  ModelStore store(table);
  RingOptions options;
  options.held_piece_bytes = 256;
  const RingLayout layout(options);
  RingMemory memory(options);
  const Span<std::byte> ring = memory.span();
  ServerChannel server(WorkerRank(1), options, 0, ring);
  std::uint64_t request = 0;
  const auto answered = [&](std::uint64_t segment, std::uint64_t piece) {
    const std::uint64_t word = WantedPiece{++request, segment, piece}.packed();
    std::memcpy(ring.data() + RingLayout::worker_words() + offsetof(WorkerWords, wanted), &word,
                sizeof(word));
    const std::int64_t malformed = server.dropped().malformed;
    // Copies do not follow each other without a pause.
    for (int look = 0; look < 1000 && !server.serve_pull(store) && server.dropped().malformed == malformed;
         ++look)
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    BOOST_TEST(!server.serve_pull(store), "it is answered again");
    HeldPieceHeader header;
    std::memcpy(&header, ring.data() + layout.held_header(), sizeof(header));
    const bool is_there = header.wanted == word && header.check == header.expected_check();
    BOOST_TEST(server.dropped().malformed == malformed + (is_there ? 0 : 1));
    return is_there;
  };
  const auto segments = static_cast<std::uint64_t>(table.size());
  const auto embedding = static_cast<std::uint64_t>(table.embedding().value());
  const std::uint64_t pieces = (static_cast<std::uint64_t>(store.values(table.embedding()).size_bytes()) +
                                layout.held_piece_bytes() - 1) /
                               layout.held_piece_bytes();
  BOOST_REQUIRE(pieces > 2U);
  BOOST_TEST(!answered(embedding, 1));  // of no copy
  BOOST_TEST(!answered(segments, 0));
  BOOST_TEST(!answered(WantedPiece::kSegments - 1, WantedPiece::kPieces - 1));
  BOOST_TEST(answered(embedding, 0));
  BOOST_TEST(!answered(embedding, pieces));
  BOOST_TEST(!answered(embedding, WantedPiece::kPieces - 1));
  BOOST_TEST(!answered((embedding + 1) % segments, 1));  // of another copy
  BOOST_TEST(answered(embedding, pieces - 1));
  BOOST_TEST(!answered(embedding, 1));  // given back with the last piece
  BOOST_TEST(answered(embedding, 0));
  server.abandon();
  BOOST_TEST(!answered(embedding, 1));  // given back with the worker
}

BOOST_AUTO_TEST_CASE(
    a_worker_that_is_put_out_while_it_reads_a_copy_ends_in_words_and_one_of_a_server_that_stops_reads_on) {
  const SegmentTable table(small_model());
  RingOptions options;
  options.held_piece_bytes = 256;
  options.torn_reads = 0;
  for (const auto phase : {Notice::Phase::excluded, Notice::Phase::stopping}) {
    ModelStore store(table);
    RingMemory memory(options);
    ServerChannel server(WorkerRank(1), options, 0, memory.span());
    int turns = 0;
    WorkerChannel worker(table, options, std::make_unique<PlainMemory>(memory.span()),
                         std::make_unique<PlainMemory>(store.memory()), [&] {
                           server.heartbeat();
                           if (++turns < 4) {
                             server.serve_pull(store);
                           } else {
                             Notice notice;
                             notice.phase = phase;
                             server.set_notice(notice);
                           }
                         });
    std::vector<float> values(store.values(table.embedding()).size());
    if (phase == Notice::Phase::stopping) {
      BOOST_TEST(worker.read_segment(table.embedding(), values) == 0U);
      BOOST_TEST(worker.stats().held_reads == 0);
      continue;
    }
    try {
      worker.read_segment(table.embedding(), values);
      BOOST_ERROR("it read from a server that had put it out");
    } catch (const Error& error) {
      BOOST_TEST((error.code() == ExitCode::no_workers));
      BOOST_TEST(std::string(error.what()).find("has put this worker out") != std::string::npos);
    }
  }
}

BOOST_AUTO_TEST_CASE(a_copy_that_is_taken_while_the_writer_writes_is_whole_or_refused) {
  const SegmentTable table(small_model());
  ModelStore store(table);
  const SegmentId id = table.embedding();
  std::atomic<bool> stop{false};
  std::thread writer([&] {
    for (std::uint64_t version = 1; !stop; ++version) {
      store.publish(id, 1, [version](std::int64_t, Span<float> part) {
        std::fill(part.begin(), part.end(), static_cast<float>(version % 1000));
      });
      if (version % 8 == 0) std::this_thread::yield();
    }
  });
  std::vector<float> values(store.values(id).size());
  int whole = 0;
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (whole < 500 && std::chrono::steady_clock::now() < until) {
    const auto version = store.try_copy(id, values);
    if (!version) continue;
    ++whole;
    const auto expected = static_cast<float>(*version % 1000);
    if (!std::all_of(values.begin(), values.end(), [&](float v) { return v == expected; })) {
      BOOST_ERROR("a torn copy of version " << *version);
      break;
    }
  }
  stop = true;
  writer.join();
  BOOST_TEST(whole == 500);
}

BOOST_AUTO_TEST_CASE(a_wanted_piece_is_packed_into_one_word) {
  const WantedPiece most{WantedPiece::kRequests - 1, WantedPiece::kSegments - 1, WantedPiece::kPieces - 1};
  for (const WantedPiece& each : {most, WantedPiece{1, 0, 0}, WantedPiece{77, 12345, 678901}}) {
    const WantedPiece same = WantedPiece::unpacked(each.packed());
    BOOST_TEST(same.request == each.request);
    BOOST_TEST(same.segment == each.segment);
    BOOST_TEST(same.piece == each.piece);
    BOOST_TEST(each.packed() != 0U);
  }
  BOOST_TEST(most.packed() == ~std::uint64_t{0});
}

BOOST_AUTO_TEST_CASE(parts_cover_a_segment_once_and_its_checksum_is_that_of_the_whole) {
  ModelOptions options = small_model();
  options.dim = 256;
  options.feed_forward = 1024;
  options.validate();
  const SegmentTable table(options);
  ModelStore store(table);
  std::vector<std::byte> ring(ServerChannel::memory_bytes({}, 0));
  WorkerChannel worker = worker_of(table, {}, ring, store.memory());
  for (const Segment& segment : table) {
    std::atomic<std::int64_t> written{0};
    store.publish(segment.id, 3, [&](std::int64_t begin, Span<float> part) {
      written += static_cast<std::int64_t>(part.size());
      for (std::size_t i = 0; i < part.size(); ++i)
        part[i] += static_cast<float>(begin + static_cast<std::int64_t>(i));
    });
    BOOST_TEST(written == segment.numel);
    std::vector<float> values(static_cast<std::size_t>(segment.numel));
    BOOST_TEST(worker.read_segment(segment.id, values) == 1U);  // throws where the checksum does not fit
    for (std::size_t i = 0; i < values.size(); ++i) BOOST_REQUIRE(values[i] == static_cast<float>(i));
  }
}

BOOST_AUTO_TEST_CASE(a_writer_that_throws_leaves_a_readable_segment) {
  const SegmentTable table(small_model());
  ModelStore store(table);
  const SegmentId id = table.embedding();
  BOOST_CHECK_THROW(
      store.publish(id, 1, [](std::int64_t, Span<float>) { throw std::runtime_error("out of memory"); }),
      std::runtime_error);
  std::vector<std::byte> ring(ServerChannel::memory_bytes({}, 0));
  WorkerChannel worker = worker_of(table, {}, ring, store.memory());
  std::vector<float> values(store.values(id).size());
  BOOST_TEST(worker.read_segment(id, values) == 1U);
}

BOOST_AUTO_TEST_CASE(damaged_values_and_a_silent_server_end_in_words) {
  const SegmentTable table(small_model());
  ModelStore store(table);
  const SegmentId id = table.feed_forward(0);
  const auto at = ModelStore::layout(table)[static_cast<std::size_t>(id.value())];
  RingOptions options;
  options.silence_s = 0.05;
  std::vector<std::byte> ring(ServerChannel::memory_bytes(options, 0));
  std::vector<float> values(store.values(id).size());
  for (const bool damaged : {true, false}) {
    if (damaged) {
      store.memory()[at.values_offset + 5] ^= std::byte{4};
    } else {
      store.memory()[at.values_offset + 5] ^= std::byte{4};
      store.memory()[at.entry_offset] = std::byte{1};  // a writer that died while it held the lock
    }
    WorkerChannel worker = worker_of(table, options, ring, store.memory());
    try {
      worker.read_segment(id, values);
      BOOST_ERROR("what cannot be read was read");
    } catch (const Error& error) {
      BOOST_TEST((error.code() == ExitCode::no_workers));
      BOOST_TEST(
          std::string(error.what())
                  .find("segment 'block_00/feed_forward' cannot be read (the server has been silent") !=
              std::string::npos,
          error.what());
    }
    BOOST_TEST(worker.stats().torn_reads > 0);
  }
}

BOOST_AUTO_TEST_CASE(wrong_sizes_are_our_own_fault) {
  const SegmentTable table(small_model());
  ModelStore store(table);
  std::vector<std::byte> ring(ServerChannel::memory_bytes({}, 0));
  WorkerChannel worker = worker_of(table, {}, ring, store.memory());
  std::vector<float> values(3);
  BOOST_CHECK_THROW(worker.read_segment(table.embedding(), values), Error);
  MessageHeader header;
  header.body_bytes = 5;
  BOOST_CHECK_THROW(worker.push(header, {}), Error);
  BOOST_CHECK_THROW(RingLayout(RingOptions{0, 4096, 1, 1}), Error);
  BOOST_CHECK_THROW(RingLayout(RingOptions{1, 0, 1, 1}), Error);
  BOOST_TEST(RingLayout(RingOptions{1, 100, 1, 1}).slot_bytes() == 128U);
  std::vector<std::byte> small(100);
  BOOST_CHECK_THROW(ServerChannel(WorkerRank(1), {}, 0, small), Error);
  PlainMemory memory(small);
  int value = 0;
  BOOST_CHECK_THROW(memory.put(&value, sizeof(value), 97), Error);
  BOOST_CHECK_THROW(memory.get(&value, sizeof(value), SIZE_MAX - 1), Error);
}

BOOST_AUTO_TEST_CASE(a_segment_behind_8_GiB_is_read_at_its_offset) {
  const SegmentTable table = huge_table();
  const SegmentId id = table.exit_head(14);
  const auto at = ModelStore::layout(table)[static_cast<std::size_t>(id.value())];
  BOOST_REQUIRE(at.values_offset > 8 * kGiB);
  std::vector<float> values(at.values_bytes / 4, 1.5F);
  StoreEntry entry;
  entry.lock = 6;
  entry.version = 3;
  entry.checksum = chained_hash(values.data(), at.values_bytes, entry.version);
  auto store = std::make_unique<SizesOnly>();
  SizesOnly& seen = *store;
  store->answers[at.entry_offset] = bytes_of(entry);
  store->answers[at.values_offset].resize(at.values_bytes);
  std::memcpy(store->answers[at.values_offset].data(), values.data(), at.values_bytes);
  WorkerChannel worker(table, {}, std::make_unique<SizesOnly>(), std::move(store), {});
  std::vector<float> read(values.size());
  BOOST_TEST(worker.read_segment(id, read) == 3U);
  BOOST_TEST((read == values));
  BOOST_TEST(seen.gets[1].offset == at.values_offset);
}

BOOST_AUTO_TEST_CASE(a_body_of_2_5_GiB_is_cut_into_slots_without_overflow) {
  // Address space only: untouched pages read as zeros.
  const std::size_t bytes = 5 * kGiB / 2;
  void* mapped = mmap(nullptr, bytes, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  BOOST_REQUIRE(mapped != MAP_FAILED);
  RingOptions options;
  options.slots = 3;
  options.slot_bytes = static_cast<std::int64_t>(kGiB);  // the third slot lies behind 2 GiB
  const RingLayout layout(options);
  BOOST_TEST(layout.bytes(0) > 3 * kGiB);
  const SegmentTable table(small_model());
  auto ring = std::make_unique<SizesOnly>();
  SizesOnly& seen = *ring;
  WorkerChannel worker(table, options, std::move(ring), std::make_unique<SizesOnly>(), {});
  MessageHeader header;
  header.body_bytes = static_cast<std::int64_t>(bytes);
  BOOST_TEST(worker.push(header, {Span<const std::byte>(static_cast<const std::byte*>(mapped), bytes)}));
  munmap(mapped, bytes);
  std::size_t sum = 0, last = 0;
  for (const Put& put : seen.puts) {
    BOOST_TEST(put.offset + put.bytes <= layout.tasks());
    if (put.bytes == sizeof(SlotHeader)) continue;
    sum += put.bytes;
    BOOST_TEST(put.offset >= last);
    last = put.offset;
  }
  BOOST_TEST(sum == bytes);
  BOOST_TEST(last >= layout.payload(3));
  BOOST_TEST(worker.stats().bytes_pushed == static_cast<std::int64_t>(bytes));
}

BOOST_AUTO_TEST_CASE(pieces_for_mpi_cover_everything_once) {
  for (const std::size_t bytes : {std::size_t{0}, std::size_t{5}, kLargestMpiCount, 5 * kGiB + 3}) {
    std::size_t next = 0;
    for_each_piece(bytes, kLargestMpiCount, [&](std::size_t offset, std::size_t now) {
      BOOST_TEST(offset == next);
      BOOST_TEST(now <= static_cast<std::size_t>(INT32_MAX));
      next = offset + now;
    });
    BOOST_TEST(next == bytes);
  }
}

BOOST_AUTO_TEST_CASE(the_chained_hash_sees_every_block_and_its_place) {
  std::vector<std::byte> data(3 * kHashBlock + 100);
  const std::uint64_t before = chained_hash(data.data(), data.size());
  for (const std::size_t at : {std::size_t{0}, kHashBlock, 3 * kHashBlock + 99}) {
    data[at] ^= std::byte{1};
    BOOST_TEST(chained_hash(data.data(), data.size()) != before);
    data[at] ^= std::byte{1};
  }
  data[5] = std::byte{1};
  const std::uint64_t first = chained_hash(data.data(), data.size());
  std::swap(data[5], data[kHashBlock + 5]);
  BOOST_TEST(chained_hash(data.data(), data.size()) != first);
}
