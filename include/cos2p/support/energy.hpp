#pragma once

#include <memory>
#include <string>

namespace cos2p {

/// Energy that this machine takes, where it tells: a Jetson's INA3221 sensors (the whole board where there is
/// a rail for it, else the sum of the rails), RAPL (CPU packages, memory where it is counted apart; since
/// 2020 readable by root alone), NVML (all GPUs; its library is loaded where there is one). What is found is
/// added up. Ranks that share a machine each see all of it.
class EnergyMeter {
 public:
  /// `root` stands in front of /sys; tests have one of their own.
  explicit EnergyMeter(const std::string& root = "");
  ~EnergyMeter();
  EnergyMeter(const EnergyMeter&) = delete;
  EnergyMeter& operator=(const EnergyMeter&) = delete;

  /// Since construction; NaN where nothing tells. A thread of its own reads powers ten times a second and
  /// adds them up over time.
  double joules();
  /// In words: "INA3221 VDD_IN", "RAPL package-0, NVML 1 GPU"; empty where nothing tells.
  const std::string& sources() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace cos2p
