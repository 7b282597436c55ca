#include "unit_choice.hpp"

#include <torch/torch.h>

#include <algorithm>
#include <cmath>

#include "cos2p/kernels/merge.hpp"
#include "cos2p/method/objective.hpp"
#include "cos2p/method/width_rule.hpp"
#include "cos2p/model/batch_tensors.hpp"
#include "cos2p/support/clock.hpp"
#include "cos2p/support/narrow.hpp"
#include "local_steps.hpp"
#include "mask_training.hpp"

namespace cos2p {
namespace {

// Purposes of random streams.
constexpr std::uint64_t kUnitDraw = 2, kMaskData = 3, kMaskNoise = 4, kSharedOrder = 5;

/// One choice of one client.
class Choice {
 public:
  Choice(const LocalTrainer::Setup& setup, torch::Device device, ModelReader& server, const ClientTask& task,
         int number)
      : setup_(setup),
        table_(*setup.table),
        device_(device),
        server_(server),
        task_(task),
        a_(task.assignment),
        number_(number),
        draw_(stream(kUnitDraw)),
        full_(static_cast<std::size_t>(table_.largest_segment())) {}

  UnitChoice by_rule(WidthRule rule) {
    UnitChoice choice;
    for (int block = 0; block < a_.kept_blocks; ++block) {
      const BlockWidth width = width_in(table_.options(), a_, block);
      choice.heads.push_back(choose(rule, table_[table_.attention(block)], width.heads));
      choice.neurons.push_back(choose(rule, table_[table_.feed_forward(block)], width.neurons));
    }
    return choice;
  }

  /// The units kept before (`kept`), and others drawn at random up to the phase's candidates.
  VitShape candidates(const UnitChoice& kept, const MaskPhase& phase) {
    VitShape shape;
    shape.kept_blocks = shape.frozen_blocks = a_.kept_blocks;
    shape.scale_kept_units = setup_.local.scale_kept_units;
    Assignment wide = a_;
    wide.heads = phase.heads;
    wide.neurons = phase.neurons;
    for (int block = 0; block < a_.kept_blocks; ++block) {
      const BlockWidth width = width_in(table_.options(), wide, block);
      shape.heads.push_back(widen(kept.heads[static_cast<std::size_t>(block)], width.heads));
      shape.neurons.push_back(widen(kept.neurons[static_cast<std::size_t>(block)], width.neurons));
    }
    return shape;
  }

  /// Fills the candidates' weights, and scores in [0, 1] by their magnitude.
  UnitScores load(const Vit& vit) {
    UnitScores prior;
    std::vector<float> kept;
    const torch::NoGradGuard no_grad;
    for (const SegmentId id : vit.segments()) {
      const Segment& segment = table_[id];
      server_.read_segment(id, scratch(segment));
      torch::Tensor flat = vit.flat(id);
      kept.resize(static_cast<std::size_t>(flat.numel()));
      gather_segment(segment, vit.units(id), scratch(segment), kept);
      flat.copy_(torch::from_blob(kept.data(), {flat.numel()}));
      if (segment.units == 0) continue;
      const std::vector<double> norms = unit_magnitudes(segment, scratch(segment));
      auto& scores = segment.kind == SegmentKind::attention ? prior.heads : prior.neurons;
      scores.push_back(relative(norms, vit.units(id)));
    }
    return prior;
  }

  UnitChoice by_scores(const Vit& vit, const UnitScores& prior, const MaskPhase& phase) {
    Rng order = stream(kMaskData), noise = stream(kMaskNoise);
    std::vector<std::int64_t> samples = setup_.partition->at(static_cast<std::size_t>(task_.client));
    const ClassView view =
        class_view(setup_.local.objective, class_counts(setup_.samples->set(), samples), device_);
    order.shuffle(samples);
    std::size_t next = 0;
    // What training minimises, without distillation: the exits of a mask in the making teach nothing.
    const auto next_loss = [&](const VitGates& gates) {
      server_.heartbeat();  // a phase may be long; the training that follows obeys a stop
      std::vector<std::int64_t> indices;
      for (int i = 0; i < phase.batch_size; ++i) indices.push_back(samples[next++ % samples.size()]);
      const BatchTensors batch = batch_tensors(*setup_.samples, indices, nullptr, device_);
      const std::vector<torch::Tensor> logits = vit.forward(batch.input, true, &gates);
      return objective(logits, batch.labels, view, setup_.local.objective, 0).loss;
    };
    MaskTraining training{setup_.width.rule, setup_.width.mask_steps, {}};
    for (int block = 0; block < a_.kept_blocks; ++block)
      training.kept.push_back(width_in(table_.options(), a_, block));
    const UnitScores scores = train_scores(vit, training, prior, next_loss, noise);
    UnitChoice choice;
    for (std::size_t block = 0; block < scores.heads.size(); ++block) {
      choice.heads.push_back(best(vit.shape().heads[block], scores.heads[block], training.kept[block].heads));
      choice.neurons.push_back(
          best(vit.shape().neurons[block], scores.neurons[block], training.kept[block].neurons));
    }
    return choice;
  }

 private:
  Rng stream(std::uint64_t purpose) const {
    return Rng(setup_.seed,
               {purpose, static_cast<std::uint64_t>(task_.client), static_cast<std::uint64_t>(number_)});
  }
  Span<float> scratch(const Segment& segment) {
    return {full_.data(), static_cast<std::size_t>(segment.numel)};
  }

