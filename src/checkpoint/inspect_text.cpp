#include <algorithm>
#include <array>
#include <iterator>
#include <map>
#include <set>

#include "cos2p/support/bytes.hpp"
#include "tables.hpp"

namespace cos2p {
namespace {

constexpr std::size_t kLastRounds = 10;       // rows of history shown; --json has all
constexpr std::size_t kPicturedClients = 16;  // clients whose masks are drawn
constexpr std::int64_t kBarColumns = 64;

/// Columns of equal width: the first left-aligned, the others right-aligned.
class TextTable {
 public:
  explicit TextTable(std::vector<std::string> head) { rows_.push_back(std::move(head)); }
  void add(std::vector<std::string> row) { rows_.push_back(std::move(row)); }
  std::string str() const {
    std::vector<std::size_t> width(rows_[0].size(), 0);
    for (const auto& row : rows_) {
      for (std::size_t i = 0; i < row.size(); ++i) width[i] = std::max(width[i], row[i].size());
    }
    std::string text;
    for (const auto& row : rows_) {
      text += "  ";
      for (std::size_t i = 0; i < row.size(); ++i) {
        text += i == 0 ? fmt::format("{:<{}}", row[i], width[i]) : fmt::format("  {:>{}}", row[i], width[i]);
      }
      text += "\n";
    }
    return text;
  }

