#include "policy_settings.hpp"

namespace cos2p::config {

PolicySettings policy_settings(const std::string& policy) {
  // w <- w + a s(d) (w_n - w) with each update (Xie et al., arXiv 1903.03934).
  if (policy == "fedasync") {
    return {{{"merge", "values"}, {"normalize", "updates"}, {"pace-correction", "false"}},
            {{"discount", "polynomial"},
             {"discount-a", "0.5"},
             {"server-learning-rate", "0.9"},
             {"server-momentum", "0"}}};
  }
  // w <- w + eta_g / K sum s(d) delta_n with each K updates, delta_n from what the client received (Nguyen et
  // al., AISTATS 2022).
  if (policy == "fedbuff") {
    return {{{"merge", "deltas"}, {"normalize", "updates"}, {"pace-correction", "false"}},
            {{"deadline", "0"}, {"discount", "polynomial"}, {"discount-a", "0.5"}, {"weighting", "uniform"}}};
  }
  return {};
}

}  // namespace cos2p::config
