#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "cos2p/transport/channel.hpp"

namespace cos2p {

/// What somebody needs to join a run: where its server listens, and the secret that both sides show to know.
/// Kept in a file that only its owner may read (mode 0600).
struct JoinKey {
  std::string run_id;
  std::vector<std::string> hosts;  ///< names and addresses of the server's host, to be tried in turn
  int port = 0;
  std::string secret;  ///< 64 hex digits
};
/// Draws a secret; `hosts` are this host's name and addresses.
JoinKey make_join_key(const std::string& run_id);
/// Throws Error(environment) where it cannot be written.
void write_join_key(const std::string& path, const JoinKey& key);
/// `path`: the file, or the output directory that holds it. Throws Error(usage) for what is no such file, and
/// for one that others may read.
JoinKey read_join_key(const std::string& path);
inline constexpr const char* kJoinKeyName = "join.json";

/// What a newcomer says of itself.
struct JoinRequest {
  std::string host;
  int clients = 0;  ///< that it would execute; 0 = as many as an average worker
};
/// What it is told.
struct JoinWelcome {
  int worker = 0;       ///< its number
  int executors = 0;    ///< workers and open seats that the run was planned for
  std::string options;  ///< of the run, as TOML
  std::string vocabulary;
  bool lower_case = true;
};

/// Takes newcomers in while a run goes on. Each has a connection of its own, whose thread does in this
/// process what MPI does for a rank: it carries out the newcomer's puts and gets on the ring that belongs to
/// it and on the store (read only), and nothing else. Nobody waits for a newcomer: the caller asks
/// newcomers() now and then.
///
/// Both ends prove by HMAC-SHA256 over fresh nonces that they know the secret; versions and byte order are
/// compared in words before. What follows is neither encrypted nor signed: it is for networks on which only
/// hosts are that may read the data.
class JoinServer {
 public:
  struct Options {
    std::string program;  ///< program_in_words(), which newcomers must have too
    RingOptions ring;
    int max_tasks = 1;     ///< clients that one newcomer may be given
    int first_worker = 1;  ///< numbers count up from here, and are never used twice
    JoinWelcome welcome;   ///< what everybody is told; `worker` is filled in
  };
  /// Listens on `key.port` (0 = a free one, which is then in key()). Throws Error(environment) where that is
  /// not possible.
  JoinServer(JoinKey key, ModelStore& store, Options options);
  ~JoinServer();
  JoinServer(const JoinServer&) = delete;
  JoinServer& operator=(const JoinServer&) = delete;

  struct Newcomer {
    std::unique_ptr<ServerChannel> channel;
    JoinRequest request;
  };
  /// Those whose channel has come to stand since the last call; each channel must be destroyed before
  /// dismiss() of its worker.
  std::vector<Newcomer> newcomers();
  bool is_connected(WorkerRank worker) const;
  /// Ends the connection and gives the ring's memory back.
  void dismiss(WorkerRank worker);
  const JoinKey& key() const;
  std::int64_t refused() const;  ///< connections that were not taken

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// A newcomer's connection.
class JoinClient {
 public:
  /// Connects and shows its knowledge; `program`: program_in_words(). Throws Error(no_workers) where nobody
  /// answers (try again later), and Error(environment) where the server refuses: another program, byte order
  /// or secret.
  JoinClient(const JoinKey& key, const std::string& program, const JoinRequest& request);
  ~JoinClient();
  JoinClient(const JoinClient&) = delete;
  JoinClient& operator=(const JoinClient&) = delete;
  const JoinWelcome& welcome() const;
  /// The channel over this connection, which must outlive it. Every use may throw Error(no_workers) when the
  /// connection is lost. Throws Error(environment) where the ends disagree about the model.
  std::unique_ptr<WorkerChannel> make_channel(const SegmentTable& table, RingOptions options);

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace cos2p
