#pragma once

#include <functional>
#include <mutex>
#include <string>
#include <vector>

#include "cos2p/transport/channel.hpp"

// What every transport must do, written once: a server's part and a worker's part. in_process_test.cpp runs
// them on plain memory, with a thread for each part; rma_test.cpp on MPI windows, with a process for each.
namespace transport_test {

/// Failures, collected from any thread and reported by the test's own.
class Findings {
 public:
  void expect(bool good, const std::string& what);
  std::vector<std::string> all() const;

 private:
  mutable std::mutex mutex_;
  std::vector<std::string> failures_;
};

struct ServerEnd {
  const cos2p::SegmentTable& table;
  cos2p::ModelStore& store;
  std::vector<cos2p::ServerChannel*> channels;
  std::function<void()> progress;
  Findings& findings;
  /// Turns of the server's loop (heartbeat, progress, poll) until `done`; a failure after 30 s.
  void run(cos2p::MessageSink& sink, const std::function<bool()>& done);
  bool all_closed() const;
  std::int64_t dropped() const;
};

struct WorkerEnd {
  const cos2p::SegmentTable& table;
  int worker;
  cos2p::WorkerChannel& channel;
  Findings& findings;
};

struct Case {
  std::string name;
  cos2p::RingOptions ring;
  std::function<void(ServerEnd&)> server;
  std::function<void(WorkerEnd&)> worker;
};
std::ostream& operator<<(std::ostream& out, const Case& c);
constexpr int kMaxTasks = 50;
const std::vector<Case>& contract_cases();

/// Takes everything, unless `judge` says otherwise, and keeps it.
class KeepingSink : public cos2p::MessageSink {
 public:
  Verdict begin(cos2p::WorkerRank worker, const cos2p::MessageHeader& header, cos2p::Buffer& body) override;
  void deliver(cos2p::Message message) override { messages.push_back(std::move(message)); }
  std::function<Verdict(cos2p::WorkerRank, const cos2p::MessageHeader&)> judge;
  std::vector<cos2p::Message> messages;
};
cos2p::Buffer heap_buffer(std::size_t bytes);

/// Closed form: byte `i` of message `number` of a worker.
std::byte body_byte(int worker, int number, std::size_t i);
std::vector<std::byte> make_body(int worker, int number, std::size_t bytes);
cos2p::MessageHeader make_header(int worker, int number, std::size_t bytes);
bool body_is_right(const cos2p::Message& message);
cos2p::ModelOptions small_model();

}  // namespace transport_test
