#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "cos2p/support/error.hpp"
#include "enumerations.hpp"
#include "option_table.hpp"
#include "toml.hpp"

namespace cos2p::config {

constexpr std::int64_t kMany = std::numeric_limits<int>::max();
constexpr double kAny = std::numeric_limits<double>::infinity();

/// Collects specs; every function returns the new one, for what is special about it.
class Table {
 public:
  std::vector<OptionSpec> specs;

  void group(const std::string& name, unsigned subcommands) {
    group_ = name;
    subcommands_ = subcommands;
  }

  OptionSpec& add(const std::string& name, const std::string& metavar, const std::string& help) {
    OptionSpec spec;
    spec.name = name;
    spec.group = group_;
    spec.metavar = metavar;
    spec.help = help;
    spec.subcommands = subcommands_;
    specs.push_back(std::move(spec));
    return specs.back();
  }

  /// `at` gives the member: [](auto& o) -> auto& { return o.rounds; }
  template <typename Access>
  OptionSpec& whole(const std::string& name, Access at, std::int64_t low, std::int64_t high,
                    const std::string& help) {
    OptionSpec& spec = add(name, "N", help);
    spec.set = [at, low, high](RunOptions& o, const Values& v) {
      using Number = std::decay_t<decltype(at(o))>;
      at(o) = static_cast<Number>(parse_whole(v.back(), low, high));
    };
    spec.get = [at](const RunOptions& o) { return fmt::format("{}", at(o)); };
    return spec;
  }

  template <typename Access>
  OptionSpec& seed(const std::string& name, Access at, const std::string& help) {
    OptionSpec& spec = add(name, "N", help);
    spec.set = [at](RunOptions& o, const Values& v) { at(o) = parse_seed(v.back()); };
    spec.get = [at](const RunOptions& o) { return fmt::format("{}", at(o)); };
    return spec;
  }

  /// low_allowed = false: the value must be greater than `low`.
  template <typename Access>
  OptionSpec& real(const std::string& name, Access at, double low, bool low_allowed, double high,
                   const std::string& help) {
    OptionSpec& spec = add(name, "X", help);
    spec.set = [at, low, low_allowed, high](RunOptions& o, const Values& v) {
      at(o) = parse_real(v.back(), low, high, low_allowed);
    };
    spec.get = [at](const RunOptions& o) { return format_real(at(o)); };
    return spec;
  }

  /// A list of numbers above 0, in turn; `expected` completes "expected ...". With `none` allowed, that word
  /// stands for the empty list.
  template <typename Access>
  OptionSpec& reals(const std::string& name, Access at, double high, bool none, const std::string& expected,
                    const std::string& help) {
    OptionSpec& spec = add(name, "X,...", help);
    spec.list = true;
    spec.set = [at, high, none, expected](RunOptions& o, const Values& v) {
      std::vector<double> numbers;
      if (!none || v != Values{"none"}) {
        for (const std::string& text : split_list(v)) numbers.push_back(parse_real(text, 0, high, false));
        if (numbers.empty()) throw BadValue{expected};
      }
      at(o) = numbers;
    };
    spec.get = [at](const RunOptions& o) {
      Values texts;
      for (const double number : at(o)) texts.push_back(format_real(number));
      return texts.empty() ? toml_string("none") : toml_array(texts);
    };
    return spec;
  }

  template <typename Enum, typename Access>
  OptionSpec& choice(const std::string& name, Access at, const std::string& help) {
    OptionSpec& spec = add(name, "", help);
    for (const std::string& text : choices<Enum>()) spec.metavar += (spec.metavar.empty() ? "" : "|") + text;
    spec.set = [at](RunOptions& o, const Values& v) { at(o) = parse_choice<Enum>(v.back()); };
    spec.get = [at](const RunOptions& o) { return toml_string(to_string(at(o))); };
    return spec;
  }

  template <typename Access>
  OptionSpec& text(const std::string& name, Access at, const std::string& metavar, const std::string& help) {
    OptionSpec& spec = add(name, metavar, help);
    spec.set = [at](RunOptions& o, const Values& v) { at(o) = v.back(); };
    spec.get = [at](const RunOptions& o) { return toml_string(at(o)); };
    return spec;
  }

  template <typename Access>
  OptionSpec& flag(const std::string& name, Access at, const std::string& help) {
    OptionSpec& spec = add(name, "", help);
    spec.flag = true;
    spec.set = [at](RunOptions& o, const Values& v) { at(o) = parse_flag(v.back()); };
    spec.get = [at](const RunOptions& o) { return std::string(at(o) ? "true" : "false"); };
    return spec;
  }

 private:
  std::string group_;
  unsigned subcommands_ = 0;
};

/// The reason where `has_meaning` does not hold.
template <typename Condition>
void only(OptionSpec& spec, const std::string& cause, Condition has_meaning, const std::string& reason) {
  spec.objections.push_back({cause, [has_meaning, reason](const RunOptions& o) {
                               return has_meaning(o) ? std::string() : reason;
                             }});
}

// A member's name cannot stand in parentheses.
// NOLINTBEGIN(bugprone-macro-parentheses)
#define AT(member)       \
  [](auto& o) -> auto& { \
    return o.member;     \
  }
// NOLINTEND(bugprone-macro-parentheses)

}  // namespace cos2p::config
