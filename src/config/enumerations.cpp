#include "enumerations.hpp"

#include <utility>

#include "cos2p/support/error.hpp"

namespace cos2p {
namespace {

template <typename Enum, std::size_t N>
std::string name_of(Enum value, const std::pair<Enum, const char*> (&names)[N]) {
  for (const auto& [known, name] : names) {
    if (known == value) return name;
  }
  COS2P_ASSERT(!"a value outside of its enumeration");
  return "";
}

}  // namespace

std::string to_string(PolicyKind kind) {
  return name_of<PolicyKind>(kind, {{PolicyKind::sync, "sync"},
                                    {PolicyKind::semi_async, "semi-async"},
                                    {PolicyKind::async, "async"},
                                    {PolicyKind::fedasync, "fedasync"},
                                    {PolicyKind::fedbuff, "fedbuff"}});
}

std::string to_string(DiscountKind kind) {
  return name_of<DiscountKind>(kind, {{DiscountKind::constant, "constant"},
                                      {DiscountKind::polynomial, "polynomial"},
                                      {DiscountKind::hinge, "hinge"}});
}

std::string to_string(WeightingKind kind) {
  return name_of<WeightingKind>(kind,
                                {{WeightingKind::samples, "samples"}, {WeightingKind::uniform, "uniform"}});
}

std::string to_string(NormalizeKind kind) {
  return name_of<NormalizeKind>(kind, {{NormalizeKind::updates, "updates"},
                                       {NormalizeKind::trainers, "trainers"},
                                       {NormalizeKind::changed, "changed"}});
}

std::string to_string(MergeKind kind) {
  return name_of<MergeKind>(kind, {{MergeKind::values, "values"}, {MergeKind::deltas, "deltas"}});
}

std::string to_string(WeightMaskKind kind) {
  return name_of<WeightMaskKind>(kind,
                                 {{WeightMaskKind::none, "none"}, {WeightMaskKind::magnitude, "magnitude"}});
}

std::string to_string(TransportKind kind) {
  return name_of<TransportKind>(kind,
                                {{TransportKind::rma, "rma"}, {TransportKind::in_process, "in-process"}});
}

std::string to_string(OptimizerKind kind) {
  return name_of<OptimizerKind>(kind, {{OptimizerKind::sgd, "sgd"}, {OptimizerKind::adamw, "adamw"}});
}

std::string to_string(ScheduleKind kind) {
  return name_of<ScheduleKind>(kind,
                               {{ScheduleKind::constant, "constant"}, {ScheduleKind::cosine, "cosine"}});
}

std::string to_string(Subcommand subcommand) {
  return name_of<Subcommand>(subcommand, {{Subcommand::train, "train"},
                                          {Subcommand::plan, "plan"},
                                          {Subcommand::inspect, "inspect"},
                                          {Subcommand::evaluate, "evaluate"},
                                          {Subcommand::simulate, "simulate"},
                                          {Subcommand::compare, "compare"},
                                          {Subcommand::doctor, "doctor"},
                                          {Subcommand::join, "join"},
                                          {Subcommand::replay, "replay"}});
}

namespace config {

template <>
const std::vector<Subcommand>& all_values<Subcommand>() {
  static const std::vector<Subcommand> values{Subcommand::train,  Subcommand::simulate, Subcommand::compare,
                                              Subcommand::plan,   Subcommand::inspect,  Subcommand::evaluate,
                                              Subcommand::doctor, Subcommand::join,     Subcommand::replay};
  return values;
}

template <>
const std::vector<DatasetKind>& all_values<DatasetKind>() {
  static const std::vector<DatasetKind> values{
      DatasetKind::synthetic, DatasetKind::fashion_mnist, DatasetKind::mnist,   DatasetKind::cifar_10,
      DatasetKind::cifar_100, DatasetKind::hdf5,          DatasetKind::ag_news, DatasetKind::newsgroups_20,
      DatasetKind::glue,      DatasetKind::sst_2};
  return values;
}

template <>
const std::vector<PartitionKind>& all_values<PartitionKind>() {
  static const std::vector<PartitionKind> values{PartitionKind::iid, PartitionKind::dirichlet,
                                                 PartitionKind::shards};
  return values;
}

template <>
const std::vector<WidthBalance>& all_values<WidthBalance>() {
  static const std::vector<WidthBalance> values{WidthBalance::even, WidthBalance::falling,
                                                WidthBalance::rising};
  return values;
}

template <>
const std::vector<BalanceKind>& all_values<BalanceKind>() {
  static const std::vector<BalanceKind> values{BalanceKind::balanced, BalanceKind::deep, BalanceKind::wide,
                                               BalanceKind::shallow};
  return values;
}

template <>
const std::vector<PolicyKind>& all_values<PolicyKind>() {
  static const std::vector<PolicyKind> values{PolicyKind::sync, PolicyKind::semi_async, PolicyKind::async,
                                              PolicyKind::fedasync, PolicyKind::fedbuff};
  return values;
}

template <>
const std::vector<DiscountKind>& all_values<DiscountKind>() {
  static const std::vector<DiscountKind> values{DiscountKind::constant, DiscountKind::polynomial,
                                                DiscountKind::hinge};
  return values;
}

template <>
const std::vector<WeightingKind>& all_values<WeightingKind>() {
  static const std::vector<WeightingKind> values{WeightingKind::samples, WeightingKind::uniform};
  return values;
}

template <>
const std::vector<NormalizeKind>& all_values<NormalizeKind>() {
  static const std::vector<NormalizeKind> values{NormalizeKind::updates, NormalizeKind::trainers,
                                                 NormalizeKind::changed};
  return values;
}

template <>
const std::vector<MergeKind>& all_values<MergeKind>() {
  static const std::vector<MergeKind> values{MergeKind::values, MergeKind::deltas};
  return values;
}

template <>
const std::vector<WeightMaskKind>& all_values<WeightMaskKind>() {
  static const std::vector<WeightMaskKind> values{WeightMaskKind::none, WeightMaskKind::magnitude};
  return values;
}

template <>
const std::vector<ValueType>& all_values<ValueType>() {
  static const std::vector<ValueType> values{ValueType::float32, ValueType::bf16, ValueType::int8};
  return values;
}

template <>
const std::vector<OptimizerKind>& all_values<OptimizerKind>() {
  static const std::vector<OptimizerKind> values{OptimizerKind::sgd, OptimizerKind::adamw};
  return values;
}

template <>
const std::vector<ScheduleKind>& all_values<ScheduleKind>() {
  static const std::vector<ScheduleKind> values{ScheduleKind::constant, ScheduleKind::cosine};
  return values;
}

template <>
const std::vector<SubmodelKind>& all_values<SubmodelKind>() {
  static const std::vector<SubmodelKind> values{SubmodelKind::fit, SubmodelKind::full, SubmodelKind::smallest,
                                                SubmodelKind::drop};
  return values;
}

template <>
const std::vector<WidthRule>& all_values<WidthRule>() {
  static const std::vector<WidthRule> values{
      WidthRule::magnitude, WidthRule::prefix, WidthRule::rolling,          WidthRule::random,
      WidthRule::covering,  WidthRule::taylor, WidthRule::straight_through, WidthRule::hard_concrete};
  return values;
}

template <>
const std::vector<ExitLossKind>& all_values<ExitLossKind>() {
  static const std::vector<ExitLossKind> values{ExitLossKind::all, ExitLossKind::sum, ExitLossKind::deepest,
                                                ExitLossKind::rising};
  return values;
}

template <>
const std::vector<DistillationKind>& all_values<DistillationKind>() {
  static const std::vector<DistillationKind> values{DistillationKind::none, DistillationKind::deepest,
                                                    DistillationKind::mutual};
  return values;
}

template <>
const std::vector<TransportKind>& all_values<TransportKind>() {
  static const std::vector<TransportKind> values{TransportKind::rma, TransportKind::in_process};
  return values;
}

std::string list_choices(const Values& names) {
  std::string text;
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (i > 0) text += i + 1 == names.size() ? " or " : ", ";
    text += names[i];
  }
  return text;
}

}  // namespace config
}  // namespace cos2p
