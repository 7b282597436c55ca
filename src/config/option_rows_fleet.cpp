#include "option_rows.hpp"

#include "cos2p/method/method.hpp"
#include "fleet_file.hpp"

namespace cos2p::config {

void add_method(Table& t) {
  t.group("Method", kRanks | kSimulate | kPlan);
  std::string lines;
  for (const Method& method : methods())
    lines += fmt::format("{}{}: {}", lines.empty() ? "" : "; ", method.name, method.summary);
  OptionSpec& method = t.text("method", AT(method), "NAME", "what is trained together, and how: " + lines);
  method.set = [](RunOptions& o, const Values& v) { o.method = find_method(v.back()).name; };
}

void add_fleet(Table& t) {
  t.group("Fleet", kTrain | kPlan);
  OptionSpec& budgets =
      t.add("budgets", "B,...",
            "what each client may use, in turn: a share of the full model's training "
            "memory (0.5) or of its parameters (50%), a size (2GiB), "
            "a device (orin-nano) or a profile that doctor wrote (board.json); may be repeated");
  budgets.alias = "memory-budget";
  budgets.list = true;
  budgets.default_text = "1";
  budgets.exclusive_with = "fleet";
  budgets.set = [](RunOptions& o, const Values& v) {
    o.budgets = split_list(v);
    for (std::string& budget : o.budgets) budget = resolve_profile_file(budget);
    if (o.budgets.empty()) throw BadValue{"at least one budget, for example 1,0.5,2GiB"};
  };
  budgets.get = [](const RunOptions& o) {
    Values quoted;
    for (const std::string& budget : o.budgets) quoted.push_back(toml_string(budget));
    return toml_array(quoted);
  };
  OptionSpec& fleet = t.add(
      "fleet", "FILE", "a line for each client: its budget and, if you like, its name; # begins a comment");
  fleet.default_text = "none";
  fleet.exclusive_with = "budgets";
  fleet.set = [](RunOptions& o, const Values& v) {
    o.budgets = read_fleet_file(v.back());
    o.clients = static_cast<int>(o.budgets.size());
  };
  t.reals(
      "compute-budgets", AT(compute_budgets), 1, true, "shares above 0 and at most 1, for example 1,0.5,0.25",
      "share of the full model's FLOPs that a step of each client may take, in turn: where they are as the "
      "clients' speeds, nobody's round is longer than that of the full model on the fastest; none = no "
      "limit");
  t.whole("clients", AT(clients), 0, kMany,
          "clients; 0 = one per worker rank, in-process and plan: one per budget");
  t.choice<SubmodelKind>("submodel", AT(fleet.submodel),
                         "what a client trains: the largest submodel that its budget holds, the full model "
                         "whatever its budget, the submodel of the smallest budget, or the full model with "
                         "smaller clients left out");
  t.whole("min-trainers", AT(fleet.min_trainers), 0, kMany,
          "clients that train each part of the model at least (N*); shapes are changed for it where budgets "
          "allow; 0 = as many as they allow");
  t.flag("drop-too-small", AT(fleet.drop_too_small),
         "a client whose budget holds no submodel at all takes no part, instead of ending the run");
  const auto shaped = [](const RunOptions& o) {
    return o.fleet.submodel == SubmodelKind::fit || o.fleet.submodel == SubmodelKind::smallest;
  };
  only(t.choice<BalanceKind>("balance", AT(fleet.balance),
                             "what a small budget costs: width first and depth last (deep), both alike "
                             "(balanced), depth alone (wide), depth first and width last (shallow)"),
       "submodel", shaped, "who takes part trains the full model");
  OptionSpec& width = t.choice<WidthBalance>("width-balance", AT(fleet.width_balance),
                                             "kept units of a narrow client's blocks: the same share in "
                                             "each, or more in the shallow ones (falling) or "
                                             "in the deep ones (rising)");
  only(
      width, "balance", [](const RunOptions& o) { return o.fleet.balance != BalanceKind::wide; },
      "blocks keep all their units");
  only(
      width, "rolling-windows",
      [](const RunOptions& o) {
        return !o.fleet.rolling_windows || o.fleet.width_balance == WidthBalance::even;
      },
      "which block is shallow changes with the window");
  only(
      width, "ordered-dropout",
      [](const RunOptions& o) {
        return o.local.ordered_dropout == 0 || o.fleet.width_balance == WidthBalance::even;
      },
      "the widths that are drawn are the same in every block");
  OptionSpec& rolling =
      t.flag("rolling-windows", AT(fleet.rolling_windows),
             "where a budget costs depth: keep all blocks and train a window of them that moves with the "
             "client's rounds");
  only(rolling, "submodel", shaped, "who takes part trains the full model");
  only(
      rolling, "balance", [](const RunOptions& o) { return o.fleet.balance != BalanceKind::deep; },
      "a deep submodel trains all of its blocks");
  OptionSpec& frozen = t.whole("frozen-blocks", AT(fleet.frozen_blocks), 0, 1024,
                               "shallow blocks, and the embedding, that are not trained");
  only(
      frozen, "rolling-windows",
      [](const RunOptions& o) { return !o.fleet.rolling_windows || o.fleet.frozen_blocks == 0; },
      "a rolling window freezes blocks in turn");
}

}  // namespace cos2p::config
