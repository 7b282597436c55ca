#include <algorithm>
#include <utility>

#include "cos2p/support/error.hpp"
#include "cos2p/support/whole_number.hpp"
#include "join_protocol.hpp"

namespace cos2p {
namespace {

using nlohmann::json;

constexpr double kConnectLimit_s = 3;

/// The first of the server's addresses that answers.
Socket reach(const JoinKey& key) {
  std::string reasons;
  for (const std::string& host : key.hosts) {
    try {
      return Socket::connect(host, key.port, kConnectLimit_s);
    } catch (const Error& problem) {
      reasons = problem.what();
    }
  }
  throw Error(ExitCode::no_workers, reasons);
}

/// One of the two memories behind a connection. The server does in order what it is asked: an answer to a get
/// says that all puts before it are done.
class SocketMemory : public RemoteMemory {
 public:
  SocketMemory(std::shared_ptr<Socket> socket, std::uint32_t memory)
      : socket_(std::move(socket)), memory_(memory) {}

  Pace pace() const override { return {128U << 10, 1536U << 10}; }
  void put(const void* source, std::size_t bytes, std::size_t offset) override {
    const join::OperationHeader header{join::Operation::put, memory_, offset, bytes};
    socket_->write(&header, sizeof header, source, bytes);
    unflushed_ = true;
  }
  void get(void* target, std::size_t bytes, std::size_t offset) override {
    const join::OperationHeader header{join::Operation::get, memory_, offset, bytes};
    socket_->write(&header, sizeof header);
    socket_->read(target, bytes);
    unflushed_ = false;
  }
  void flush() override {
    if (!unflushed_) return;
    const join::OperationHeader header;
    socket_->write(&header, sizeof header);
    std::uint64_t answer = 0;
    socket_->read(&answer, sizeof answer);
    unflushed_ = false;
  }
  void flush_local() override {}  // the system holds a copy of what was put

 private:
  std::shared_ptr<Socket> socket_;
  std::uint32_t memory_;
  bool unflushed_ = false;
};

}  // namespace

struct JoinClient::State {
  std::shared_ptr<Socket> socket;
  JoinWelcome welcome;
  std::size_t ring_bytes = 0, store_bytes = 0;
};

JoinClient::JoinClient(const JoinKey& key, const std::string& program, const JoinRequest& request) try
    : state_(std::make_shared<State>()) {
  State& s = *state_;
  s.socket = std::make_shared<Socket>(reach(key));
  Socket& socket = *s.socket;
  socket.set_limit(join::kGreetingLimit_s);
  const json hello = join::parse(socket.read_text(join::kSmallText));
  const std::string theirs = hello.value("program", std::string("another program"));
  if (const int protocol = whole_number(hello, "protocol", 0);
      theirs != program || protocol != join::kProtocol)
    fail(ExitCode::environment,
         "the run's server is {} with join protocol {} and this is {} with {}, use the same program on both",
         theirs.substr(0, 100), protocol, program, join::kProtocol);
  const std::string server_nonce = hello.value("nonce", std::string()), nonce = join::random_hex(32);
  socket.write_text(json{{"program", program},
                         {"protocol", join::kProtocol},
                         {"nonce", nonce},
                         {"host", request.host},
                         {"clients", request.clients},
                         {"proof", join::proof(key.secret, "newcomer", server_nonce, nonce)}}
                        .dump());
  const json welcome = join::parse(socket.read_text(join::kLargeText));
  if (welcome.contains("error")) {
    fail(ExitCode::environment, "the run's server refuses this newcomer ({})",
         welcome.value("error", std::string("without a reason")));
  }
  if (!join::same_proof(welcome.value("proof", std::string()),
                        join::proof(key.secret, "server", server_nonce, nonce)))
    fail(ExitCode::environment, "who answers does not know the run's secret, copy {} anew", kJoinKeyName);
  s.welcome.worker = whole_number(welcome, "worker", 0);
  s.welcome.executors = whole_number(welcome, "executors", 0);
  s.welcome.options = welcome.value("options", std::string());
  s.welcome.vocabulary = welcome.value("vocabulary", std::string());
  s.welcome.lower_case = welcome.value("lower_case", true);
  s.ring_bytes = whole_number(welcome, "ring_bytes", std::size_t{0});
  s.store_bytes = whole_number(welcome, "store_bytes", std::size_t{0});
} catch (const Error&) {
  throw;
} catch (const std::exception& problem) {  // an entry of another type, or a number out of range
  fail(ExitCode::environment, "what came is no message of cos2p ({}), check host and port", problem.what());
}

JoinClient::~JoinClient() = default;

const JoinWelcome& JoinClient::welcome() const {
  return state_->welcome;
}

std::unique_ptr<WorkerChannel> JoinClient::make_channel(const SegmentTable& table, RingOptions options) {
  State& s = *state_;
  if (s.store_bytes != ModelStore::memory_bytes(table) ||
      s.ring_bytes < ServerChannel::memory_bytes(options, 0)) {
    fail(ExitCode::environment,
         "this newcomer's model has {} bytes and the server's {}, give it the same data set (--data-dir)",
         ModelStore::memory_bytes(table), s.store_bytes);
  }
  s.socket->set_limit(options.silence_s);
  return std::make_unique<WorkerChannel>(table, options, std::make_unique<SocketMemory>(s.socket, 0),
                                         std::make_unique<SocketMemory>(s.socket, 1), WorkerChannel::Idle());
}

}  // namespace cos2p
