#include "experiment.hpp"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <chrono>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <random>

#include "cos2p/kernels/merge.hpp"
#include "cos2p/model/initial_values.hpp"
#include "cos2p/server/server_core.hpp"
#include "cos2p/support/blas.hpp"
#include "cos2p/support/error.hpp"
#include "cos2p/support/logging.hpp"
#include "cos2p/support/narrow.hpp"
#include "cos2p/transport/model_store.hpp"
#include "version.hpp"

namespace cos2p {

ModelOptions complete_model(const RunOptions& options, int height, int width, int channels, int classes) {
  ModelOptions model = options.model;
  model.image_height = height;
  model.image_width = width;
  model.channels = channels;
  model.classes = classes;
  if (!options.patch_given && !model.linear()) {
    // The finest patches that keep attention cheap: at most 64 of them, or 16x16 where pictures are large.
    constexpr int kMostPatches = 64, kUsual = 16;
    model.patch = 0;
    for (int side = std::min(height, width); side >= 2; --side) {
      if (height % side == 0 && width % side == 0 && (height / side) * (width / side) <= kMostPatches)
        model.patch = side;
    }
    if (model.patch == 0 && height % kUsual == 0 && width % kUsual == 0) model.patch = kUsual;
    if (model.patch == 0) {
      fail(ExitCode::usage,
           "images of {}x{} pixels cannot be cut into patches by --patch auto (no square of 2 pixels or more "
           "divides both sides into at most {} patches), give --patch, a common divisor of both sides, or "
           "crop or pad the images",
           height, width, kMostPatches);
    }
  }
  model.validate();
  return model;
}

ModelOptions complete_text_model(const RunOptions& options, int vocabulary, int classes) {
  ModelOptions model = options.model;
  model.vocabulary = vocabulary;
  model.classes = classes;
  model.validate();
  return model;
}

std::string describe_input(const ModelOptions& model) {
  if (model.reads_texts()) {
    return fmt::format("texts of up to {} word pieces out of {}", model.max_length, model.vocabulary);
  }
  if (model.linear())
    return fmt::format("images of {}x{}x{}", model.image_height, model.image_width, model.channels);
  return fmt::format("images of {}x{}x{} in patches of {} ({} tokens)", model.image_height, model.image_width,
                     model.channels, model.patch, model.tokens());
}

namespace {

Vocabulary make_vocabulary(const RunOptions& options, const std::vector<std::string>& texts) {
  const TextOptions& text = options.text;
  return text.vocabulary.empty() ? Vocabulary::build(texts, text.vocabulary_size, !text.cased)
                                 : Vocabulary::read(text.vocabulary, !text.cased);
}

void load_images(Experiment& e) {
  Dataset dataset = load_dataset(e.options.dataset);
  const ImageSet& train = dataset.train;
  e.model = complete_model(e.options, train.height, train.width, train.channels, train.classes);
  e.input.normalization = measure_normalization(train);
  e.train =
      std::make_unique<ImageSamples>(std::move(dataset.train), e.input.normalization, e.options.augment);
  e.test = std::make_unique<ImageSamples>(std::move(dataset.test), e.input.normalization, AugmentOptions{});
}

void load_texts(Experiment& e, const std::optional<Vocabulary>& given) {
  TextDataset dataset = load_text_dataset(e.options.dataset);
  e.input.vocabulary = given ? *given : make_vocabulary(e.options, dataset.train.texts);
  const Vocabulary& vocabulary = *e.input.vocabulary;
  e.model = complete_text_model(e.options, vocabulary.size(), dataset.train.classes);
  auto train = std::make_unique<TextSamples>(dataset.train, vocabulary, e.model.max_length);
  spdlog::info("data: {} word pieces; {:.1f} % of the training texts are longer than --max-length {} and cut",
               vocabulary.size(), 100 * train->share_cut(), e.model.max_length);
  e.train = std::move(train);
  e.test = std::make_unique<TextSamples>(dataset.test, vocabulary, e.model.max_length);
}

}  // namespace

namespace {

/// Where nobody trains the deepest blocks, the model ends before them.
void cut_blocks(Experiment& e) {
  const int blocks = e.fleet.deepest();
  if (blocks == e.model.blocks) return;
  e.model.blocks = blocks;
  const auto beyond = [&](int exit) { return exit >= blocks; };
  e.model.exits.erase(std::remove_if(e.model.exits.begin(), e.model.exits.end(), beyond),
                      e.model.exits.end());
  e.table = std::make_unique<SegmentTable>(e.model);
  // Segments stand in the order of blocks.
  e.fleet.trainers.resize(static_cast<std::size_t>(e.table->size()));
}

}  // namespace

Experiment make_experiment(const RunOptions& options, int workers,
                           const std::optional<Vocabulary>& vocabulary) {
  Experiment e;
  e.options = options;
  if (holds_texts(options.dataset.kind)) {
    load_texts(e, vocabulary);
  } else {
    load_images(e);
  }
  const LabelledSet& train = e.train->set();
  e.table = std::make_unique<SegmentTable>(e.model);
  e.training = training_shape(options.local, pushed_kind(options.policy, options.local.push_dtype));
  e.clients =
      options.clients > 0
          ? options.clients
          : (workers > 0 ? workers
                         : narrow<int>(std::max(options.budgets.size(), options.compute_budgets.size())));
  const int per_round = options.simulation.clients_per_round;
  const int at_once = per_round > 0 ? std::min(per_round, e.clients) : e.clients;
  if (options.policy.merge != pushed_kind(options.policy, options.local.push_dtype) &&
      at_once >= kMaxUpdatesPerMerge) {
    // A merge in the middle of a round would take away what the rest of it was trained from.
    fail(ExitCode::usage,
         "--clients {} are too many for --policy sync --merge deltas (a merge takes at most {} updates), let "
         "fewer take part in a round or use --merge values",
         at_once, kMaxUpdatesPerMerge - 1);
  }
  if (workers > e.clients) {
    fail(ExitCode::usage,
         "--clients {}: fewer clients than the {} workers (a worker would have nothing to do), start {} "
         "ranks or give more clients",
         e.clients, workers, e.clients + 1);
  }
  e.partition = make_partition(train.labels, train.classes, e.clients, options.partition);
  std::vector<ClientBudget> budgets;
  for (const std::string& text : options.budgets)
    budgets.push_back(parse_budget(text, *e.table, e.training, "--budgets"));
  limit_compute(budgets, options.compute_budgets, *e.table, e.training);
  e.fleet = plan_fleet(*e.table, e.training, budgets, e.clients, options.fleet);
  if (options.fleet.submodel == SubmodelKind::smallest) cut_blocks(e);
  for (const ClientBudget& budget : e.fleet.budgets)
    e.shares.push_back(budget_share(budget, *e.table, e.training));
  return e;
}

std::unique_ptr<Samples> load_test_samples(const DatasetOptions& options, const InputEncoding& input,
                                           const ModelOptions& model, const std::string& checkpoint) {
  const auto check = [&](bool fits, const std::string& found) {
    if (fits) return;
    fail(ExitCode::checkpoint,
         "{} does not fit --dataset {} (its model takes {} and knows {} classes; the data has {}), give the "
         "data set it was trained on",
         checkpoint, to_string(options.kind), describe_input(model), model.classes, found);
  };
  const bool texts = holds_texts(options.kind);
  check(texts == model.reads_texts(), texts ? "texts" : "images");
  if (texts) {
    TextSet test = load_text_dataset(options).test;
    check(test.classes == model.classes, fmt::format("{} classes", test.classes));
    return std::make_unique<TextSamples>(test, *input.vocabulary, model.max_length);
  }
  ImageSet test = load_dataset(options).test;
  check(test.height == model.image_height && test.width == model.image_width &&
            test.channels == model.channels && test.classes == model.classes,
        fmt::format("{}x{}x{} and {} classes", test.height, test.width, test.channels, test.classes));
  return std::make_unique<ImageSamples>(std::move(test), input.normalization, AugmentOptions{});
}

std::function<int(ClientId, const Assignment&)> micro_batches_of(const Experiment& e) {
  return [&e](ClientId client, const Assignment& assignment) {
    const auto c = static_cast<std::size_t>(client.value());
    return assignment == e.fleet.assignments[c]
               ? e.fleet.micro_batches[c]
               : choose_micro_batch(*e.table, e.training, assignment, e.fleet.budgets[c]);
  };
}

std::vector<ClientRecord> client_records(const Experiment& e) {
  std::vector<ClientRecord> records(static_cast<std::size_t>(e.clients));
  for (std::size_t c = 0; c < records.size(); ++c) {
    ClientRecord& record = records[c];
    record.budget = e.fleet.budgets[c].text;
    record.assignment = e.fleet.assignments[c];
    record.memory_budget = e.fleet.budgets[c].memory;
    record.predicted_memory = e.fleet.costs[c].memory.total();
    record.samples = narrow<std::int64_t>(e.partition[c].size());
    record.class_counts.assign(static_cast<std::size_t>(e.model.classes), 0);
    for (std::int64_t sample : e.partition[c])
      ++record
            .class_counts[static_cast<std::size_t>(e.train->set().labels[static_cast<std::size_t>(sample)])];
  }
  return records;
}

RunIdentity make_identity(const Experiment& e, const std::map<std::string, std::string>& in_effect,
                          const Checkpoint* resumed) {
  RunIdentity identity;
  if (resumed != nullptr) {
    identity.run_id = resumed->identity.run_id;
  } else {
    std::random_device device;
    identity.run_id = fmt::format("{:08x}{:08x}", device(), device());
  }
  identity.program_version = kVersion;
  const std::time_t now = std::time(nullptr);
  std::tm utc{};
  gmtime_r(&now, &utc);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &utc);
  identity.created = text;
  identity.dataset = e.train->set().name;
  identity.options = in_effect;
  return identity;
}

