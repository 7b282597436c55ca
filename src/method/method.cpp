#include "cos2p/method/method.hpp"

#include <algorithm>

#include "cos2p/support/error.hpp"
#include "methods.hpp"

namespace cos2p {

const std::vector<Method>& methods() {
  static const std::vector<Method> all{
      method::co_s2p(),      method::depthfl(),  method::fedavg(),   method::fedavg_smallest(),
      method::fedavg_drop(), method::heterofl(), method::fedrolex(), method::federated_dropout(),
      method::fjord(),       method::scalefl(),  method::ra_fed(),   method::fiarse(),
      method::inclusivefl()};
  return all;
}

const Method& find_method(const std::string& name) {
  const auto found =
      std::find_if(methods().begin(), methods().end(), [&](const Method& m) { return m.name == name; });
  if (found != methods().end()) return *found;
  std::string known;
  for (const Method& method : methods()) known += (known.empty() ? "" : ", ") + method.name;
  fail(ExitCode::usage, "the method '{}' is unknown (known: {}), choose one of them", name, known);
}

}  // namespace cos2p
