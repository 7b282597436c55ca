// What cos2p doctor says.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "doctor.hpp"
#include "version.hpp"

namespace cos2p::doctor {
namespace {

constexpr double kClockLimit_s = 5;

std::string word(Verdict verdict) {
  return verdict == Verdict::ok ? "OK" : verdict == Verdict::warning ? "warning" : "FAILS";
}

Verdict worst(const std::vector<Finding>& findings) {
  Verdict verdict = Verdict::ok;
  for (const Finding& f : findings) verdict = std::max(verdict, f.verdict);
  return verdict;
}

const Link* link_of(const Links& links, int rank) {
  for (const Link& link : links.links) {
    if (link.rank == rank) return &link;
  }
  return nullptr;
}

std::string entry(const std::string& name, const Finding& f) {
  std::string text = fmt::format("  {:<10} {:<8} {}\n", name, word(f.verdict), f.value);
  if (!f.cure.empty()) text += fmt::format("  {:<10} {:<8} {}\n", "", "", "-> " + f.cure);
  return text;
}

std::string link_text(const Link& link) {
  return fmt::format("push {:.0f} MB/s, pull {:.0f} MB/s, {:.0f} us a read", link.push / 1e6, link.pull / 1e6,
                     link.latency_s * 1e6);
}

/// One machine, one line a check.
std::string one_rank(const RankReport& report, const Links& links) {
  std::string text = fmt::format("cos2p {} on {}\n", report.version, report.host);
  for (const Finding& f : report.findings) text += entry(f.check, f);
  for (const Link& link : links.links)
    text +=
        entry("link", {"link", fmt::format("two ranks here through {}: {}", links.component, link_text(link)),
                       "", Verdict::ok, ""});
  return text;
}

using Row = std::vector<std::string>;

/// One row a rank, then what is wrong.
std::string many_ranks(const std::vector<RankReport>& reports, const Links& links) {
  std::vector<Row> rows{{"rank", "host"}};
  std::vector<std::string> checks;  // those with a column
  for (const Finding& f : reports.front().findings) {
    if (!f.brief.empty()) checks.push_back(f.check);
  }
  rows.front().insert(rows.front().end(), checks.begin(), checks.end());
  for (const char* title : {"push MB/s", "pull MB/s", "read us", ""}) rows.front().emplace_back(title);
  std::string cures;
  for (const RankReport& report : reports) {
    Row row{std::to_string(report.rank), report.host};
    for (const std::string& check : checks) {
      const auto found = std::find_if(report.findings.begin(), report.findings.end(),
                                      [&](const Finding& f) { return f.check == check; });
      row.push_back(found != report.findings.end() ? found->brief : "?");
    }
    for (const Finding& f : report.findings) {
      if (f.verdict != Verdict::ok)
        cures += fmt::format("rank {} on {}: ", report.rank, report.host) + entry(f.check, f).substr(2);
    }
    const Link* link = link_of(links, report.rank);
    for (const double value :
         {link ? link->push / 1e6 : 0, link ? link->pull / 1e6 : 0, link ? link->latency_s * 1e6 : 0})
      row.push_back(link != nullptr ? fmt::format("{:.0f}", value) : "-");
    row.push_back(word(worst(report.findings)));
    rows.push_back(std::move(row));
  }
  std::vector<std::size_t> widths(rows.front().size(), 0);
  for (const Row& row : rows) {
    for (std::size_t c = 0; c < row.size(); ++c) widths[c] = std::max(widths[c], row[c].size());
  }
  std::string text = fmt::format("cos2p {}, {} ranks{}\n", kVersion, reports.size(),
                                 links.component.empty() ? "" : ", one-sided through " + links.component);
  for (const Row& row : rows) {
    std::string line = " ";
    for (std::size_t c = 0; c < row.size(); ++c) line += fmt::format(" {:<{}} ", row[c], widths[c]);
    text += line.substr(0, line.find_last_not_of(' ') + 1) + "\n";
  }
  return text + cures;
}

nlohmann::ordered_json json_of(const Finding& f) {
  return {{"check", f.check},
          {"verdict", f.verdict == Verdict::bad  ? "bad"
                      : f.verdict == Verdict::ok ? "ok"
                                                 : "warning"},
          {"value", f.value},
          {"brief", f.brief},
          {"cure", f.cure}};
}

}  // namespace

std::vector<Finding> compare_ranks(const std::vector<RankReport>& reports) {
  std::vector<Finding> findings;
  const RankReport& server = reports.front();
  for (const RankReport& report : reports) {
    if (report.version.empty() || server.version.empty()) continue;  // it could not be looked at
    const auto differs = [&](const char* what, const std::string& theirs, const std::string& ours,
                             Verdict verdict, const std::string& cure) {
      if (theirs == ours) return;
      findings.push_back({what,
                          fmt::format("rank {} on {} has {}, the server on {} has {}", report.rank,
                                      report.host, theirs, server.host, ours),
                          "", verdict, cure});
    };
    differs("version", report.version, server.version, Verdict::bad,
            "install the same version of cos2p on all hosts");
    const auto order = [](const std::string& architecture) {
      return architecture.substr(architecture.find(", ") + 2);
    };
    differs("byte order", order(report.architecture), order(server.architecture), Verdict::bad,
            "messages and models are exchanged as they lie in memory: use hosts of one byte order");
    differs("libraries", report.libraries, server.libraries, Verdict::warning,
            "results may differ in the last bits; install the same packages where that matters");
    if (std::abs(report.clock_s - server.clock_s) > kClockLimit_s) {
      findings.push_back({"clock",
                          fmt::format("rank {} on {} is {:.0f} s {} the server", report.rank, report.host,
                                      std::abs(report.clock_s - server.clock_s),
                                      report.clock_s > server.clock_s ? "ahead of" : "behind"),
                          "", Verdict::warning,
                          "set the clocks (timedatectl set-ntp true): logs of the hosts cannot be compared"});
    }
  }
  return findings;
}

std::string report_text(const std::vector<RankReport>& reports, const std::vector<Finding>& common,
                        const Links& links) {
  std::string text = reports.size() == 1 ? one_rank(reports.front(), links) : many_ranks(reports, links);
  for (const Finding& f : common) text += entry(f.check, f);
  return text;
}

nlohmann::ordered_json report_json(const std::vector<RankReport>& reports, const std::vector<Finding>& common,
                                   const Links& links) {
  nlohmann::ordered_json json;
  Verdict verdict = worst(common);
  json["version"] = kVersion;
  json["ranks"] = nlohmann::ordered_json::array();
  for (const RankReport& report : reports) {
    nlohmann::ordered_json one{
        {"rank", report.rank},           {"host", report.host},
        {"version", report.version},     {"architecture", report.architecture},
        {"libraries", report.libraries}, {"findings", nlohmann::ordered_json::array()}};
    for (const Finding& f : report.findings) one["findings"].push_back(json_of(f));
    verdict = std::max(verdict, worst(report.findings));
    json["ranks"].push_back(std::move(one));
  }
  json["common"] = nlohmann::ordered_json::array();
  for (const Finding& f : common) json["common"].push_back(json_of(f));
  json["one_sided"] = links.component;
  json["links"] = nlohmann::ordered_json::array();
  for (const Link& link : links.links) {
    json["links"].push_back({{"rank", link.rank},
                             {"push_bytes_per_s", link.push},
                             {"pull_bytes_per_s", link.pull},
                             {"read_s", link.latency_s}});
  }
  json["ready"] = verdict != Verdict::bad;
  return json;
}

std::string to_text(const RankReport& report) {
  nlohmann::json json{{"rank", report.rank},           {"host", report.host},
                      {"version", report.version},     {"architecture", report.architecture},
                      {"libraries", report.libraries}, {"clock_s", report.clock_s},
                      {"profile", report.profile},     {"findings", nlohmann::json::array()}};
  for (const Finding& f : report.findings)
    json["findings"].push_back({f.check, f.value, f.brief, static_cast<int>(f.verdict), f.cure});
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

RankReport from_text(const std::string& text) {
  const nlohmann::json json = nlohmann::json::parse(text);
  RankReport report{json.at("rank"),      json.at("host"),    json.at("version"), json.at("architecture"),
                    json.at("libraries"), json.at("clock_s"), json.at("profile"), {}};
  for (const auto& f : json.at("findings"))
    report.findings.push_back({f.at(0), f.at(1), f.at(2), static_cast<Verdict>(f.at(3).get<int>()), f.at(4)});
  return report;
}

}  // namespace cos2p::doctor
