// What must never be applied: slots that are torn, cut, repeated, corrupted or out of order, written by hand
// into the ring.
#include <boost/test/unit_test.hpp>
#include <cstring>
#include <memory>

#include "contract.hpp"
#include "cos2p/support/clock.hpp"
#include "cos2p/support/error.hpp"
#include "cos2p/support/random.hpp"
#include "cos2p/transport/plain_memory.hpp"
#include "cos2p/transport/ring_layout.hpp"

using namespace cos2p;
using namespace transport_test;

namespace {

constexpr std::size_t kSlot = 1024;

// A channel whose worker is this test: writes raw slots through a RemoteMemory, as a worker would.
struct RawWorker {
  explicit RawWorker(double settle_s = 0.02, int slots = 4)
      : options{slots, kSlot, settle_s, 20},
        layout(options),
        memory(ServerChannel::memory_bytes(options, 1) + 128),
        ring(aligned(memory), ServerChannel::memory_bytes(options, 1)),
        server(WorkerRank(1), options, 1, ring),
        remote(ring) {}

  static std::byte* aligned(std::vector<std::byte>& bytes) {
    return bytes.data() + (128 - reinterpret_cast<std::uintptr_t>(bytes.data()) % 128) % 128;
  }

  SlotHeader describe(std::uint64_t sequence, std::uint64_t message, std::size_t total,
                      std::size_t offset) const {
    SlotHeader h;
    h.magic = SlotHeader::kMagic;
    h.sequence = sequence;
    h.message = message;
    h.offset = static_cast<std::int64_t>(offset);
    h.bytes = static_cast<std::int64_t>(std::min(kSlot, total - offset));
    h.header = make_header(1, static_cast<int>(message), total);
    return h;
  }
  void write(SlotHeader h) {
    const auto body =
        make_body(1, static_cast<int>(h.message), static_cast<std::size_t>(h.header.body_bytes));
    const std::byte* payload = body.data() + h.offset;
    h.payload_hash = chained_hash(payload, static_cast<std::size_t>(h.bytes));
    h.header_hash = h.expected_hash();
    remote.put(payload, static_cast<std::size_t>(h.bytes), layout.payload(h.sequence));
    remote.put(&h, sizeof(h), layout.header(h.sequence));
    remote.flush();
  }
  // Slots of a whole message from `sequence` on; returns the next sequence number.
  std::uint64_t write_message(std::uint64_t sequence, std::uint64_t message, std::size_t total) {
    for (std::size_t offset = 0; offset < total; offset += kSlot)
      write(describe(sequence++, message, total, offset));
    return sequence;
  }
  int poll() { return server.poll(sink, 100); }
  // Polls as long as a slot that does not settle may take.
  int poll_until_settled() {
    int taken = 0;
    for (const double until = monotonic_seconds() + 3 * options.settle_s; monotonic_seconds() < until;)
      taken += poll();
    return taken;
  }
  void flip(std::size_t offset, int bit = 0) { ring[offset] ^= static_cast<std::byte>(1 << bit); }
  void expect(std::size_t delivered, const DropCounters& want) {
    const DropCounters& got = server.dropped();
    BOOST_TEST(sink.messages.size() == delivered);
    BOOST_TEST(got.corrupt == want.corrupt);
    BOOST_TEST(got.truncated == want.truncated);
    BOOST_TEST(got.duplicate == want.duplicate);
    BOOST_TEST(got.malformed == want.malformed);
    BOOST_TEST(got.rejected == want.rejected);
    for (const Message& message : sink.messages) BOOST_TEST(body_is_right(message));
  }

  RingOptions options;
  RingLayout layout;
  std::vector<std::byte> memory;
  Span<std::byte> ring;
  ServerChannel server;
  PlainMemory remote;
  KeepingSink sink;
};

DropCounters corrupt(int n) {
  return {n, 0, 0, 0, 0};
}
DropCounters truncated(int n) {
  return {0, n, 0, 0, 0};
}
DropCounters duplicate(int n) {
  return {0, 0, n, 0, 0};
}
DropCounters malformed(int n) {
  return {0, 0, 0, n, 0};
}

}  // namespace

BOOST_AUTO_TEST_CASE(a_payload_that_arrives_after_its_header_is_waited_for) {
  RawWorker raw(5);
  raw.write_message(1, 1, 2 * kSlot);
  raw.flip(raw.layout.payload(2) + 17);
  for (int i = 0; i < 50; ++i) raw.poll();
  raw.expect(0, {});
  raw.flip(raw.layout.payload(2) + 17);  // now it is there
  BOOST_TEST(raw.poll() == 1);
  raw.expect(1, {});
}

