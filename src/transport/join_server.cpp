#include <spdlog/spdlog.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <list>
#include <mutex>
#include <thread>

#include "cos2p/support/error.hpp"
#include "cos2p/support/whole_number.hpp"
#include "cos2p/transport/ring_layout.hpp"
#include "join_protocol.hpp"

namespace cos2p {
namespace {

using nlohmann::json;

constexpr std::size_t kAlignment = 128;
constexpr std::size_t kPiece = 64U << 10;  // moved at a time between socket and memory
constexpr std::size_t kStrangers = 32;     // connections that have not shown the secret yet

struct Connection {
  Socket socket;
  WorkerRank worker;  // once it was welcomed
  JoinRequest request;
  std::vector<std::byte> memory;
  Span<std::byte> ring;
  std::unique_ptr<ServerChannel> channel;  // until newcomers() hands it over
  std::atomic<bool> welcomed{false}, over{false};
  std::thread thread;
};

}  // namespace

struct JoinServer::State {
  State(JoinKey key_, ModelStore& store_, Options options_)
      : key(std::move(key_)),
        store(store_),
        options(std::move(options_)),
        listener(Socket::listen(key.port)) {
    key.port = listener.port();
    next_worker = options.first_worker;
    thread = std::thread([this] { take_connections(); });
  }
  ~State() {
    stopping = true;
    thread.join();
    for (const auto& connection : connections) connection->socket.shut_down();
    for (const auto& connection : connections) connection->thread.join();
  }

  State(const State&) = delete;
  State& operator=(const State&) = delete;

  void take_connections();
  void converse(Connection& connection);
  void welcome(Connection& connection);
  void serve(Connection& connection);

