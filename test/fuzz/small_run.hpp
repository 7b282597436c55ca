// A run of three clients and a model of some hundred values: what targets that need a server build on.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "cos2p/server/server_core.hpp"
#include "fuzz/support.hpp"

namespace cos2p::fuzz {

enum class SmallModel { images, texts, linear };
inline constexpr std::size_t kSmallModels = 3;

/// A server's state with its model. One of the clients trains everything, one is narrower, one takes windows
/// in turn (of the linear model all train everything).
struct SmallRun {
  explicit SmallRun(SmallModel kind, const PolicyOptions& policy);
  SmallRun(SmallModel kind, const PolicyOptions& policy, const Checkpoint& resumed);
  SmallRun(const SmallRun&) = delete;
  SmallRun& operator=(const SmallRun&) = delete;

  SegmentTable table;
  ModelStore store;
  std::unique_ptr<ServerCore> core;
};

ModelOptions small_model(SmallModel kind);
std::vector<ClientRecord> small_clients(SmallModel kind);
/// A policy out of a byte: lockstep or not, momentum, deltas and the like.
PolicyOptions small_policy(std::uint8_t choice);

/// A message as a worker sends it: header, and the body behind it.
struct WholeMessage {
  MessageHeader header;
  Bytes body;
  Message message() const;  ///< as a channel delivers it
};
/// An update of the first `units` units (0 = of all), every value `value`, packed as `type` says.
WholeMessage small_update(const Segment& segment, int client, int round, std::uint64_t base, int units,
                          float value, ValueType type = ValueType::float32);
WholeMessage small_report(int client, int round);

/// A checkpoint of such a run after some rounds, with updates that wait and everything else that one can
/// hold.
Checkpoint small_checkpoint(SmallModel kind);
/// What must hold after whatever was sent or read: the model's values are such as updates can make of them.
void check_model(const SmallRun& run);

}  // namespace cos2p::fuzz