BOOST_AUTO_TEST_CASE(a_header_that_is_torn_is_waited_for) {
  RawWorker raw(5);
  raw.write_message(1, 1, kSlot);
  raw.flip(raw.layout.header(1) + offsetof(SlotHeader, bytes));
  for (int i = 0; i < 50; ++i) BOOST_TEST(raw.poll() == 0);
  raw.flip(raw.layout.header(1) + offsetof(SlotHeader, bytes));
  BOOST_TEST(raw.poll() == 1);
  raw.expect(1, {});
}

BOOST_AUTO_TEST_CASE(any_flipped_bit_drops_the_message_and_nothing_else) {
  Rng random(1);
  for (int trial = 0; trial < 25; ++trial) {
    RawWorker raw(0.002);
    const std::uint64_t next = raw.write_message(1, 1, 3 * kSlot);
    const std::uint64_t victim = 1 + random.below(3);
    const bool in_header = trial % 2 == 0;
    // Not the sequence number: a slot with another number is a slot that has not come (tested below).
    const std::size_t at = in_header ? raw.layout.header(victim) + 8 + random.below(sizeof(SlotHeader) - 8)
                                     : raw.layout.payload(victim) + random.below(kSlot);
    raw.flip(at, static_cast<int>(random.below(8)));
    raw.poll_until_settled();
    raw.write_message(next, 2, kSlot);
    raw.poll();
    raw.expect(1, corrupt(1));
    BOOST_TEST(raw.sink.messages.front().header.client_round == 2);
  }
}

BOOST_AUTO_TEST_CASE(a_slot_that_never_comes_is_passed_over_when_a_later_one_is_there) {
  RawWorker raw;
  raw.write_message(1, 1, 3 * kSlot);
  std::memset(raw.ring.data() + raw.layout.header(2), 0, sizeof(SlotHeader));
  raw.poll_until_settled();
  raw.expect(0, corrupt(1));
  raw.write_message(4, 2, 2 * kSlot);
  raw.poll();
  raw.expect(1, corrupt(1));
}

BOOST_AUTO_TEST_CASE(a_first_slot_that_is_lost_counts_once) {
  RawWorker raw;
  raw.write_message(1, 1, 3 * kSlot);
  raw.flip(raw.layout.header(1) + 64);
  raw.poll_until_settled();
  raw.write_message(4, 2, kSlot);
  raw.poll();
  raw.expect(1, corrupt(1));
}

BOOST_AUTO_TEST_CASE(slots_in_the_wrong_order_are_taken_in_the_right_one) {
  RawWorker raw(5);
  raw.write(raw.describe(3, 1, 3 * kSlot, 2 * kSlot));
  BOOST_TEST(raw.poll() == 0);
  raw.write(raw.describe(2, 1, 3 * kSlot, kSlot));
  BOOST_TEST(raw.poll() == 0);
  raw.write(raw.describe(1, 1, 3 * kSlot, 0));
  BOOST_TEST(raw.poll() == 3);
  raw.expect(1, {});
}

BOOST_AUTO_TEST_CASE(a_message_that_another_one_cuts_off_is_dropped) {
  RawWorker raw;
  raw.write(raw.describe(1, 1, 3 * kSlot, 0));
  raw.write(raw.describe(2, 1, 3 * kSlot, kSlot));
  raw.write_message(3, 2, kSlot);
  raw.poll();
  raw.expect(1, truncated(1));
  BOOST_TEST(raw.sink.messages.front().header.client_round == 2);
}

BOOST_AUTO_TEST_CASE(a_message_without_its_beginning_is_dropped) {
  RawWorker raw;
  raw.write(raw.describe(1, 1, 3 * kSlot, kSlot));
  raw.write(raw.describe(2, 1, 3 * kSlot, 2 * kSlot));
  raw.write_message(3, 2, kSlot);
  raw.poll();
  raw.expect(1, truncated(1));
}

BOOST_AUTO_TEST_CASE(a_gap_inside_a_message_drops_it) {
  RawWorker raw;
  raw.write(raw.describe(1, 1, 3 * kSlot, 0));
  raw.write(raw.describe(2, 1, 3 * kSlot, 2 * kSlot));
  raw.write_message(3, 2, kSlot);
  raw.poll();
  raw.expect(1, truncated(1));
}

BOOST_AUTO_TEST_CASE(a_worker_that_closes_or_is_given_up_leaves_no_half_message) {
  for (const bool closes : {true, false}) {
    RawWorker raw;
    raw.write(raw.describe(1, 1, 3 * kSlot, 0));
    raw.poll();
    raw.expect(0, {});
    if (closes) {
      const std::uint64_t one = 1;
      raw.remote.put(&one, sizeof(one), RingLayout::worker_words() + offsetof(WorkerWords, closed));
      raw.poll();
    } else {
      raw.server.abandon();
      raw.server.abandon();
    }
    raw.expect(0, truncated(1));
  }
}

