// Optimizer steps against the same steps written down with plain autograd: ordered dropout, batches in
// pieces.
#include <torch/torch.h>

#include <boost/test/unit_test.hpp>
#include <functional>
#include <memory>

#include "cos2p/data/samples.hpp"
#include "local_steps.hpp"
#include "model/vit_fixture.hpp"

using namespace cos2p;
using namespace cos2p::test;

namespace {

constexpr double kRate = 0.1;

ImageSet random_set(const ModelOptions& o, int count) {
  ImageSet set;
  set.classes = o.classes;
  set.height = o.image_height;
  set.width = o.image_width;
  set.channels = o.channels;
  Rng rng(5);
  for (int i = 0; i < count; ++i) set.labels.push_back(i % o.classes);
  set.pixels.resize(static_cast<std::size_t>(count * set.image_bytes()));
  for (std::uint8_t& pixel : set.pixels) pixel = static_cast<std::uint8_t>(rng.below(256));
  return set;
}

/// One client whose every step sees all of its data, so that the order does not matter.
struct Client {
  SegmentTable table{small_model(2)};  // 4 heads, 18 neurons
  ImageSamples samples{random_set(table.options(), 10),
                       Normalization{std::vector<float>(2, 0.5F), std::vector<float>(2, 0.25F)},
                       AugmentOptions{}};
  Partition partition{{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}};
  LocalTrainer::Setup setup;
  Notice notice;

  Client() {
    setup.table = &table;
    setup.samples = &samples;
    setup.partition = &partition;
    setup.local.batch_size = 10;
    setup.local.learning_rate = kRate;
    setup.local.momentum = 0;
    setup.local.clip_norm = 0;
    setup.local.scale_kept_units = false;
    setup.local.ordered_dropout = 2;  // half of the units, or all
    setup.local.objective.exit_loss = ExitLossKind::deepest;
    setup.local.objective.logit_adjustment = 0;
  }

  std::unique_ptr<Vit> model() const {
    auto vit = std::make_unique<Vit>(table, VitShape::full(table.options()), torch::kCPU);
    randomize(*vit, 2);
    return vit;
  }

  /// The parameters after one step of the client's local round `index`.
  std::vector<torch::Tensor> trained(int index) const {
    const auto vit = model();
    RoundReport report;
    report.steps = 1;
    ClientTask task;
    task.client = 0;
    const LocalSteps steps{setup, *vit, torch::kCPU, task, index, notice};
    BOOST_REQUIRE(steps.run([] { return true; }, report));
    BOOST_TEST(report.samples == 10);
    return vit->parameters();
  }

  /// The same by hand, with the loss that `loss` makes of the model.
  std::vector<torch::Tensor> stepped(
      const std::function<torch::Tensor(const Vit&, const torch::Tensor& images,
                                        const torch::Tensor& labels)>& loss) const {
    const auto vit = model();
    std::vector<std::int64_t> all = partition.front(), labels(10);
    torch::Tensor images = torch::empty({10, 2, 12, 8});
    samples.fill(
        all, nullptr,
        {reinterpret_cast<std::byte*>(images.data_ptr<float>()), static_cast<std::size_t>(images.nbytes())});
    samples.fill_labels(all, labels);
    loss(*vit, images, torch::tensor(labels)).backward();
    const torch::NoGradGuard no_grad;
    for (torch::Tensor& parameter : vit->parameters()) {
      if (parameter.grad().defined()) parameter -= kRate * parameter.grad();
    }
    return vit->parameters();
  }
};

bool close(const std::vector<torch::Tensor>& a, const std::vector<torch::Tensor>& b) {
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (!torch::allclose(a[i], b[i], 1e-4, 1e-5)) return false;
  }
  return a.size() == b.size();
}

const VitWidth kHalf{2, 9};

torch::Tensor cross_entropy(const torch::Tensor& logits, const torch::Tensor& target) {
  return torch::nn::functional::cross_entropy(logits, target);
}

/// By hand: one step of the whole model at its deepest exit.
std::vector<torch::Tensor> stepped_whole(const Client& client) {
  return client.stepped([](const Vit& vit, const torch::Tensor& images, const torch::Tensor& labels) {
    return cross_entropy(vit.forward(images, true).back(), labels);
  });
}

}  // namespace

BOOST_AUTO_TEST_CASE(each_step_trains_a_width_that_is_drawn) {
  const Client client;
  const auto whole = stepped_whole(client);
  const auto half =
      client.stepped([](const Vit& vit, const torch::Tensor& images, const torch::Tensor& labels) {
        return cross_entropy(vit.forward(images, true, nullptr, &kHalf).back(), labels);
      });
  BOOST_TEST(!close(whole, half));
  int wholes = 0, halves = 0;
  for (int index = 0; index < 20; ++index) {
    const auto got = client.trained(index);
    wholes += close(got, whole) ? 1 : 0;
    halves += close(got, half) ? 1 : 0;
  }
  BOOST_TEST(wholes + halves == 20);
  BOOST_TEST((wholes >= 4 && halves >= 4));  // a fair coin gives fewer once in a thousand
}

BOOST_AUTO_TEST_CASE(a_batch_in_pieces_gives_the_gradient_of_the_whole) {
  Client client;
  client.setup.local.ordered_dropout = 0;
  client.setup.local.objective.exit_loss = ExitLossKind::sum;
  client.setup.local.objective.distillation = DistillationKind::mutual;
  client.setup.local.objective.distillation_start = client.setup.local.objective.distillation_ramp = 0;
  const auto whole = client.trained(0);
  for (const int piece : {1, 3, 5, 10, 16}) {  // 3 leaves a piece of one sample
    client.setup.micro_batch = [piece](ClientId, const Assignment&) { return piece; };
    BOOST_TEST(close(client.trained(0), whole), "pieces of " << piece);
  }
}

BOOST_AUTO_TEST_CASE(with_distillation_the_drawn_width_learns_from_the_whole_in_the_same_step) {
  Client client;
  client.setup.local.ordered_dropout_distillation = true;
  const auto whole = stepped_whole(client);
  const auto taught =
      client.stepped([](const Vit& vit, const torch::Tensor& images, const torch::Tensor& labels) {
        const torch::Tensor full = vit.forward(images, true).back(),
                            part = vit.forward(images, true, nullptr, &kHalf).back();
        return cross_entropy(full, labels) + cross_entropy(part, torch::softmax(full.detach(), 1));
      });
  BOOST_TEST(!close(whole, taught));
  int wholes = 0, taughts = 0;
  for (int index = 0; index < 20; ++index) {
    const auto got = client.trained(index);
    wholes += close(got, whole) ? 1 : 0;
    taughts += close(got, taught) ? 1 : 0;
  }
  BOOST_TEST(wholes + taughts == 20);
  BOOST_TEST((wholes >= 4 && taughts >= 4));
}

BOOST_AUTO_TEST_CASE(without_ordered_dropout_every_step_trains_the_whole) {
  Client client;
  client.setup.local.ordered_dropout = 0;
  const auto whole = stepped_whole(client);
  for (int index = 0; index < 4; ++index) BOOST_TEST(close(client.trained(index), whole));
}
