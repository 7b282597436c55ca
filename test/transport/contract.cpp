#include "contract.hpp"

#include <cstdlib>
#include <ostream>
#include <thread>

#include "cos2p/support/clock.hpp"
#include "cos2p/transport/backoff.hpp"

namespace transport_test {

using namespace cos2p;

void Findings::expect(bool good, const std::string& what) {
  if (good) return;
  const std::lock_guard<std::mutex> lock(mutex_);
  if (failures_.size() < 20) failures_.push_back(what);
}

std::vector<std::string> Findings::all() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return failures_;
}

void ServerEnd::run(MessageSink& sink, const std::function<bool()>& done) {
  const double until = monotonic_seconds() + 30;
  Backoff backoff;
  while (!done()) {
    if (monotonic_seconds() > until)
      return findings.expect(false, "the server's part did not end within 30 s");
    progress();
    int taken = 0;
    for (ServerChannel* channel : channels) {
      channel->heartbeat();
      taken += channel->poll(sink, 4);
      channel->serve_pull(store);
    }
    if (taken > 0) {
      backoff.reset();
    } else {
      backoff.pause();
    }
  }
}

bool ServerEnd::all_closed() const {
  for (const ServerChannel* channel : channels) {
    if (!channel->closed_by_worker()) return false;
  }
  return true;
}

std::int64_t ServerEnd::dropped() const {
  std::int64_t sum = 0;
  for (const ServerChannel* channel : channels) sum += channel->dropped().total();
  return sum;
}

std::ostream& operator<<(std::ostream& out, const Case& c) {
  return out << c.name;
}

Buffer heap_buffer(std::size_t bytes) {
  void* memory = nullptr;
  if (posix_memalign(&memory, 64, bytes > 0 ? bytes : 64) != 0) throw std::bad_alloc();
  return Buffer(static_cast<std::byte*>(memory), bytes, bytes, nullptr,
                [](void*, std::byte* data, std::size_t) { std::free(data); });
}

MessageSink::Verdict KeepingSink::begin(WorkerRank worker, const MessageHeader& header, Buffer& body) {
  const Verdict verdict = judge ? judge(worker, header) : Verdict::accept;
  if (verdict == Verdict::accept) body = heap_buffer(static_cast<std::size_t>(header.body_bytes));
  return verdict;
}

std::byte body_byte(int worker, int number, std::size_t i) {
  return static_cast<std::byte>(
      (static_cast<std::size_t>(worker) * 131 + static_cast<std::size_t>(number) * 31 + i * 7 + (i >> 8)) &
      0xff);
}

std::vector<std::byte> make_body(int worker, int number, std::size_t bytes) {
  std::vector<std::byte> body(bytes);
  for (std::size_t i = 0; i < bytes; ++i) body[i] = body_byte(worker, number, i);
  return body;
}

MessageHeader make_header(int worker, int number, std::size_t bytes) {
  MessageHeader header;
  header.client = worker;
  header.client_round = number;
  header.segment = number % 3;
  header.base_version = static_cast<std::uint64_t>(number) + 7;
  header.weight = 0.5 * number;
  header.body_bytes = static_cast<std::int64_t>(bytes);
  return header;
}

bool body_is_right(const Message& message) {
  const auto bytes = static_cast<std::size_t>(message.header.body_bytes);
  if (message.body.size() < bytes) return false;
  for (std::size_t i = 0; i < bytes; ++i) {
    if (message.body.data()[i] != body_byte(message.header.client, message.header.client_round, i))
      return false;
  }
  return true;
}

ModelOptions small_model() {
  ModelOptions options;
  options.dim = 32;
  options.blocks = 2;
  options.heads = 2;
  options.feed_forward = 64;
  options.validate();
  return options;
}

}  // namespace transport_test
