#include "option_table.hpp"

#include <algorithm>
#include <cctype>

#include "cos2p/method/method.hpp"
#include "cos2p/support/bytes.hpp"
#include "cos2p/support/error.hpp"
#include "enumerations.hpp"
#include "fleet_file.hpp"
#include "option_builder.hpp"
#include "toml.hpp"

namespace cos2p::config {
namespace {

void add_data(Table& t) {
  const auto synthetic = [](const RunOptions& o) { return o.dataset.kind == DatasetKind::synthetic; };
  t.group("Data", kTrain | kEvaluate);
  t.choice<DatasetKind>("dataset", AT(dataset.kind),
                        "the images; evaluate: unless given, those of the checkpoint");
  only(
      t.text("data-dir", AT(dataset.data_dir), "DIR",
             "where the data set's official files lie (see datasets/README.md)"),
      "dataset", [=](const RunOptions& o) { return !synthetic(o); },
      "the synthetic images are made, not read");
  only(
      t.flag("coarse-labels", AT(dataset.coarse_labels),
             "the 20 coarse labels of cifar-100 instead of the 100 fine ones"),
      "dataset", [](const RunOptions& o) { return o.dataset.kind == DatasetKind::cifar_100; },
      "only cifar-100 has coarse labels");
  only(t.whole("synthetic-test", AT(dataset.synthetic_test), 1, kMany, "test images of the synthetic set"),
       "dataset", synthetic, "only the synthetic set has a size to choose");
  only(t.seed("synthetic-seed", AT(dataset.seed), "which synthetic set is made; independent of --seed"),
       "dataset", synthetic, "only the synthetic set is made from a seed");
  t.whole("limit-test", AT(dataset.limit_test), 0, kMany, "keep only the first N test images; 0 = all");
  t.group("Data", kTrain);
  only(t.whole("synthetic-train", AT(dataset.synthetic_train), 1, kMany,
               "training images of the synthetic set"),
       "dataset", synthetic, "only the synthetic set has a size to choose");
  t.whole("limit-train", AT(dataset.limit_train), 0, kMany, "keep only the first N training images; 0 = all");
  t.whole("crop-padding", AT(augment.crop_padding), 0, 256,
          "random crop after zero padding by N pixels; 0 = none");
  t.flag("flip", AT(augment.flip), "flip training images left to right at random");
}

void add_partition(Table& t) {
  t.group("Partition of the data among the clients", kTrain);
  t.choice<PartitionKind>("partition", AT(partition.kind),
                          "iid: alike; dirichlet: unequal classes and sizes; shards: few classes each");
  only(
      t.real("dirichlet-alpha", AT(partition.dirichlet_alpha), 0, false, kAny,
             "concentration; the smaller, the less alike"),
      "partition", [](const RunOptions& o) { return o.partition.kind == PartitionKind::dirichlet; },
      "only the partition 'dirichlet' has a concentration");
  only(
      t.whole("classes-per-client", AT(partition.classes_per_client), 1, kMany,
              "classes that a client holds"),
      "partition", [](const RunOptions& o) { return o.partition.kind == PartitionKind::shards; },
      "only the partition 'shards' deals out classes");
  t.whole("minimum-size", AT(partition.minimum_size), 0, kMany, "samples that every client gets at least");
  t.seed("partition-seed", AT(partition.seed), "seed of the partition").default_text = "that of --seed";
}

void from_model(OptionSpec& spec) {
  spec.yields_to = "model";
  spec.default_text = "that of --model";
}

void set_exits(RunOptions& o, const Values& values) {
  const Values texts = split_list(values);
  o.model.exits.clear();
  if (texts == Values{"all"}) return;
  if (texts == Values{"last"}) {
    o.model.exits.push_back(o.model.blocks - 1);
    return;
  }
  try {
    for (const std::string& text : texts)
      o.model.exits.push_back(static_cast<int>(parse_whole(text, 0, o.model.blocks - 1)));
  } catch (const BadValue&) {
    o.model.exits.clear();
  }
  if (o.model.exits.empty()) {
    throw BadValue{fmt::format("'all', 'last' or block numbers from 0 to {}", o.model.blocks - 1)};
  }
  std::sort(o.model.exits.begin(), o.model.exits.end());
  o.model.exits.erase(std::unique(o.model.exits.begin(), o.model.exits.end()), o.model.exits.end());
}

std::string get_exits(const RunOptions& o) {
  if (o.model.exits.empty()) return toml_string("all");
  Values blocks;
  for (const int block : o.model.exits) blocks.push_back(std::to_string(block));
  return toml_array(blocks);
}

void set_image(RunOptions& o, const Values& values) {
  const std::string& text = values.back();
  const std::size_t first = text.find('x'),
                    second = first == std::string::npos ? first : text.find('x', first + 1);
  try {
    if (second == std::string::npos) throw BadValue{};
    o.model.image_height = static_cast<int>(parse_whole(text.substr(0, first), 1, 65536));
    o.model.image_width = static_cast<int>(parse_whole(text.substr(first + 1, second - first - 1), 1, 65536));
    o.model.channels = static_cast<int>(parse_whole(text.substr(second + 1), 1, 65536));
  } catch (const BadValue&) {
    throw BadValue{"height, width and channels, for example 32x32x3"};
  }
}

void add_model(Table& t) {
  t.group("Model", kTrain | kPlan);
  OptionSpec& model = t.text("model", AT(model_name), "micro|tiny|small|base",
                             "a ViT of dim 64, 192, 384 or 768 with 6, 6, 12 or 12 blocks");
  model.set = [](RunOptions& o, const Values& v) {
    static const Values kNames{"micro", "tiny", "small", "base"};
    if (std::find(kNames.begin(), kNames.end(), v.back()) == kNames.end()) {
      throw BadValue{list_choices(kNames) + did_you_mean(v.back(), kNames)};
    }
    const ModelOptions preset = model_preset(v.back());
    o.model_name = v.back();
    o.model.dim = preset.dim;
    o.model.blocks = preset.blocks;
    o.model.heads = preset.heads;
    o.model.feed_forward = preset.feed_forward;
  };
  from_model(t.whole("dim", AT(model.dim), 1, 65536, "width of the residual stream"));
  from_model(t.whole("blocks", AT(model.blocks), 1, 1024, "depth"));
  from_model(t.whole("heads", AT(model.heads), 1, 65536, "attention heads of a block; must divide dim"));
  from_model(
      t.whole("feed-forward", AT(model.feed_forward), 1, 1 << 20, "neurons of a block's feed-forward part"));
  OptionSpec& patch =
      t.add("patch", "N|auto", "side of a square patch in pixels; auto: from the image's size");
  patch.set = [](RunOptions& o, const Values& v) {
    o.patch_given = v.back() != "auto";
    if (o.patch_given) o.model.patch = static_cast<int>(parse_whole(v.back(), 1, 65536));
  };
  patch.get = [](const RunOptions& o) {
    return o.patch_given ? std::to_string(o.model.patch) : toml_string("auto");
  };
  OptionSpec& exits = t.add("exits", "all|last|N,...",
                            "blocks (from 0) after which an exit head stands; the last is always one");
  exits.list = true;
  exits.set = set_exits;
  exits.get = get_exits;
  t.group("Model", kPlan);
  OptionSpec& image = t.add("image", "HxWxC", "image height, width and channels");
  image.set = set_image;
  image.get = [](const RunOptions& o) {
    return toml_string(fmt::format("{}x{}x{}", o.model.image_height, o.model.image_width, o.model.channels));
  };
  t.whole("classes", AT(model.classes), 2, 1 << 20, "classes to tell apart");
}

void add_method(Table& t) {
  t.group("Method", kTrain | kPlan);
  std::string names, lines;
  for (const Method& method : methods()) {
    names += (names.empty() ? "" : "|") + method.name;
    lines += fmt::format("{}{}: {}", lines.empty() ? "" : "; ", method.name, method.summary);
  }
  OptionSpec& method = t.text("method", AT(method), names, "what is trained together, and how: " + lines);
  method.set = [](RunOptions& o, const Values& v) { o.method = find_method(v.back()).name; };
}

void add_fleet(Table& t) {
  t.group("Fleet", kTrain | kPlan);
  OptionSpec& budgets = t.add("budgets", "B,...",
                              "what each client may use, in turn: a share of the full model's training "
                              "memory (0.5), a size (2GiB) or "
                              "a device (orin-nano); may be repeated");
  budgets.alias = "memory-budget";
  budgets.list = true;
  budgets.default_text = "1";
  budgets.exclusive_with = "fleet";
  budgets.set = [](RunOptions& o, const Values& v) {
    o.budgets = split_list(v);
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
  t.whole("clients", AT(clients), 0, kMany,
          "clients; 0 = one per worker rank, in-process and plan: one per budget");
  t.choice<BalanceKind>("balance", AT(balance),
                        "what a small budget costs: width first and depth last (deep), both alike "
                        "(balanced), depth alone (wide)");
  t.whole("frozen-blocks", AT(frozen_blocks), 0, 1024,
          "shallow blocks, and the embedding, that are not trained");
}

void add_policy(Table& t) {
  const auto discounted = [](const RunOptions& o) { return o.policy.discount != DiscountKind::constant; };
  t.group("Server", kTrain);
  t.whole("rounds", AT(rounds), 1, kMany,
          "server rounds of the whole run; a resumed run goes on to this number");
  t.choice<PolicyKind>("policy", AT(policy.kind),
                       "when updates are merged: with all of a round, with some, or each at once");
  OptionSpec& updates = t.whole("min-updates", AT(policy.min_updates), 1, kMany,
                                "updates that a segment waits for before it is merged");
  updates.cause = "policy";
  updates.why_not = [](const RunOptions& o) -> std::string {
    if (o.policy.kind == PolicyKind::sync) return "a synchronous round waits for all trainers of a segment";
    return o.policy.kind == PolicyKind::async && o.policy.min_updates != 1
               ? "async merges every update at once"
               : "";
  };
  OptionSpec& deadline = t.real("deadline", AT(policy.deadline_s), 0, true, kAny,
                                "seconds after which a segment is merged with what came; 0 = none");
  deadline.metavar = "SECONDS";
  deadline.cause = "policy";
  deadline.why_not = [](const RunOptions& o) -> std::string {
    if (o.policy.kind == PolicyKind::sync) return "a synchronous round waits for all trainers of a segment";
    return o.policy.kind == PolicyKind::async && o.policy.deadline_s != 0
               ? "async merges every update at once"
               : "";
  };
  t.whole("staleness-bound", AT(policy.staleness_bound), 0, kMany,
          "versions; an update older than this is dropped");
  t.choice<DiscountKind>("discount", AT(policy.discount),
                         "how an update d versions old counts: 1; (1+d)^-a; or 1 up to b, then 1/(a(d-b)+1)");
  only(t.real("discount-a", AT(policy.discount_a), 0, true, kAny, "a of the discount"), "discount",
       discounted, "a constant discount has no parameters");
  only(
      t.real("discount-b", AT(policy.discount_b), 0, true, kAny, "b of the discount 'hinge', versions"),
      "discount", [](const RunOptions& o) { return o.policy.discount == DiscountKind::hinge; },
      "only the discount 'hinge' has b");
  t.choice<WeightingKind>("weighting", AT(policy.weighting),
                          "what a client's update weighs: its samples, or the same for all");
  t.choice<NormalizeKind>(
      "normalize", AT(policy.normalize),
      "average over the updates that came, or over all trainers (absent ones hold the value)");
  t.flag("pace-correction", AT(policy.pace_correction),
         "a client that delivers k times as often as the slowest trainer of a segment counts 1/k each time");
}

void add_local_training(Table& t) {
  t.group("Local training", kTrain);
  t.whole("local-steps", AT(local.local_steps), 0, kMany,
          "optimizer steps of a local round; 0 = by --local-epochs");
  only(
      t.real("local-epochs", AT(local.local_epochs), 0, false, kAny,
             "passes over the client's data in a local round"),
      "local-steps", [](const RunOptions& o) { return o.local.local_steps == 0; },
      "the length of a local round is already given in steps");
  t.group("Local training", kTrain | kPlan);
  t.whole("batch-size", AT(local.batch_size), 1, 1 << 20, "images in an optimizer step");
  t.choice<OptimizerKind>("optimizer", AT(local.optimizer), "of the clients");
  only(
      t.real("momentum", AT(local.momentum), 0, true, 0.9999, "of sgd; 0 = none"), "optimizer",
      [](const RunOptions& o) { return o.local.optimizer == OptimizerKind::sgd; },
      "adamw has moments of its own");
  t.group("Local training", kTrain);
  t.real("learning-rate", AT(local.learning_rate), 0, false, kAny, "of the optimizer, at its highest");
  t.real("weight-decay", AT(local.weight_decay), 0, true, kAny,
         "share of the weights that decays, per unit of learning rate");
  t.choice<ScheduleKind>("schedule", AT(local.schedule), "of the learning rate");
  t.whole("warmup-rounds", AT(local.warmup_rounds), 0, kMany,
          "server rounds in which the learning rate rises from 0");
  only(
      t.whole("schedule-rounds", AT(local.schedule_rounds), 0, kMany,
              "length of the cosine in server rounds; 0 = all rounds"),
      "schedule", [](const RunOptions& o) { return o.local.schedule == ScheduleKind::cosine; },
      "only the schedule 'cosine' has a length");
  t.real("clip-norm", AT(local.clip_norm), 0, true, kAny,
         "largest norm of all gradients together; 0 = no limit");
  t.real("logit-adjustment", AT(local.logit_adjustment), 0, true, 10,
         "strength of the correction of a client's loss for its own class frequencies; 0 = none");
  t.flag("scale-kept-units", AT(local.scale_kept_units),
         "scale a part's output by all/kept units while training");
  t.whole("reselect-every", AT(local.reselect_every), 0, kMany,
          "local rounds after which a client chooses its units anew; 0 = never");
}

void set_device(RunOptions& o, const Values& v) {
  const std::string& text = v.back();
  bool known = text == "auto" || text == "cpu" || text == "cuda";
  if (text.rfind("cuda:", 0) == 0) {
    const std::string number = text.substr(5);
    known = !number.empty() && number.size() < 4 &&
            std::all_of(number.begin(), number.end(), [](unsigned char c) { return std::isdigit(c) != 0; });
  }
  if (!known) throw BadValue{"auto, cpu, cuda or cuda:N"};
  o.device = text;
}

void add_run(Table& t) {
  t.group("Run", kTrain);
  t.seed("seed", AT(seed), "of all that is random");
  t.text("output", AT(output), "DIR", "directory for checkpoints, metrics.csv, options.toml and run.log");
  t.text("resume", AT(resume), "DIR|FILE", "go on from this checkpoint, or from the newest in this directory")
      .default_text = "none";
  t.whole("evaluate-every", AT(evaluate_every), 0, kMany,
          "server rounds between evaluations; 0 = only at the end");
  t.whole("checkpoint-every", AT(checkpoint_every), 0, kMany,
          "server rounds between checkpoints; 0 = only at the end");
  t.choice<TransportKind>(
      "transport", AT(transport),
      "rma: one-sided MPI between processes; in-process: all in one, reproducible to the bit");
  t.whole("ring-slots", AT(ring.slots), 2, 65536, "slots of a worker's channel");
  OptionSpec& slot = t.add("ring-slot-bytes", "SIZE", "bytes of a slot, for example 512KiB");
  slot.set = [](RunOptions& o, const Values& v) {
    std::uint64_t bytes = 0;
    try {
      bytes = parse_bytes(v.back(), "--ring-slot-bytes");
    } catch (const Error&) {
      bytes = 0;
    }
    if (bytes < 4096 || bytes > (std::uint64_t{1} << 30)) throw BadValue{"a size from 4KiB to 1GiB"};
    o.ring.slot_bytes = static_cast<std::int64_t>(bytes);
  };
  slot.get = [](const RunOptions& o) { return std::to_string(o.ring.slot_bytes); };
  slot.default_text = "256KiB";
  t.flag("quiet", AT(quiet), "no round lines and no progress bar on the terminal");

  t.group("Run", kTrain | kEvaluate);
  t.text("device", AT(device), "auto|cpu|cuda[:N]", "what computes").set = set_device;
  t.whole("threads", AT(threads), 0, 1024,
          "CPU threads per rank; 0 = the host's cores shared among its ranks");
  t.whole("evaluation-batch", AT(evaluation_batch), 1, 1 << 20, "images evaluated at once");
  t.group("Output", kPlan | kInspect | kEvaluate);
  t.flag("json", AT(json), "print JSON for programs instead of a table");
  t.group("Input", kInspect | kEvaluate);
  t.text("file", AT(file), "FILE", "the checkpoint").positional = true;
}

std::vector<OptionSpec> make_table() {
  Table table;
  add_data(table);
  add_partition(table);
  add_model(table);
  add_method(table);
  add_fleet(table);
  add_policy(table);
  add_local_training(table);
  add_run(table);
  const RunOptions defaults;
  for (OptionSpec& spec : table.specs) {
    if (!spec.default_text.empty() || spec.positional) continue;
    const std::string value = spec.get(defaults);
    const bool quoted = value.size() >= 2 && value.front() == '"';
    spec.default_text = quoted ? value.substr(1, value.size() - 2) : value;
    if (spec.default_text.empty()) spec.default_text = "none";
  }
  return table.specs;
}

}  // namespace

std::string OptionSpec::environment_name() const {
  std::string text = "COS2P_" + name;
  for (char& c : text) c = c == '-' ? '_' : static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return text;
}

const std::vector<OptionSpec>& option_table() {
  static const std::vector<OptionSpec> table = make_table();
  return table;
}

const OptionSpec* find_option(const std::string& name) {
  for (const OptionSpec& spec : option_table()) {
    if (spec.name == name || (!spec.alias.empty() && spec.alias == name)) return &spec;
  }
  return nullptr;
}

Values option_names(Subcommand subcommand) {
  Values names;
  for (const OptionSpec& spec : option_table()) {
    if ((spec.subcommands & bit(subcommand)) == 0) continue;
    names.push_back(spec.name);
    if (!spec.alias.empty()) names.push_back(spec.alias);
  }
  return names;
}

}  // namespace cos2p::config