  JoinKey key;
  ModelStore& store;
  Options options;
  Socket listener;
  std::atomic<bool> stopping{false};
  std::atomic<std::int64_t> refused{0};
  mutable std::mutex mutex;  // of the two below
  std::list<std::unique_ptr<Connection>> connections;
  int next_worker = 1;
  std::thread thread;
};

void JoinServer::State::take_connections() {
  while (!stopping) {
    Socket socket = listener.accept(0.1);
    const std::lock_guard<std::mutex> lock(mutex);
    // Strangers that have gone are forgotten; whom the caller knows stays until dismiss().
    connections.remove_if([](const auto& connection) {
      if (!connection->over || connection->welcomed) return false;
      connection->thread.join();
      return true;
    });
    if (!socket.valid()) continue;
    const auto strangers = std::count_if(connections.begin(), connections.end(),
                                         [](const auto& connection) { return !connection->welcomed; });
    if (strangers >= static_cast<std::ptrdiff_t>(kStrangers)) {
      ++refused;
      continue;
    }
    connections.push_back(std::make_unique<Connection>());
    Connection& connection = *connections.back();
    connection.socket = std::move(socket);
    connection.thread = std::thread([this, &connection] { converse(connection); });
  }
}

void JoinServer::State::converse(Connection& connection) {
  try {
    welcome(connection);
  } catch (const std::exception& problem) {
    ++refused;
    spdlog::warn("somebody who asked to join was not taken ({})", problem.what());
  }
  try {
    if (connection.welcomed) serve(connection);
  } catch (const Error& lost) {
    spdlog::info("worker {}: {}", connection.worker.value(), lost.what());
  }
  connection.over = true;
  connection.socket.shut_down();
}

void JoinServer::State::welcome(Connection& connection) {
  Socket& socket = connection.socket;
  socket.set_limit(join::kGreetingLimit_s);
  const std::string nonce = join::random_hex(32);
  socket.write_text(
      json{{"program", options.program}, {"protocol", join::kProtocol}, {"nonce", nonce}}.dump());
  const json request = join::parse(socket.read_text(join::kSmallText));
  const auto text = [&request](const char* name) { return request.value(name, std::string()); };
  const auto refuse = [&socket](const std::string& reason) {
    socket.write_text(json{{"error", reason}}.dump());
    throw Error(ExitCode::environment, reason);
  };
  // The newcomer has compared these itself; whoever did not is no newcomer of this program.
  if (text("program") != options.program || whole_number(request, "protocol", 0) != join::kProtocol)
    refuse(fmt::format("it is {} with join protocol {}; this run's server is {} with {}",
                       text("program").substr(0, 100), whole_number(request, "protocol", 0), options.program,
                       join::kProtocol));
  if (!join::same_proof(text("proof"), join::proof(key.secret, "newcomer", nonce, text("nonce"))))
    refuse(fmt::format("its secret is not this run's; copy {} anew from the output directory", kJoinKeyName));
  connection.request.host = text("host").substr(0, 255);
  connection.request.clients = std::clamp(whole_number(request, "clients", 0), 0, options.max_tasks);
  const std::size_t bytes = ServerChannel::memory_bytes(options.ring, options.max_tasks);
  connection.memory.resize(bytes + kAlignment);
  const auto address = reinterpret_cast<std::uintptr_t>(connection.memory.data());
  connection.ring = {connection.memory.data() + (kAlignment - address % kAlignment) % kAlignment, bytes};
  {
    const std::lock_guard<std::mutex> lock(mutex);
    connection.worker = WorkerRank(next_worker++);
  }
  auto channel =
      std::make_unique<ServerChannel>(connection.worker, options.ring, options.max_tasks, connection.ring);
  socket.write_text(json{{"proof", join::proof(key.secret, "server", nonce, text("nonce"))},
                         {"worker", connection.worker.value()},
                         {"executors", options.welcome.executors},
                         {"options", options.welcome.options},
                         {"vocabulary", options.welcome.vocabulary},
                         {"lower_case", options.welcome.lower_case},
                         {"ring_bytes", bytes},
                         {"store_bytes", store.memory().size()}}
                        .dump());
  const std::lock_guard<std::mutex> lock(mutex);
  connection.channel = std::move(channel);
  connection.welcomed = true;
}

/// Carries out what the newcomer asks for, within the two memories that it may touch.
void JoinServer::State::serve(Connection& connection) {
  Socket& socket = connection.socket;
  socket.set_limit(options.ring.silence_s * 2);
  std::vector<std::byte> piece(kPiece);
  while (true) {
    join::OperationHeader header;
    socket.read(&header, sizeof header);
    if (header.operation == join::Operation::flush) {
      const std::uint64_t answer = 1;
      socket.write(&answer, sizeof answer);
      continue;
    }
    const Span<std::byte> memory = header.memory == 0 ? connection.ring : store.memory();
    const bool put = header.operation == join::Operation::put;
    if ((!put && header.operation != join::Operation::get) || header.memory > 1 ||
        (put && header.memory != 0) || header.offset > memory.size() ||
        header.bytes > memory.size() - header.offset) {
      fail(ExitCode::environment,
           "it asked for operation {} on {}+{} bytes of memory {}, which it may not, and is put out",
           static_cast<std::uint32_t>(header.operation), header.offset, header.bytes, header.memory);
    }
    for (std::size_t done = 0; done < header.bytes;) {
      const std::size_t now = std::min<std::size_t>(piece.size(), header.bytes - done);
      std::byte* at = memory.data() + header.offset + done;
      if (put) {
        socket.read(piece.data(), now);
        racing_copy(at, piece.data(), now);
      } else {
        racing_copy(piece.data(), at, now);
        socket.write(piece.data(), now);
      }
      done += now;
    }
  }
}

JoinServer::JoinServer(JoinKey key, ModelStore& store, Options options)
    : state_(std::make_unique<State>(std::move(key), store, std::move(options))) {}

JoinServer::~JoinServer() = default;

std::vector<JoinServer::Newcomer> JoinServer::newcomers() {
  std::vector<Newcomer> arrived;
  const std::lock_guard<std::mutex> lock(state_->mutex);
  for (const auto& connection : state_->connections) {
    if (connection->channel) arrived.push_back({std::move(connection->channel), connection->request});
  }
  return arrived;
}

bool JoinServer::is_connected(WorkerRank worker) const {
  const std::lock_guard<std::mutex> lock(state_->mutex);
  return std::any_of(
      state_->connections.begin(), state_->connections.end(),
      [worker](const auto& connection) { return connection->worker == worker && !connection->over; });
}

void JoinServer::dismiss(WorkerRank worker) {
  std::unique_ptr<Connection> connection;
  {
    const std::lock_guard<std::mutex> lock(state_->mutex);
    const auto found = std::find_if(state_->connections.begin(), state_->connections.end(),
                                    [worker](const auto& each) { return each->worker == worker; });
    if (found == state_->connections.end()) return;
    connection = std::move(*found);
    state_->connections.erase(found);
  }
  connection->socket.shut_down();
  connection->thread.join();
}

const JoinKey& JoinServer::key() const {
  return state_->key;
}

std::int64_t JoinServer::refused() const {
  return state_->refused;
}

}  // namespace cos2p