 private:
  std::vector<std::vector<std::string>> rows_;
};

std::string joined(const std::vector<int>& values) {
  return fmt::format("{}", fmt::join(values, " "));
}
std::string memory(std::int64_t bytes) {
  return bytes > 0 ? format_bytes(static_cast<double>(bytes)) : "-";
}

/// What the model reads.
std::string data_text(const Checkpoint& checkpoint) {
  const ModelOptions& model = checkpoint.model;
  if (const auto& vocabulary = checkpoint.input.vocabulary) {
    return fmt::format("texts of up to {} word pieces out of {} ({})", model.max_length, vocabulary->size(),
                       vocabulary->lower_case() ? "uncased" : "cased");
  }
  const std::string pixels =
      fmt::format("{} x {} pixels, {} channel(s)", model.image_height, model.image_width, model.channels);
  return model.linear() ? pixels : fmt::format("{}, in patches of {} x {}", pixels, model.patch, model.patch);
}

std::string model_text(const ModelOptions& model) {
  if (model.linear()) return describe_shape(model);
  return fmt::format("dim {}, {} blocks of {} heads and {} neurons, exits after blocks {}", model.dim,
                     model.blocks, model.heads, model.feed_forward, joined(model.exits));
}

std::string head_text(const Checkpoint& checkpoint, const SegmentTable& table, const std::string& path) {
  const RunIdentity& identity = checkpoint.identity;
  const ModelOptions& model = checkpoint.model;
  const RunState& state = checkpoint.state;
  const auto parameters = table.parameters();
  return fmt::format(
      "checkpoint {} (schema {})\n"
      "  run      {}, begun {} by cos2p {}\n"
      "  state    after round {}, {:.1f} s; seed {}; {} updates not merged yet, {} local rounds under way\n"
      "  data     {}: {}; {} classes\n"
      "  model    {}\n"
      "  weights  {} parameters ({}) in {} segments, checksums right\n",
      path, kSchemaVersion, identity.run_id, identity.created, identity.program_version, state.round,
      state.time_s, state.seed, state.pending.size(), state.in_flight.size(), identity.dataset,
      data_text(checkpoint), model.classes, model_text(model), parameters,
      format_bytes(static_cast<double>(parameters) * sizeof(float)), table.size());
}

std::string options_text(const RunIdentity& identity) {
  std::string text = "\noptions\n";
  for (const auto& [name, value] : identity.options) text += fmt::format("  {} = {}\n", name, value);
  return identity.options.empty() ? "" : text;
}

std::string segments_text(const Checkpoint& checkpoint, const SegmentTable& table) {
  TextTable out(
      {"segment", "units", "parameters", "version", "updates", "trainers", "last |N|", "staleness"});
  std::map<SegmentKind, const Segment*> first_of_kind;
  for (const Segment& segment : table) {
    first_of_kind.emplace(segment.kind, &segment);
    const SegmentRecord& record = checkpoint.segments[static_cast<std::size_t>(segment.id.value())];
    out.add({segment.name, segment.units > 0 ? fmt::format("{}", segment.units) : "-",
             fmt::format("{}", segment.numel), fmt::format("{}", record.version),
             fmt::format("{}", record.updates), fmt::format("{}", record.trainers),
             fmt::format("{}", record.last_updates), fmt::format("{}", record.last_staleness)});
  }
  std::string text = "\nsegments (|N| and staleness: of the last merge)\n" + out.str();
  text += "\ntensors (* = axis 0 is the unit)\n";
  for (const auto& [kind, segment] : first_of_kind) {
    text += fmt::format("  {:<13}", to_string(kind));
    for (const TensorSpec& tensor : segment->tensors) {
      text +=
          fmt::format(" {}{} ({})", tensor.name, tensor.per_unit ? "*" : "", fmt::join(tensor.shape, ", "));
    }
    text += "\n";
  }
  return text;
}

std::string clients_text(const std::vector<ClientRecord>& clients) {
  TextTable out({"client", "budget", "blocks", "frozen", "heads", "neurons", "samples", "rounds",
                 "memory budget", "predicted", "measured"});
  for (std::size_t i = 0; i < clients.size(); ++i) {
    const ClientRecord& client = clients[i];
    const Assignment& a = client.assignment;
    out.add({client_name(i), client.budget, fmt::format("{}", a.kept_blocks),
             fmt::format("{}{}", a.frozen_blocks, a.rolling != 0 ? " in turn" : ""),
             fmt::format("{}", a.heads), fmt::format("{}", a.neurons), fmt::format("{}", client.samples),
             fmt::format("{}", client.rounds), memory(client.memory_budget), memory(client.predicted_memory),
             memory(client.measured_memory)});
  }
  return "\nclients\n" + out.str();
}

/// One character per unit, or per bucket of units where there are more than kBarColumns: the darker, the more
/// of them are kept.
std::string bar(const UnitSet& units) {
  static constexpr std::array<const char*, 5> kShades{"·", "░", "▒", "▓", "█"};
  const std::int64_t columns = std::min(units.total(), kBarColumns);
  std::vector<std::int64_t> kept(static_cast<std::size_t>(columns), 0);
  // Bucket c holds units [c*total/columns, (c+1)*total/columns); this is the inverse of that.
  const auto bucket = [&](std::int64_t unit) { return ((unit + 1) * columns - 1) / units.total(); };
  for (const std::int32_t unit : units.kept()) ++kept[static_cast<std::size_t>(bucket(unit))];
  std::string text;
  for (std::int64_t c = 0; c < columns; ++c) {
    const std::int64_t size = (c + 1) * units.total() / columns - c * units.total() / columns;
    const std::int64_t count = kept[static_cast<std::size_t>(c)];
    const std::int64_t shade = count == 0 ? 0 : count == size ? 4 : 1 + (3 * count - 1) / size;
    text += kShades[static_cast<std::size_t>(shade)];
  }
  return text;
}

std::string masks_text(const std::vector<ClientRecord>& clients, const ModelOptions& model) {
  if (model.linear()) return "";  // it has no units to drop
  std::string text = "\nmasks (█ kept, ▓▒░ partly kept, · dropped; heads | neurons)\n";
  for (std::size_t i = 0; i < std::min(clients.size(), kPicturedClients); ++i) {
    const ClientRecord& client = clients[i];
    text += fmt::format("  client {}{}\n", client_name(i), client.heads.empty() ? ": no update yet" : "");
    for (std::size_t block = 0; block < client.heads.size(); ++block) {
      const UnitSet& heads = client.heads[block];
      const UnitSet& neurons = client.neurons[block];
      text += fmt::format("    {} {} | {} {}/{} heads, {}/{} neurons{}\n", block_name(block), bar(heads),
                          bar(neurons), heads.size(), heads.total(), neurons.size(), neurons.total(),
                          static_cast<int>(block) < client.assignment.frozen_blocks ? ", frozen" : "");
    }
    const auto held = static_cast<int>(client.heads.size());
    if (held > 0 && held < model.blocks) {
      text += fmt::format(
          "    {}{} pruned\n", block_name(client.heads.size()),
          held + 1 < model.blocks ? " to " + block_name(static_cast<std::size_t>(model.blocks) - 1) : "");
    }
  }
  if (clients.size() > kPicturedClients)
    text += fmt::format("  and {} clients more (--json has all)\n", clients.size() - kPicturedClients);
  return text;
}

std::string rounds_text(const std::vector<RoundRow>& rounds) {
  TextTable out({"round", "time s", "reports", "updates", "N*", "merged", "staleness mean", "max", "dropped",
                 "loss", "utilisation", "workers"});
  for (std::size_t i = rounds.size() - std::min(rounds.size(), kLastRounds); i < rounds.size(); ++i) {
    const RoundRow& row = rounds[i];
    out.add({fmt::format("{}", row.round), fmt::format("{:.1f}", row.time_s), fmt::format("{}", row.reports),
             fmt::format("{}", row.updates), fmt::format("{}", row.n_star),
             fmt::format("{}/{}", row.segments_merged, row.segments_total),
             fmt::format("{:.2f}", row.staleness_mean), fmt::format("{}", row.staleness_max),
             fmt::format("{}", row.dropped), fmt::format("{:.4f}", row.loss),
             fmt::format("{:.2f}", row.utilisation), fmt::format("{}", row.workers)});
  }
  return fmt::format("\nrounds ({} in all; the last ones)\n", rounds.size()) + out.str();
}

std::string evaluations_text(const std::vector<EvaluationRow>& rows) {
  std::set<std::int32_t> blocks;
  std::map<std::int32_t, std::map<std::int32_t, const EvaluationRow*>> by_round;
  for (const EvaluationRow& row : rows) {
    blocks.insert(row.block);
    by_round[row.round][row.block] = &row;
  }
  std::vector<std::string> head{"round"};
  for (const std::int32_t block : blocks)
    head.push_back(block_name(static_cast<std::size_t>(std::max(block, 0))));
  TextTable out(head);
  auto it = by_round.begin();
  std::advance(it, by_round.size() - std::min(by_round.size(), kLastRounds));
  for (; it != by_round.end(); ++it) {
    std::vector<std::string> line{fmt::format("{}", it->first)};
    for (const std::int32_t block : blocks) {
      const auto found = it->second.find(block);
      line.push_back(
          found == it->second.end()
              ? "-"
              : fmt::format("{:.2f} % ({:.4f})", 100 * found->second->accuracy, found->second->loss));
    }
    out.add(std::move(line));
  }
  return fmt::format("\nevaluations at each exit: accuracy (loss) ({} in all; the last ones)\n",
                     by_round.size()) +
         out.str();
}

}  // namespace

std::string inspect_text(const Checkpoint& checkpoint, const std::string& path) {
  const SegmentTable table(checkpoint.model);
  return head_text(checkpoint, table, path) + options_text(checkpoint.identity) +
         segments_text(checkpoint, table) + clients_text(checkpoint.clients) +
         masks_text(checkpoint.clients, checkpoint.model) + rounds_text(checkpoint.history.rounds) +
         evaluations_text(checkpoint.history.evaluations);
}

}  // namespace cos2p
