// What an Aggregator leaves in a checkpoint, and how another one goes on with it.
#include <algorithm>
#include <limits>

#include "cos2p/server/aggregator.hpp"
#include "cos2p/server/staging_pool.hpp"
#include "cos2p/support/error.hpp"
#include "cos2p/support/narrow.hpp"
#include "depth_momentum.hpp"

namespace cos2p {

void Aggregator::save(Checkpoint& checkpoint) const {
  checkpoint.segments = records_;
  checkpoint.values.clear();
  checkpoint.state.open_since_s.clear();
  checkpoint.state.pending.clear();
  checkpoint.state.velocity.clear();
  checkpoint.state.class_deltas = depth_momentum_ ? depth_momentum_->save() : std::vector<ClassDelta>{};
  for (const Segment& segment : table_) {
    const Span<const float> values = store_.values(segment.id);
    checkpoint.values.emplace_back(values.begin(), values.end());
    const SegmentState& state = segments_[static_cast<std::size_t>(segment.id.value())];
    checkpoint.state.open_since_s.push_back(state.open_since_s);
    if (policy_.server_momentum > 0) checkpoint.state.velocity.push_back(state.velocity);
    for (const Pending& pending : state.pending) {
      PendingUpdate saved;
      saved.client = pending.header.client;
      saved.client_round = pending.header.client_round;
      saved.segment = pending.header.segment;
      saved.base_version = pending.header.base_version;
      saved.weight = pending.header.weight;
      if (segment.units > 0) saved.bitmap = pending.units.bitmap();
      saved.values.resize(static_cast<std::size_t>(pending.values().count));
      unpack_values(pending.values(), 0, saved.values);
      checkpoint.state.pending.push_back(std::move(saved));
    }
  }
}

void Aggregator::restore(const Checkpoint& checkpoint) {
  COS2P_ASSERT(checkpoint.values.size() == segments_.size() &&
               checkpoint.segments.size() == segments_.size());
  records_ = checkpoint.segments;
  if (depth_momentum_) depth_momentum_->restore(checkpoint.state.class_deltas);
  for (const Segment& segment : table_) {
    const auto index = static_cast<std::size_t>(segment.id.value());
    store_.restore(segment.id, checkpoint.values[index], checkpoint.segments[index].version);
    // Of a run that had no momentum there is none, and it begins at rest.
    if (policy_.server_momentum > 0 && !checkpoint.state.velocity.empty())
      segments_[index].velocity = checkpoint.state.velocity[index];
  }
  for (std::size_t c = 0; c < clients_.size() && c < checkpoint.clients.size(); ++c) {
    const ClientRecord& record = checkpoint.clients[c];
    clients_[c].last_round.assign(segments_.size(), record.rounds - 1);
    for (const Segment& segment : table_) {
      const auto& sets = segment.kind == SegmentKind::attention ? record.heads : record.neurons;
      const auto block = static_cast<std::size_t>(segment.block);
      // Of a client that has delivered nothing, the server knew no units either.
      if (record.rounds > 0 && segment.units > 0 && block < sets.size() && sets[block].size() > 0)
        clients_[c].segment_units[static_cast<std::size_t>(segment.id.value())] = sets[block];
      // Who contributed is known as a number only; the clients that have delivered rounds and train the
      // segment are the same ones.
      if (record.rounds > 0 && trains(table_, clients_[c].trainer.assignment, segment))
        contributed_[static_cast<std::size_t>(segment.id.value())][c] = true;
    }
  }
  for (const PendingUpdate& saved : checkpoint.state.pending) {
    Message message;
    MessageHeader& header = message.header;
    header.client = saved.client;
    header.client_round = saved.client_round;
    header.segment = saved.segment;
    header.base_version = saved.base_version;
    header.weight = saved.weight;
    header.bitmap_bytes = narrow<std::int64_t>(saved.bitmap.size());
    header.body_bytes =
        values_offset(header.bitmap_bytes) + narrow<std::int64_t>(saved.values.size() * sizeof(float));
    message.body = plain_buffer(narrow<std::size_t>(header.body_bytes));
    const auto* bitmap = reinterpret_cast<const std::byte*>(saved.bitmap.data());
    const auto* values = reinterpret_cast<const std::byte*>(saved.values.data());
    std::copy(bitmap, bitmap + saved.bitmap.size(), message.body.data());
    std::copy(values, values + saved.values.size() * sizeof(float),
              message.body.data() + values_offset(header.bitmap_bytes));
    ClientState& client = clients_.at(static_cast<std::size_t>(saved.client));
    if (assignment_of(header) == nullptr) {
      // It came from a plan for a part of the fleet, which does not outlive the server.
      Assignment widest = client.given.front().assignment;
      widest.kept_blocks = table_.options().blocks;
      widest.frozen_blocks = widest.rolling = 0;
      give(client, widest, std::numeric_limits<int>::max());
    }
    auto& last_round = client.last_round.at(static_cast<std::size_t>(saved.segment));
    last_round = std::min(last_round, saved.client_round - 1);
    std::string reason;
    const UpdateVerdict verdict =
        take(std::move(message), checkpoint.state.open_since_s.at(static_cast<std::size_t>(saved.segment)),
             Form::merged, reason);
    if (verdict != UpdateVerdict::accepted) {
      fail(ExitCode::checkpoint,
           "a pending update in the checkpoint does not fit (client {}, {}), resume from an older one",
           saved.client, reason);
    }
  }
}

}  // namespace cos2p
