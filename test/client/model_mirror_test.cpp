#include "model_mirror.hpp"

#include <boost/test/unit_test.hpp>

#include "cos2p/support/error.hpp"
#include "cos2p/transport/in_process.hpp"
#include "server/updates.hpp"

using namespace cos2p;

BOOST_AUTO_TEST_CASE(a_mirror_gets_what_is_newer_and_of_what_was_asked_for) {
  const SegmentTable table = test::tiny_table();
  ModelStore store(table);
  const auto publish = [&](SegmentId id, float value) {
    store.publish(id, 1, [&](std::int64_t, Span<float> part) { std::fill(part.begin(), part.end(), value); });
  };
  for (const Segment& segment : table) publish(segment.id, 1);
  RingOptions ring;
  ring.slots = 2;
  ring.slot_bytes = 4096;
  const auto channel = make_in_process_channel(table, store, WorkerRank(1), ring, 1, {});
  ModelMirror mirror(table);
  const SegmentId embedding = table.embedding(), shallow = table.attention(0), deep = table.attention(1);
  const auto always = [] { return true; };
  const auto value = [&](SegmentId id) {
    std::vector<float> values(static_cast<std::size_t>(table[id].numel));
    const std::uint64_t version = mirror.read_segment(id, values);
    BOOST_TEST(version == mirror.read_versions()[static_cast<std::size_t>(id.value())]);
    BOOST_TEST(std::count(values.begin(), values.end(), values[0]) == table[id].numel);
    return values[0];
  };
  const auto bytes = [&](SegmentId id) { return table[id].numel * 4; };

  BOOST_TEST(mirror.refresh(*channel->worker, {embedding, shallow}, always));
  BOOST_TEST(value(embedding) == 1);
  BOOST_TEST(mirror.bytes() == bytes(embedding) + bytes(shallow));
  BOOST_CHECK_THROW(value(deep), Error);  // was not asked for

  // It stays as it is until the next refresh, which pulls what has changed alone.
  publish(shallow, 2);
  BOOST_TEST(value(shallow) == 1);
  BOOST_TEST(mirror.refresh(*channel->worker, {embedding, shallow}, always));
  BOOST_TEST(value(shallow) == 2);
  BOOST_TEST(mirror.bytes_pulled() == bytes(embedding) + 2 * bytes(shallow));
  BOOST_TEST(mirror.bytes() == bytes(embedding) + bytes(shallow));

  publish(shallow, 3);
  publish(embedding, 3);
  int asked = 0;
  BOOST_TEST(!mirror.refresh(*channel->worker, {shallow, embedding}, [&] { return asked++ == 0; }));
  BOOST_TEST(value(shallow) == 3);
  BOOST_TEST(value(embedding) == 1);

  // What no plan reads any more is given back, and pulled again where one does.
  mirror.keep_blocks(0);
  BOOST_TEST(mirror.bytes() == bytes(embedding));
  BOOST_CHECK_THROW(value(shallow), Error);
  BOOST_TEST(value(embedding) == 1);
  BOOST_TEST(mirror.refresh(*channel->worker, {shallow}, always));
  BOOST_TEST(value(shallow) == 3);
}
