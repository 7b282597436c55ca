#include "membership.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "cos2p/support/clock.hpp"

namespace cos2p {

std::string to_string(MemberState state) {
  switch (state) {
    case MemberState::joining:
      return "joining";
    case MemberState::active:
      return "active";
    case MemberState::suspect:
      return "suspect";
    case MemberState::gone:
      return "gone";
    case MemberState::left:
      return "left";
  }
  return "unknown";
}

Membership::Membership(std::vector<std::unique_ptr<ServerChannel>>& channels,
                       const ServerLoopOptions& options, const ServerLoopHooks& hooks)
    : channels_(channels), options_(options), hooks_(hooks), members_(channels.size()) {
  for (Member& member : members_) member.seen_s = monotonic_seconds();
}

bool Membership::is_alive(std::size_t channel) const {
  const MemberState state = members_[channel].state;
  return state != MemberState::gone && state != MemberState::left;
}

int Membership::alive() const {
  int count = 0;
  for (std::size_t i = 0; i < members_.size(); ++i) count += is_alive(i) ? 1 : 0;
  return count;
}

void Membership::add() {
  Member member;
  member.seen_s = monotonic_seconds();
  member.joined = true;
  members_.push_back(member);
}

void Membership::remove(std::size_t channel) {
  members_.erase(members_.begin() + static_cast<std::ptrdiff_t>(channel));
}

Membership::Change Membership::judge(std::size_t i, double now_s) {
  Member& member = members_[i];
  ServerChannel& channel = *channels_[i];
  // A worker that pushes a large segment over a slow link has no time for a heartbeat, and its slots arrive.
  const std::uint64_t heartbeat = channel.worker_heartbeat() + channel.slots_taken();
  const double silence = now_s - member.seen_s;
  if (heartbeat != member.heartbeat) {
    member.heartbeat = heartbeat;
    member.seen_s = now_s;
  }
  // What it pushed before its farewell is taken first.
  const bool silent = now_s - member.seen_s > options_.worker_timeout_s;
  if (channel.closed_by_worker())
    return !channel.slot_is_there() || silent ? Change{i, MemberState::left, "said farewell"}
                                              : Change{i, member.state, ""};
  if (hooks_.process_gone && hooks_.process_gone(channel.worker()))
    return {i, MemberState::gone, member.joined ? "its connection ended" : "its process ended"};
  if (options_.bad_messages > 0 && member.bad_messages > options_.bad_messages) {
    return {i, MemberState::gone,
            fmt::format("put out: {} messages that could not be used, --bad-messages allows {}",
                        member.bad_messages, options_.bad_messages)};
  }
  if (member.seen_s == now_s) {
    return {
        i, MemberState::active,
        member.state == MemberState::suspect ? fmt::format("heard again after {:.0f} s", silence) : "heard"};
  }
  if (silence > options_.worker_timeout_s)
    return {i, MemberState::gone, fmt::format("no heartbeat for {:.0f} s", silence)};
  if (silence > options_.suspect_after_s && member.state != MemberState::joining)
    return {i, MemberState::suspect, fmt::format("no heartbeat for {:.0f} s", silence)};
  return {i, member.state, ""};
}

std::vector<Membership::Change> Membership::look() {
  const double now = monotonic_seconds();
  std::vector<Change> changes;
  for (std::size_t i = 0; i < members_.size(); ++i) {
    if (!is_alive(i)) continue;
    Change change = judge(i, now);
    if (change.state == members_[i].state) continue;
    members_[i].state = change.state;
    if (!change.is_here()) channels_[i]->abandon();  // no more of its message will come: memory is for others
    if (change.state == MemberState::gone) {
      lost_ = lost_ || !members_[i].joined;
      Notice notice;
      notice.phase = Notice::Phase::excluded;
      channels_[i]->set_notice(notice);
    }
    changes.push_back(std::move(change));
  }
  return changes;
}

}  // namespace cos2p
