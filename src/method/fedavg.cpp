#include "methods.hpp"

namespace cos2p::method {
namespace {

/// One model for all who take part, trained at its last exit and averaged by samples; who takes part, and
/// with which model, is what the three differ in.
Method fedavg_of(const std::string& name, const std::string& submodel, const std::string& summary) {
  return {name,
          summary,
          "McMahan et al., AISTATS 2017",
          {{"submodel", submodel}, {"exit-loss", "deepest"}, {"distillation", "none"}},
          {{"weighting", "samples"}, {"logit-adjustment", "0"}}};
}

}  // namespace

Method fedavg() {
  return fedavg_of("fedavg", "full", "everybody trains the full model, beyond budgets too: the ceiling");
}

Method fedavg_smallest() {
  return fedavg_of("fedavg-smallest", "smallest", "everybody trains the model of the smallest budget");
}

Method fedavg_drop() {
  return fedavg_of("fedavg-drop", "drop", "clients whose budget does not hold the full model are left out");
}

}  // namespace cos2p::method
