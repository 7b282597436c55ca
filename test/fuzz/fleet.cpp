// Fleet files, and the budgets in them.
// Input: the file.
#include "fleet_file.hpp"

#include "cos2p/plan/planner.hpp"
#include "fuzz/support.hpp"

using namespace cos2p;
using namespace cos2p::fuzz;

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  keep_quiet();
  static const MemoryFile file;
  static const SegmentTable table = [] {
    ModelOptions model = model_preset("micro");
    model.validate();
    return SegmentTable(model);
  }();
  file.write({data, size});
  std::vector<std::string> budgets;
  if (!read_or_refused({ExitCode::usage}, [&] { budgets = config::read_fleet_file(file.path()); })) return 0;
  std::vector<ClientBudget> parsed;
  const bool all = read_or_refused({ExitCode::usage}, [&] {
    for (const std::string& budget : budgets) parsed.push_back(parse_budget(budget, table, {}, "--fleet"));
  });
  for (const ClientBudget& budget : parsed) {
    if (budget.memory < 0 || budget.parameters < 0) found("a budget below 0");
  }
  if (all && parsed.size() <= 16) {
    read_or_refused({ExitCode::usage}, [&] {
      const FleetPlan plan = plan_fleet(table, {}, parsed, static_cast<int>(parsed.size()), {});
      fleet_table(table, plan);
      fleet_json(table, plan);
    });
  }
  return 0;
}
