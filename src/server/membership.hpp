#pragma once

#include <memory>
#include <string>
#include <vector>

#include "cos2p/server/server_loop.hpp"
#include "cos2p/transport/channel.hpp"

namespace cos2p {

/// joining: not heard of yet; active; suspect: silent for a while, nobody waits for it, and it is taken back
/// when it speaks again; gone: its process ended or it was silent for too long, for good; left: said
/// farewell.
enum class MemberState { joining, active, suspect, gone, left };
std::string to_string(MemberState state);

/// Who lives, by heartbeat and by process. Decides nothing about training: it says what changed.
class Membership {
 public:
  struct Change {
    std::size_t channel = 0;
    MemberState state = MemberState::joining;
    std::string reason;  ///< in words
    bool is_here() const { return state != MemberState::gone && state != MemberState::left; }
  };

  Membership(std::vector<std::unique_ptr<ServerChannel>>& channels, const ServerLoopOptions& options,
             const ServerLoopHooks& hooks);
  /// Looks at everybody, and gives the channel of who is gone back.
  std::vector<Change> look();

  /// A channel was added at the end, by a worker that has joined; one was taken away.
  void add();
  void remove(std::size_t channel);

  /// Messages of it that could not be used, so far: a peer over the limit is put out.
  void set_bad_messages(std::size_t channel, std::int64_t count) { members_[channel].bad_messages = count; }

  int alive() const;  ///< joining, active or suspect: those whose messages are taken
  bool is_alive(std::size_t channel) const;
  bool lost_any() const { return lost_; }  ///< of those that were here from the start

 private:
  struct Member {
    MemberState state = MemberState::joining;
    std::uint64_t heartbeat = 0;
    double seen_s = 0;
    bool joined = false;
    std::int64_t bad_messages = 0;
  };
  Change judge(std::size_t channel, double now_s);

  std::vector<std::unique_ptr<ServerChannel>>& channels_;
  const ServerLoopOptions& options_;
  const ServerLoopHooks& hooks_;
  std::vector<Member> members_;
  bool lost_ = false;
};

}  // namespace cos2p
