// Who may join a run, what it is told, and what a peer that has joined may touch.
#include <boost/test/unit_test.hpp>
#include <chrono>
#include <functional>
#include <nlohmann/json.hpp>
#include <thread>

#include "contract.hpp"
#include "cos2p/support/error.hpp"
#include "cos2p/transport/join.hpp"
#include "join_protocol.hpp"
#include "socket.hpp"

using namespace cos2p;
using nlohmann::json;

namespace {

const std::string kProgram = "cos2p 1.2.3, checkpoints of version 4, little endian";

bool soon(const std::function<bool()>& condition) {
  for (int i = 0; i < 500; ++i) {
    if (condition()) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return false;
}

struct Listening {
  Listening() : store(table) {
    JoinServer::Options options;
    options.program = kProgram;
    options.ring = {2, 1024, 0.02, 5};
    options.max_tasks = 2;
    options.first_worker = 7;
    options.welcome.executors = 3;
    options.welcome.options = "rounds = 5";
    JoinKey key = make_join_key("0123456789abcdef");
    key.hosts = {"127.0.0.1"};
    server = std::make_unique<JoinServer>(key, store, options);
  }
  JoinKey key() const { return server->key(); }
  /// What the server says to a request; the connection.
  json say(Socket& socket, json request, const std::string& secret) const {
    socket = Socket::connect("127.0.0.1", key().port, 5);
    socket.set_limit(5);
    const json hello = json::parse(socket.read_text(join::kSmallText));
    request["nonce"] = "00";
    request["proof"] = join::proof(secret, "newcomer", hello["nonce"], "00");
    socket.write_text(request.dump());
    return json::parse(socket.read_text(join::kLargeText));
  }
  json honest() const {
    return {{"program", kProgram}, {"protocol", join::kProtocol}, {"host", "a board"}, {"clients", 1}};
  }

  SegmentTable table{transport_test::small_model()};
  ModelStore store;
  std::unique_ptr<JoinServer> server;
};

/// A server that says `hello` to whoever comes, and nothing else.
struct Greeter {
  explicit Greeter(const json& hello) : socket(Socket::listen(0)) {
    thread = std::thread([this, hello] {
      Socket peer = socket.accept(5);
      if (peer.valid()) peer.write_text(hello.dump());
    });
  }
  ~Greeter() { thread.join(); }
  Greeter(const Greeter&) = delete;
  Greeter& operator=(const Greeter&) = delete;
  Socket socket;
  std::thread thread;
};

std::string refusal(const std::function<void()>& action, ExitCode code = ExitCode::environment) {
  try {
    action();
  } catch (const Error& e) {
    BOOST_TEST((e.code() == code));
    return e.what();
  }
  return "nothing was refused";
}

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(joining)

BOOST_FIXTURE_TEST_CASE(a_newcomer_is_told_what_the_run_is, Listening) {
  JoinClient client(key(), kProgram, {"a board", 1});
  BOOST_TEST(client.welcome().worker == 7);
  BOOST_TEST(client.welcome().executors == 3);
  BOOST_TEST(client.welcome().options == "rounds = 5");
  std::vector<JoinServer::Newcomer> newcomers;
  BOOST_TEST(soon([&] { return !(newcomers = server->newcomers()).empty(); }));
  BOOST_REQUIRE(newcomers.size() == 1U);
  BOOST_TEST(newcomers[0].request.host == "a board");
  BOOST_TEST(server->is_connected(WorkerRank(7)));
}

BOOST_FIXTURE_TEST_CASE(another_program_is_refused_at_both_ends_in_words, Listening) {
  for (const std::string other : {"cos2p 1.2.4, checkpoints of version 4, little endian",
                                  "cos2p 1.2.3, checkpoints of version 3, little endian",
                                  "cos2p 1.2.3, checkpoints of version 4, big endian"}) {
    const std::string text = refusal([&] { JoinClient(key(), other, {"a board", 1}); });
    BOOST_TEST(has(text, kProgram));
    BOOST_TEST(has(text, other));
    BOOST_TEST(has(text, "use the same program on both"));
    // One that does not look itself.
    Socket socket;
    json request = honest();
    request["program"] = other;
    const std::string error = say(socket, request, key().secret).value("error", "");
    BOOST_TEST(has(error, kProgram));
    BOOST_TEST(has(error, other));
  }
  Socket socket;
  json request = honest();
  request["protocol"] = join::kProtocol + 1;
  BOOST_TEST(has(say(socket, request, key().secret).value("error", ""), "join protocol"));
  request["protocol"] = join::kProtocol;
  request["clients"] = 4e242;  // no number of clients
  BOOST_CHECK_THROW(say(socket, request, key().secret), Error);
  BOOST_TEST(server->newcomers().empty());
}

BOOST_FIXTURE_TEST_CASE(a_secret_is_shown_by_both, Listening) {
  JoinKey forged = key();
  forged.secret[0] = forged.secret[0] == '0' ? '1' : '0';
  BOOST_TEST(has(refusal([&] {
                   JoinClient(forged, kProgram, {"a board", 1});
                 }),
                 "its secret is not this run's"));
  BOOST_TEST(soon([&] { return server->refused() == 1; }));
  BOOST_TEST(server->newcomers().empty());
  // Who listens there and does not know it: the request ends without an answer.
  Greeter stranger({{"program", kProgram}, {"protocol", join::kProtocol}, {"nonce", "11"}});
  JoinKey elsewhere = key();
  elsewhere.port = stranger.socket.port();
  refusal([&] { JoinClient(elsewhere, kProgram, {"a board", 1}); }, ExitCode::no_workers);
}

BOOST_FIXTURE_TEST_CASE(an_old_server_is_refused_in_words, Listening) {
  Greeter old({{"cos2p", "0.9"}, {"protocol", 2}, {"byte_order", "little"}, {"nonce", "11"}});
  JoinKey elsewhere = key();
  elsewhere.port = old.socket.port();
  BOOST_TEST(has(refusal([&] { JoinClient(elsewhere, kProgram, {"a board", 1}); }), "another program"));
}

BOOST_FIXTURE_TEST_CASE(a_peer_touches_its_ring_and_reads_the_model, Listening) {
  struct Hostile {
    join::OperationHeader header;
    std::string what;
  };
  const std::uint64_t ring = ServerChannel::memory_bytes({2, 1024, 0.02, 5}, 2),
                      model = store.memory().size();
  const Hostile kinds[] = {
      {{join::Operation::put, 0, ring - 8, 16}, "a put over the ring's end"},
      {{join::Operation::put, 0, ~std::uint64_t{0} - 7, 16}, "a put whose end overflows"},
      {{join::Operation::put, 1, 0, 8}, "a put into the model"},
      {{join::Operation::get, 1, model - 8, 16}, "a get over the model's end"},
      {{join::Operation::get, 2, 0, 8}, "a memory that does not exist"},
      {{static_cast<join::Operation>(9), 0, 0, 8}, "an operation that does not exist"},
  };
  const std::vector<std::byte> before(store.memory().data(), store.memory().data() + model);
  int worker = 7;
  for (const Hostile& kind : kinds) {
    BOOST_TEST_CONTEXT(kind.what) {
      Socket socket;
      const json welcome = say(socket, honest(), key().secret);
      BOOST_TEST(welcome.value("worker", 0) == worker);
      std::vector<JoinServer::Newcomer> newcomers;
      BOOST_TEST(soon([&] { return !(newcomers = server->newcomers()).empty(); }));
      socket.write(&kind.header, sizeof kind.header);
      BOOST_TEST(soon([&] { return !server->is_connected(WorkerRank(worker)); }));
      newcomers.clear();
      server->dismiss(WorkerRank(worker));
      ++worker;
    }
  }
  BOOST_TEST((std::vector<std::byte>(store.memory().data(), store.memory().data() + model) == before));
  // The others are served as before.
  BOOST_TEST(JoinClient(key(), kProgram, {"a board", 1}).welcome().worker == worker);
}

BOOST_FIXTURE_TEST_CASE(what_is_no_greeting_costs_nothing, Listening) {
  for (const std::string text : {"", "null", "[1]", "{", R"({"program": 7})", R"({"protocol": 4e242})"}) {
    Socket socket = Socket::connect("127.0.0.1", key().port, 5);
    socket.set_limit(5);
    socket.read_text(join::kSmallText);
    socket.write_text(text);
  }
  BOOST_TEST(soon([&] { return server->refused() == 6; }));
  Socket socket = Socket::connect("127.0.0.1", key().port, 5);
  socket.read_text(join::kSmallText);
  const std::uint32_t endless = 0xffffffffU;
  socket.write(&endless, sizeof endless);
  BOOST_TEST(soon([&] { return server->refused() == 7; }));
  BOOST_TEST(server->newcomers().empty());
}

BOOST_AUTO_TEST_SUITE_END()
