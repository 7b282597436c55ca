#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "cos2p/plan/planner.hpp"
#include "cos2p/support/bytes.hpp"

namespace cos2p {
namespace {

std::string bytes(std::int64_t count) {
  return format_bytes(static_cast<double>(count));
}

double step_seconds(const FleetPlan& plan, std::size_t client) {
  return plan.costs[client].step_flops / std::max(1.0, plan.budgets[client].device.flops);
}

double transfer_seconds(const FleetPlan& plan, std::size_t client) {
  const PlanCost& cost = plan.costs[client];
  return static_cast<double>(cost.pull_bytes + cost.push_bytes) /
         std::max(1.0, plan.budgets[client].device.link);
}

using Row = std::vector<std::string>;

// Columns as wide as their widest cell, numbers to the right; the first column is text.
std::string align(const std::vector<Row>& rows) {
  std::vector<std::size_t> widths(rows.front().size(), 0);
  for (const Row& row : rows) {
    for (std::size_t c = 0; c < row.size(); ++c) widths[c] = std::max(widths[c], row[c].size());
  }
  std::string text;
  for (const Row& row : rows) {
    for (std::size_t c = 0; c < row.size(); ++c) {
      text += c == 0 ? fmt::format("{:<{}}", row[c], widths[c]) : fmt::format("  {:>{}}", row[c], widths[c]);
    }
    text += '\n';
  }
  return text;
}

nlohmann::json memory_json(const MemoryEstimate& m) {
  return {{"total", m.total()},       {"weights", m.weights},         {"gradients", m.gradients},
          {"optimizer", m.optimizer}, {"activations", m.activations}, {"workspace", m.workspace}};
}

nlohmann::json client_json(const FleetPlan& plan, std::size_t client) {
  const Assignment& a = plan.assignments[client];
  const PlanCost& cost = plan.costs[client];
  return {{"client", client},
          {"budget", plan.budgets[client].text},
          {"budget_bytes", plan.budgets[client].memory},
          {"budget_step_flops", std::isfinite(plan.budgets[client].step_flops)
                                    ? nlohmann::json(plan.budgets[client].step_flops)
                                    : nlohmann::json()},
          {"device", plan.budgets[client].device.name},
          {"kept_blocks", a.kept_blocks},
          {"frozen_blocks", a.frozen_blocks},
          {"rolling", a.rolling != 0},
          {"width_balance", to_string(a.width_balance)},
          {"heads", a.heads},
          {"neurons", a.neurons},
          {"micro_batch", plan.micro_batches[client]},
          {"parameters", cost.parameters},
          {"trained_parameters", cost.trained_parameters},
          {"forward_flops", cost.forward_flops},
          {"step_flops", cost.step_flops},
          {"step_seconds", step_seconds(plan, client)},
          {"transfer_seconds", transfer_seconds(plan, client)},
          {"pull_bytes", cost.pull_bytes},
          {"push_bytes", cost.push_bytes},
          {"memory_bytes", memory_json(cost.memory)}};
}

/// How many clients train each segment: runs of segments with the same number, in table order.
std::string coverage_line(const SegmentTable& table, const FleetPlan& plan) {
  std::string text = "trainers:";
  for (auto first = table.begin(); first != table.end();) {
    const auto trainers = [&](const Segment& segment) {
      return plan.trainers[static_cast<std::size_t>(segment.id.value())];
    };
    auto last = first;
    while (last + 1 != table.end() && trainers(*(last + 1)) == trainers(*first)) ++last;
    text += fmt::format("{} {}{}: {}", first == table.begin() ? "" : ";", first->name,
                        last == first ? "" : " .. " + last->name, trainers(*first));
    first = last + 1;
  }
  return text + "\n";
}

std::string of_all(int kept, int total) {
  return total == 0 ? "-" : fmt::format("{}/{}", kept, total);
}

}  // namespace

std::string fleet_table(const SegmentTable& table, const FleetPlan& plan) {
  const ModelOptions& m = table.options();
  std::vector<Row> rows = {{"client", "budget", "memory", "blocks", "frozen", "heads", "neurons",
                            "parameters", "trained", "needs", "GFLOP/step", "s/step", "pull", "push"}};
  const bool in_parts = std::any_of(plan.micro_batches.begin(), plan.micro_batches.end(),
                                    [](int micro_batch) { return micro_batch > 0; });
  if (in_parts) rows.front().emplace_back("micro-batch");
  for (std::size_t c = 0; c < plan.assignments.size(); ++c) {
    const Assignment& a = plan.assignments[c];
    const PlanCost& cost = plan.costs[c];
    rows.push_back({fmt::format("{}", c), plan.budgets[c].text, bytes(plan.budgets[c].memory),
                    fmt::format("{}/{}", a.kept_blocks, m.blocks),
                    fmt::format("{}{}", a.frozen_blocks, a.rolling != 0 ? " in turn" : ""),
                    of_all(a.heads, m.heads), of_all(a.neurons, m.feed_forward),
                    fmt::format("{}", cost.parameters), fmt::format("{}", cost.trained_parameters),
                    bytes(cost.memory.total()), fmt::format("{:.2f}", cost.step_flops * 1e-9),
                    fmt::format("{:.3f}", step_seconds(plan, c)), bytes(cost.pull_bytes),
                    bytes(cost.push_bytes)});
    if (in_parts)
      rows.back().push_back(plan.micro_batches[c] > 0 ? fmt::format("{}", plan.micro_batches[c]) : "-");
  }
  std::string text = align(rows) + coverage_line(table, plan);
  const auto least = std::min_element(plan.trainers.begin(), plan.trainers.end()) - plan.trainers.begin();
  text += fmt::format(
      "{} segments, {} parameters in the full model; every segment has at least {} of {} clients as trainers "
      "(fewest: {})\n",
      table.size(), table.parameters(), plan.least_trainers(), plan.assignments.size(),
      table[SegmentId(static_cast<int>(least))].name);
  for (const std::string& note : plan.notes) text += "note: " + note + "\n";
  return text;
}

std::string fleet_json(const SegmentTable& table, const FleetPlan& plan) {
  const ModelOptions& m = table.options();
  nlohmann::json document;
  document["model"] = {{"dim", m.dim},         {"blocks", m.blocks},
                       {"heads", m.heads},     {"feed_forward", m.feed_forward},
                       {"classes", m.classes}, {"exits", m.exits},
                       {"tokens", m.tokens()}, {"parameters", table.parameters()}};
  if (m.reads_texts()) {
    document["model"]["vocabulary_size"] = m.vocabulary;
    document["model"]["max_length"] = m.max_length;
  } else {
    document["model"]["image_height"] = m.image_height;
    document["model"]["image_width"] = m.image_width;
    document["model"]["channels"] = m.channels;
    document["model"]["patch"] = m.patch;
  }
  document["clients"] = nlohmann::json::array();
  for (std::size_t c = 0; c < plan.assignments.size(); ++c)
    document["clients"].push_back(client_json(plan, c));
  document["segments"] = nlohmann::json::array();
  for (const Segment& segment : table) {
    document["segments"].push_back(
        {{"name", segment.name},
         {"parameters", segment.numel},
         {"units", segment.units},
         {"trainers", plan.trainers[static_cast<std::size_t>(segment.id.value())]}});
  }
  document["least_trainers"] = plan.least_trainers();
  document["notes"] = plan.notes;
  return document.dump(2);
}

}  // namespace cos2p
