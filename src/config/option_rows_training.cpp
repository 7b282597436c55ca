#include "option_rows.hpp"

namespace cos2p::config {

void add_policy(Table& t) {
  const auto discounted = [](const RunOptions& o) { return o.policy.discount != DiscountKind::constant; };
  t.group("Server", kTrain);
  t.whole("rounds", AT(rounds), 1, kMany,
          "server rounds of the whole run; a resumed run goes on to this number");
  t.choice<PolicyKind>(
      "policy", AT(policy.kind),
      "when updates are merged: with all of a round, with some, or each at once; fedasync and "
      "fedbuff are the rules published under these names");
  OptionSpec& updates = t.whole("min-updates", AT(policy.min_updates), 1, kMany,
                                "updates that a segment waits for before it is merged");
  updates.objections.push_back({"policy", [](const RunOptions& o) -> std::string {
                                  if (o.policy.kind == PolicyKind::sync)
                                    return "a synchronous round waits for all trainers of a segment";
                                  return o.policy.at_once() && o.policy.min_updates != 1
                                             ? "this policy merges every update at once"
                                             : "";
                                }});
  OptionSpec& deadline = t.real("deadline", AT(policy.deadline_s), 0, true, kAny,
                                "seconds after which a segment is merged with what came; 0 = none");
  deadline.metavar = "SECONDS";
  deadline.objections.push_back({"policy", [](const RunOptions& o) -> std::string {
                                   if (o.policy.kind == PolicyKind::sync)
                                     return "a synchronous round waits for all trainers of a segment";
                                   return o.policy.at_once() && o.policy.deadline_s != 0
                                              ? "this policy merges every update at once"
                                              : "";
                                 }});
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
  t.real("width-exponent", AT(policy.width_exponent), 0, true, 16,
         "an update's weight is multiplied by (share of the units that its client keeps in a block)^this");
  t.group("Server", kTrain | kPlan);
  t.choice<MergeKind>(
      "merge", AT(policy.merge),
      "what a merge takes: the trained values, or what training added to the values that the client "
      "received (which it then holds beside the trained ones; not with --policy sync, where the server still "
      "has them, unless --push-dtype rounds)");
  t.group("Server", kTrain);
  only(
      t.choice<NormalizeKind>("normalize", AT(policy.normalize),
                              "average over the updates that came, over all trainers (absent ones hold the "
                              "value), or each value over the updates that changed it"),
      "merge",
      [](const RunOptions& o) {
        return o.policy.normalize != NormalizeKind::changed || o.policy.merge == MergeKind::deltas;
      },
      "only a delta says whether a client changed a value");
  t.real("server-learning-rate", AT(policy.server_rate), 0, false, 1000,
         "of the step that a merge takes towards the mean of the updates, or along their mean delta");
  t.real("server-momentum", AT(policy.server_momentum), 0, true, 0.9999,
         "of these steps (FedAvgM); 0 = none");
  only(
      t.real(
          "depth-momentum", AT(policy.depth_momentum), 0, true, 1,
          "share of the delta of a client's last block that is replaced by the mean delta which clients of "
          "the next larger depth have for this block and those above it (InclusiveFL); 0 = none"),
      "balance",
      [](const RunOptions& o) {
        return o.policy.depth_momentum == 0 || o.fleet.balance == BalanceKind::wide;
      },
      "clients of unlike width have no common delta");
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
  t.whole("batch-size", AT(local.batch_size), 1, 1 << 20, "samples in an optimizer step");
  t.whole("micro-batch", AT(local.micro_batch), 0, 1 << 20,
          "clients whose budget does not hold a batch's activations run it in parts of at least so many "
          "samples and add up the gradients; 0 = never");
  t.choice<ValueType>(
      "push-dtype", AT(local.push_dtype),
      "how the values that clients push are written: 4, 2 or about 1 byte each; what rounding "
      "takes from an update is added to the client's next one, which takes it 2 bytes of "
      "memory a trained value");
  t.group("Local training", kRanks | kPlan);
  t.flag(
      "overlap", AT(local.overlap),
      "push the last local round, and pull for the next one, while a round is computed: takes the memory "
      "of what is pulled and pushed, and updates are up to a round older; not with --policy sync, nor with "
      "--rolling-windows");
  t.group("Local training", kTrain | kPlan);
  t.choice<OptimizerKind>("optimizer", AT(local.optimizer), "of the clients");
  only(
      t.real("momentum", AT(local.momentum), 0, true, 0.9999, "of sgd; 0 = none"), "optimizer",
      [](const RunOptions& o) { return o.local.optimizer == OptimizerKind::sgd; },
      "adamw has moments of its own");
  t.group("Local training", kTrain);
  t.real("learning-rate", AT(local.learning_rate), 0, false, kAny, "of the optimizer, at its highest");
  only(
      t.real("weight-decay", AT(local.weight_decay), 0, true, kAny,
             "share of the weights that decays, per unit of learning rate"),
      "weight-mask",
      [](const RunOptions& o) {
        return o.local.weight_decay == 0 || o.local.weight_mask == WeightMaskKind::none;
      },
      "it would move the weights that the mask leaves out");
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
}

}  // namespace cos2p::config
