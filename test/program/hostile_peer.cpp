// A worker that joins a run and sends what no honest one would: hostile_peer OUTPUT-DIRECTORY KIND COUNT.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <string>
#include <thread>
#include <vector>

#include "cos2p/checkpoint/checkpoint.hpp"
#include "cos2p/config/run_options.hpp"
#include "cos2p/support/error.hpp"
#include "cos2p/transport/join.hpp"

using namespace cos2p;

namespace {

struct Peer {
  JoinClient connection;
  SegmentTable table;
  std::unique_ptr<WorkerChannel> channel;
  std::vector<ClientTask> tasks;

  explicit Peer(const std::string& directory)
      : connection(read_join_key(directory), program_in_words(COS2P_VERSION), {"hostile", 1}),
        table(read_checkpoint(directory).model),
        channel(connection.make_channel(
            table, parse_options(Subcommand::train, connection.welcome().options).options.ring)) {
    for (int i = 0; i < 500 && tasks.empty(); ++i) {
      channel->heartbeat();
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
      tasks = channel->read_tasks();
    }
    if (tasks.empty()) throw std::runtime_error("no client was given");
  }

  /// One update of a segment that its client trains, of the size that the full segment has.
  bool send(const std::string& kind, int count) {
    const Segment& segment = table[table.embedding()];
    MessageHeader header;
    header.client = tasks.front().client;
    header.client_round = tasks.front().next_round + count;
    header.segment = segment.id.value();
    header.base_version = channel->read_versions()[static_cast<std::size_t>(segment.id.value())];
    header.weight = 1;
    std::vector<float> values(static_cast<std::size_t>(segment.numel), 0.01F);
    if (kind == "nan") values[3] = std::numeric_limits<float>::quiet_NaN();
    if (kind == "huge") values[3] = 1e30F;
    if (kind == "size") values.resize(values.size() / 2);
    if (kind == "forged") header.client = header.client == 0 ? 1 : 0;  // somebody else's
    if (kind == "segment") header.segment = 1000;
    if (kind == "replay") header.client_round = tasks.front().next_round;
    if (kind == "version") header.base_version += 1000000;
    if (kind == "type") header.value_type = static_cast<ValueType>(9);
    const PackedValues floats(values);
    std::vector<std::byte> body(floats.data, floats.data + values.size() * sizeof(float));
    if (kind == "scale") {  // what is infinite is packed with a scale that is not a number
      values[3] = std::numeric_limits<float>::infinity();
      std::vector<std::uint16_t> lost(values.size(), 0);
      header.value_type = ValueType::int8;
      body.resize(static_cast<std::size_t>(packed_bytes(header.value_type, segment.numel)));
      pack_values(header.value_type, values, lost, body);
    }
    header.body_bytes = static_cast<std::int64_t>(body.size());
    channel->heartbeat();
    return channel->push(header, {body});
  }
};

}  // namespace

int main(int, char** argv) {
  try {
    Peer peer(argv[1]);
    int sent = 0;
    while (sent < std::atoi(argv[3]) && peer.send(argv[2], sent)) ++sent;
    // The server looks now and then; whoever is put out is told with the next notice.
    bool excluded = false;
    for (int i = 0; i < 200 && !excluded; ++i) {
      peer.channel->heartbeat();
      excluded = peer.channel->read_notice().phase == Notice::Phase::excluded;
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
    std::printf("sent %d, %s\n", sent, excluded ? "put out" : "still in");
  } catch (const Error& ended) {
    std::printf("put out: %s\n", ended.what());
  } catch (const std::exception& problem) {
    std::printf("failed: %s\n", problem.what());
    return 1;
  }
}
