#pragma once

#include <torch/types.h>

#include <map>

#include "cos2p/client/local_trainer.hpp"

namespace cos2p {

/// Chooses the units that each client of this process trains, and remembers them between choices. Scores are
/// not remembered: each choice trains its own anew.
class UnitChooser {
 public:
  UnitChooser(const LocalTrainer::Setup& setup, torch::Device device) : setup_(setup), device_(device) {}

  /// Whether the client chooses anew before its local round `index`.
  bool due(const ClientTask& task, int index) const;
  /// Chooses. Reading counts in the report's transfer_s, a mask phase in its compute_s.
  void choose(ModelReader& server, const ClientTask& task, int index, RoundReport& report);

  const UnitChoice& of(int client) const { return units_.at(client); }
  const std::map<int, UnitChoice>& all() const { return units_; }
  void set(int client, UnitChoice choice) { units_[client] = std::move(choice); }

 private:
  const LocalTrainer::Setup& setup_;
  torch::Device device_;
  std::map<int, UnitChoice> units_;
};

}  // namespace cos2p