BOOST_AUTO_TEST_CASE(a_repeated_message_is_applied_once) {
  RawWorker raw;
  raw.write_message(1, 1, 2 * kSlot);
  raw.poll();
  raw.write_message(3, 1, 2 * kSlot);
  raw.poll();
  raw.write_message(5, 2, kSlot);
  raw.poll();
  raw.expect(2, duplicate(1));
}

BOOST_AUTO_TEST_CASE(a_repeated_slot_is_applied_once) {
  RawWorker raw;
  raw.write(raw.describe(1, 1, 2 * kSlot, 0));
  raw.write(raw.describe(2, 1, 2 * kSlot, 0));
  raw.write(raw.describe(3, 1, 2 * kSlot, kSlot));
  raw.poll();
  raw.expect(1, duplicate(1));
}

BOOST_AUTO_TEST_CASE(an_old_slot_put_again_is_nothing_new) {
  RawWorker raw;
  raw.write_message(1, 1, kSlot);
  BOOST_TEST(raw.poll() == 1);
  raw.write_message(1, 1, kSlot);
  BOOST_TEST(raw.poll_until_settled() == 0);
  raw.expect(1, {});
}

BOOST_AUTO_TEST_CASE(a_slot_from_the_future_blocks_nothing_for_ever) {
  RawWorker raw;
  raw.write(raw.describe(5, 1, kSlot, 0));  // in the place of slot 1, which it has overwritten
  raw.poll_until_settled();
  raw.write_message(2, 2, kSlot);
  raw.poll();
  raw.expect(1, corrupt(1));
}

BOOST_AUTO_TEST_CASE(sizes_that_cannot_be_are_dropped) {
  const auto drop = [](auto change) {
    RawWorker raw;
    SlotHeader h = raw.describe(1, 1, kSlot, 0);
    change(h);
    h.header_hash = h.expected_hash();
    raw.remote.put(&h, sizeof(h), raw.layout.header(1));
    raw.write_message(2, 2, kSlot);
    raw.poll();
    raw.expect(1, malformed(1));
  };
  constexpr std::int64_t kHuge = std::int64_t{1} << 62;
  drop([](SlotHeader& h) { h.header.body_bytes = -1; });
  drop([](SlotHeader& h) { h.bytes = -8; });
  drop([](SlotHeader& h) { h.bytes = kSlot + 1, h.header.body_bytes = kHuge; });
  drop([](SlotHeader& h) { h.offset = -64; });
  drop([](SlotHeader& h) { h.offset = kHuge, h.bytes = 64; });
  drop([](SlotHeader& h) { h.offset = 64, h.bytes = kSlot; });
  drop([](SlotHeader& h) { h.bytes = 0; });
  drop([](SlotHeader& h) { h.header.kind = static_cast<MessageKind>(99); });
  drop([](SlotHeader& h) { h.header.bitmap_bytes = h.header.body_bytes + 1; });
  drop([](SlotHeader& h) { h.header.bitmap_bytes = -64; });
}

BOOST_AUTO_TEST_CASE(a_header_that_changes_within_a_message_drops_it) {
  RawWorker raw;
  raw.write(raw.describe(1, 1, 2 * kSlot, 0));
  SlotHeader h = raw.describe(2, 1, 2 * kSlot, kSlot);
  h.header.weight += 1;
  raw.write(h);
  raw.write_message(3, 2, kSlot);
  raw.poll();
  raw.expect(1, malformed(1));
}

BOOST_AUTO_TEST_CASE(random_bytes_in_the_ring_harm_nothing) {
  Rng random(7);
  for (int trial = 0; trial < 20; ++trial) {
    RawWorker raw(0.001);
    for (std::size_t at = raw.layout.header(1); at < raw.layout.tasks(); ++at)
      raw.ring[at] = static_cast<std::byte>(random.below(256));
    raw.poll_until_settled();
    raw.poll_until_settled();
    BOOST_TEST(raw.sink.messages.empty());
    BOOST_TEST(raw.server.dropped().corrupt >= 1);
  }
}

BOOST_AUTO_TEST_CASE(a_sink_that_gives_too_little_memory_is_our_own_fault) {
  struct Miser : KeepingSink {
    Verdict begin(WorkerRank, const MessageHeader&, Buffer& body) override {
      body = heap_buffer(8);
      return Verdict::accept;
    }
  } miser;
  RawWorker raw;
  raw.write_message(1, 1, kSlot);
  BOOST_CHECK_THROW(raw.server.poll(miser, 1), Error);
}
