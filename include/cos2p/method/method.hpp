#pragma once

#include <string>
#include <vector>

namespace cos2p {

/// A method of training unequal clients together: a submodel rule, a local objective and an aggregation rule,
/// written as values of the options that choose each of them. When updates are merged (--policy) is no part
/// of it: any method runs with any policy.
struct Method {
  /// A value in the spelling of the command line: {"width-rule", "prefix"} for --width-rule prefix.
  struct Setting {
    std::string option, value;
  };
  std::string name;               ///< "heterofl"
  std::string summary;            ///< one line for help
  std::string source;             ///< where the rule is published
  std::vector<Setting> fixed;     ///< what makes it this method: another value beside it is refused
  std::vector<Setting> defaults;  ///< its usual values of options that may be changed
  /// Of these, others where some updates are merged without waiting for all (--policy semi-async, fedbuff).
  std::vector<Setting> buffered_defaults = {};
};

/// All methods, the default one (co-s2p) first. One file each in src/method.
const std::vector<Method>& methods();
/// Throws Error(usage) listing the known names.
const Method& find_method(const std::string& name);

}  // namespace cos2p