void check_resumable(const Checkpoint& checkpoint, const Experiment& e, const std::string& path) {
  const auto refuse = [&](const std::string& what, const std::string& there, const std::string& here) {
    fail(ExitCode::checkpoint,
         "{} cannot be resumed: its {} is {}, this run's is {}; give the options of the run that wrote it",
         path, what, there, here);
  };
  const auto shape = [](const ModelOptions& m) {
    return fmt::format("{}, {}, {} classes, {} exits", describe_input(m), describe_shape(m), m.classes,
                       m.exits.size());
  };
  if (!(checkpoint.model == e.model)) refuse("model", shape(checkpoint.model), shape(e.model));
  if (checkpoint.identity.dataset != e.train->set().name)
    refuse("data set", checkpoint.identity.dataset, e.train->set().name);
  if (checkpoint.state.seed != e.options.seed)
    refuse("--seed", std::to_string(checkpoint.state.seed), std::to_string(e.options.seed));
  // Updates in the checkpoint are of its kind.
  const auto merge = checkpoint.identity.options.find("merge");
  const std::string of_run = toml_text(to_string(e.options.policy.merge));
  const std::string written =
      merge == checkpoint.identity.options.end() ? toml_text(to_string(MergeKind::values)) : merge->second;
  if (written != of_run) refuse("--merge", written, of_run);
  if (checkpoint.clients.size() != static_cast<std::size_t>(e.clients)) {
    refuse("number of clients", std::to_string(checkpoint.clients.size()), std::to_string(e.clients));
  }
  const std::vector<ClientRecord> records = client_records(e);
  for (std::size_t c = 0; c < records.size(); ++c) {
    if (!(records[c].assignment == checkpoint.clients[c].assignment)) {
      const auto shown = [](const ClientRecord& record) {
        const Assignment& a = record.assignment;
        return fmt::format("of {} blocks, {} heads and {} neurons (budget {})", a.kept_blocks, a.heads,
                           a.neurons, record.budget);
      };
      refuse(fmt::format("submodel of client {}", c), shown(checkpoint.clients[c]), shown(records[c]));
    }
    if (records[c].class_counts != checkpoint.clients[c].class_counts) {
      refuse(fmt::format("data of client {}", c),
             fmt::format("{} samples divided otherwise, by other options or of files that were changed since",
                         checkpoint.clients[c].samples),
             fmt::format("{} samples", records[c].samples));
    }
  }
  if (checkpoint.state.round >= e.options.rounds) {
    fail(ExitCode::usage,
         "{} already has {} rounds and --rounds is {} (nothing is left to do), give a larger --rounds", path,
         checkpoint.state.round, e.options.rounds);
  }
}

