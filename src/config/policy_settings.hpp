#pragma once

#include <string>
#include <vector>

#include "cos2p/method/method.hpp"

namespace cos2p::config {

/// What a published policy says of options beside --policy; empty for the others.
struct PolicySettings {
  std::vector<Method::Setting> fixed;     ///< what makes it this policy, unless the method says otherwise
  std::vector<Method::Setting> defaults;  ///< its usual values of options that may be changed
};
PolicySettings policy_settings(const std::string& policy);

}  // namespace cos2p::config