  UnitSet choose(WidthRule rule, const Segment& segment, int count) {
    if (count >= segment.units) return UnitSet::all(segment.units);
    switch (rule) {
      case WidthRule::prefix:
        return prefix_units(segment.units, count);
      case WidthRule::rolling:
        return rolling_units(segment.units, count, number_);
      case WidthRule::random:
        return random_units(segment.units, count, draw_);
      case WidthRule::covering:
        return covering(segment, count);
      default:
        server_.read_segment(segment.id, scratch(segment));
        return top_units(unit_magnitudes(segment, scratch(segment)), count);
    }
  }

  // All clients draw the same order, and each begins where those before it end.
  UnitSet covering(const Segment& segment, int count) const {
    std::int64_t before = 0;
    for (int c = 0; c < task_.client; ++c) {
      const Assignment& other = setup_.fleet->at(static_cast<std::size_t>(c));
      if (segment.block >= other.kept_blocks) continue;
      const BlockWidth width = width_in(table_.options(), other, segment.block);
      before += segment.kind == SegmentKind::attention ? width.heads : width.neurons;
    }
    Rng order(setup_.seed, {kSharedOrder, static_cast<std::uint64_t>(segment.id.value()),
                            static_cast<std::uint64_t>(number_)});
    return covering_units(segment.units, count, before, order);
  }

  UnitSet widen(const UnitSet& kept, int count) {
    std::vector<std::int32_t> units = kept.kept(), others;
    for (std::int32_t unit = 0; unit < kept.total(); ++unit) {
      if (!std::binary_search(units.begin(), units.end(), unit)) others.push_back(unit);
    }
    draw_.shuffle(others);
    units.insert(units.end(), others.begin(), others.begin() + (count - narrow<int>(units.size())));
    std::sort(units.begin(), units.end());
    return UnitSet(kept.total(), std::move(units));
  }

  static std::vector<double> relative(const std::vector<double>& norms, const UnitSet& units) {
    std::vector<double> scores;
    for (const std::int32_t unit : units.kept()) scores.push_back(norms[static_cast<std::size_t>(unit)]);
    const double largest = *std::max_element(scores.begin(), scores.end());
    for (double& score : scores) score = largest > 0 ? score / largest : 0;
    return scores;
  }

  static UnitSet best(const UnitSet& candidates, const std::vector<double>& scores, int count) {
    std::vector<std::int32_t> units;
    const UnitSet places = top_units(scores, count);
    for (const std::int32_t place : places.kept())
      units.push_back(candidates.kept()[static_cast<std::size_t>(place)]);
    return UnitSet(candidates.total(), std::move(units));
  }

  const LocalTrainer::Setup& setup_;
  const SegmentTable& table_;
  torch::Device device_;
  ModelReader& server_;
  const ClientTask& task_;
  const Assignment& a_;
  int number_;
  Rng draw_;
  std::vector<float> full_;  // one segment as pulled
};

bool fits(const ModelOptions& model, const UnitChoice& choice, const Assignment& a) {
  const auto kept = static_cast<std::size_t>(a.kept_blocks);
  if (choice.heads.size() != kept || choice.neurons.size() != kept) return false;
  for (std::size_t block = 0; block < kept; ++block) {
    const BlockWidth width = width_in(model, a, static_cast<int>(block));
    if (choice.heads[block].size() != width.heads || choice.neurons[block].size() != width.neurons)
      return false;
  }
  return true;
}

}  // namespace

bool UnitChooser::due(const ClientTask& task, int index) const {
  const auto found = units_.find(task.client);
  if (found == units_.end() || !fits(setup_.table->options(), found->second, task.assignment)) return true;
  return setup_.width.chooses_at(index);
}

void UnitChooser::choose(ModelReader& server, const ClientTask& task, int index, RoundReport& report) {
  const WidthRule rule = setup_.width.rule;
  Choice choice(setup_, device_, server, task, setup_.width.choice_of(index));
  TrainingShape training = training_shape(setup_.local, setup_.pushed);
  training.micro_batch = micro_batch_of(setup_, task);
  MaskPhase phase;
  if (needs_data(rule)) phase = plan_mask_phase(*setup_.table, task.assignment, training);
  UnitChoice chosen;
  double reading = 0, computing = 0;
  {
    const ScopedTimer timer(reading);
    const auto found = units_.find(task.client);
    const bool known = found != units_.end() && fits(setup_.table->options(), found->second, task.assignment);
    chosen = needs_data(rule) && known ? found->second : choice.by_rule(rule);
  }
  if (phase.batch_size > 0) {
    const Vit candidates(*setup_.table, choice.candidates(chosen, phase), device_);
    UnitScores prior;
    {
      const ScopedTimer timer(reading);
      prior = choice.load(candidates);
    }
    const ScopedTimer timer(computing);
    chosen = choice.by_scores(candidates, prior, phase);
  } else if (needs_data(rule)) {
    chosen = choice.by_rule(WidthRule::magnitude);
  }
  report.transfer_s += reading;
  report.compute_s += computing;
  units_[task.client] = std::move(chosen);
}

}  // namespace cos2p