void initialize(ModelStore& store, const Experiment& e) {
  for (const Segment& segment : *e.table) {
    std::vector<float> values = initial_values(segment, e.options.seed);
    if (e.options.fleet.submodel == SubmodelKind::smallest) {
      // Of the clients that take part all have the same one; some may be left out.
      const auto own = std::find_if(e.fleet.assignments.begin(), e.fleet.assignments.end(),
                                    [](const Assignment& assignment) { return assignment.takes_part(); });
      COS2P_ASSERT(own != e.fleet.assignments.end());
      const BlockWidth width = width_in(e.model, *own, std::max(0, segment.block));
      const int kept = segment.kind == SegmentKind::attention ? width.heads : width.neurons;
      for (const TensorSpec& tensor : segment.tensors) {
        if (!tensor.per_unit) continue;
        const auto begin = values.begin() + tensor.offset;
        std::fill(begin + kept * tensor.row(), begin + tensor.numel(), 0.0F);
      }
    }
    store.restore(segment.id, values, 0);
  }
}

void prepare_output(const std::string& directory, const std::map<std::string, std::string>& in_effect,
                    bool resuming) {
  std::error_code error;
  std::filesystem::create_directories(directory, error);
  if (error) {
    fail(ExitCode::environment, "--output {} cannot be made ({}), choose a directory that can be written",
         directory, error.message());
  }
  if (!resuming && std::filesystem::exists(std::filesystem::symlink_status(directory + "/latest"))) {
    fail(ExitCode::usage,
         "--output {} holds the checkpoints of an earlier run (a new run would mix with it), go on with "
         "--resume {} or choose another directory",
         directory, directory);
  }
  // Without where this run writes and what it goes on from: with --config the file is for a run of its own.
  std::map<std::string, std::string> repeatable = in_effect;
  for (const char* own : {"output", "resume"}) repeatable.erase(own);
  std::ofstream options(directory + "/options.toml");
  options << to_toml(repeatable);
  if (!options.flush()) {
    fail(ExitCode::environment, "--output {} cannot be written ({}), choose another directory or make room",
         directory, std::generic_category().message(errno));
  }
}

std::unique_ptr<EventLog> begin_event_log(const RunOptions& options, ServerCore& core, double now_s,
                                          bool resuming) {
  if (!options.event_log) return nullptr;
  const auto limit = static_cast<std::uint64_t>(options.event_log_limit);
  if (resuming && limit > 0 && event_log_bytes(options.output) >= limit) {
    spdlog::warn("the event log of {} is full (--event-log-limit {}), and this start adds nothing to it",
                 options.output, options.event_log_limit);
    return nullptr;
  }
  auto events = std::make_unique<EventLog>(options.output, core.snapshot(now_s), resuming, limit);
  core.set_events(events.get());
  return events;
}

std::string describe_computing(const std::string& device, const std::string& threads) {
  const BlasInfo blas = blas_info();
  std::string text =
      fmt::format("  device     {}; {}\n  BLAS       {}{}{}; CPU {}\n", device, threads, blas.library,
                  blas.kernels.empty() ? "" : ", kernels ", blas.kernels, blas.cpu);
  if (!blas.advice.empty()) text += fmt::format("             {}\n", blas.advice);
  return text;
}

namespace {

/// A line about clients that cannot tell classes apart; empty where there are none.
std::string single_class_note(const Experiment& e) {
  constexpr std::size_t kNamed = 8;
  std::vector<int> clients;
  for (int c = 0; c < e.clients; ++c) {
    const std::vector<std::int64_t>& samples = e.partition[static_cast<std::size_t>(c)];
    const auto& labels = e.train->set().labels;
    const auto label = [&](std::int64_t sample) { return labels[static_cast<std::size_t>(sample)]; };
    if (!samples.empty() && std::all_of(samples.begin(), samples.end(), [&](std::int64_t sample) {
          return label(sample) == label(samples.front());
        }))
      clients.push_back(c);
  }
  if (clients.empty()) return "";
  const std::size_t more = clients.size() - std::min(clients.size(), kNamed);
  clients.resize(clients.size() - more);
  return fmt::format(
      "warning: client{} {}{} hold{} samples of a single class (--partition {}): what such a client learns "
      "is to answer with it; "
      "give larger shares of more classes, or --logit-adjustment\n",
      clients.size() + more > 1 ? "s" : "", fmt::join(clients, ", "),
      more > 0 ? fmt::format(" and {} more", more) : "", clients.size() + more > 1 ? "" : "s",
      to_string(e.options.partition.kind));
}

}  // namespace

std::string describe_experiment(const Experiment& e) {
  const LabelledSet& train = e.train->set();
  std::string text =
      fmt::format("  data       {}: {} training and {} test samples, {} classes{}{}\n", train.name,
                  train.size(), e.test->size(), train.classes, train.files.empty() ? "" : ", from ",
                  train.files.empty() ? "" : train.files.front());
  text += fmt::format("  model      {} parameters: {}; {}\n", e.table->parameters(), describe_shape(e.model),
                      describe_input(e.model));
  text += fmt::format("  policy     {}, {} rounds, seed {}; output {}\n\n", to_string(e.options.policy.kind),
                      e.options.rounds, e.options.seed, e.options.output);
  return text + partition_table(e.partition, train.labels, train.classes) + single_class_note(e) + "\n" +
         fleet_table(*e.table, e.fleet);
}

void print_exits(const std::vector<EvaluationRow>& evaluation) {
  std::string text = "\n exit after block   accuracy      loss\n";
  for (const EvaluationRow& row : evaluation)
    text += fmt::format(" {:>16}   {:>6.2f} %   {:>7.4f}\n", row.block, 100 * row.accuracy, row.loss);
  if (!evaluation.empty())
    text += fmt::format("test accuracy of the full model: {:.2f} %", 100 * evaluation.back().accuracy);
  say(text);
}

ExitCode print_result(const std::vector<EvaluationRow>& evaluation, const std::string& checkpoint) {
  print_exits(evaluation);
  if (!checkpoint.empty()) {
    say("checkpoint: " + checkpoint);
    return ExitCode::ok;
  }
  spdlog::error(
      "the last checkpoint could not be written (see above), what was learnt since the one before is lost; "
      "make room and go on from that with --resume");
  return ExitCode::environment;
}

}  // namespace cos2p
