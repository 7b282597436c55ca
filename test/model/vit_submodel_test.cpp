// What a submodel must be: the full model with other units' outputs at zero, its shallower exits, and nothing
// kept for frozen parts.
#include <boost/test/unit_test.hpp>
#include <functional>
#include <string>

#include "cos2p/support/error.hpp"
#include "vit_fixture.hpp"

using namespace cos2p;
using namespace cos2p::test;

namespace {

VitShape random_shape(Rng& rng, const ModelOptions& options, int kept_blocks) {
  VitShape shape;
  shape.kept_blocks = kept_blocks;
  for (int block = 0; block < kept_blocks; ++block) {
    shape.heads.push_back(random_units(rng, options.heads));
    shape.neurons.push_back(random_units(rng, options.feed_forward));
  }
  return shape;
}

// Zeroes the output rows of all units that `shape` drops.
void silence_dropped(const Vit& full, const VitShape& shape) {
  const torch::NoGradGuard guard;
  const auto silence = [](torch::Tensor rows, const UnitSet& kept) {
    torch::Tensor mask = torch::zeros({kept.total()});
    for (std::int32_t u : kept.kept()) mask[u] = 1.0;
    std::vector<std::int64_t> broadcast(static_cast<std::size_t>(rows.dim()), 1);
    broadcast[0] = kept.total();
    rows.mul_(mask.view(broadcast));
  };
  for (int block = 0; block < shape.kept_blocks; ++block) {
    const auto b = static_cast<std::size_t>(block);
    silence(full.tensor(full.table().attention(block), "out.weight"), shape.heads[b]);
    silence(full.tensor(full.table().feed_forward(block), "fc2.weight"), shape.neurons[b]);
  }
}

torch::Tensor sum_of_exits(const std::vector<torch::Tensor>& logits) {
  torch::Tensor loss = torch::zeros({});
  for (std::size_t i = 0; i < logits.size(); ++i) {
    loss = loss + (logits[i] * torch::arange(logits[i].numel()).view(logits[i].sizes()).cos()).sum();
  }
  return loss;
}

}  // namespace

BOOST_AUTO_TEST_CASE(all_units_kept_is_the_full_model_to_the_bit) {
  const SegmentTable table(small_model());
  const Vit full(table, VitShape::full(table.options()), torch::kCPU),
      sub(table, VitShape::full(table.options()), torch::kCPU);
  randomize(full, 1);
  copy_kept(full, sub);
  const auto images = images_for(table.options(), 4);
  const auto a = full.forward(images, false), b = sub.forward(images, true);
  BOOST_REQUIRE(a.size() == 3U);
  for (std::size_t exit = 0; exit < a.size(); ++exit) BOOST_TEST(torch::equal(a[exit], b[exit]));
}

BOOST_AUTO_TEST_CASE(some_units_kept_is_the_full_model_with_the_others_silenced) {
  const SegmentTable table(small_model());
  for (std::uint64_t seed = 0; seed < 25; ++seed) {
    Rng rng(seed);
    const int kept_blocks = 1 + static_cast<int>(rng.below(3));
    const VitShape shape = random_shape(rng, table.options(), kept_blocks);
    const Vit full(table, VitShape::full(table.options()), torch::kCPU), sub(table, shape, torch::kCPU);
    randomize(full, seed);
    copy_kept(full, sub);
    silence_dropped(full, shape);
    const auto images = images_for(table.options(), 3);
    const auto expected = full.forward(images, false), got = sub.forward(images, false);
    BOOST_REQUIRE(got.size() == static_cast<std::size_t>(kept_blocks));
    BOOST_TEST(sub.exit_blocks().back() == kept_blocks - 1);
    for (std::size_t exit = 0; exit < got.size(); ++exit) {
      BOOST_TEST(torch::allclose(got[exit], expected[exit], 1e-5, 2e-5),
                 "seed " << seed << ", exit " << exit);
    }
  }
}

BOOST_AUTO_TEST_CASE(gradients_of_kept_rows_equal_those_of_the_silenced_full_model) {
  const SegmentTable table(small_model());
  for (std::uint64_t seed = 100; seed < 108; ++seed) {
    Rng rng(seed);
    VitShape shape = random_shape(rng, table.options(), 3);
    shape.scale_kept_units = false;
    const Vit full(table, VitShape::full(table.options()), torch::kCPU), sub(table, shape, torch::kCPU);
    randomize(full, seed);
    copy_kept(full, sub);
    silence_dropped(full, shape);
    const auto images = images_for(table.options(), 3);
    sum_of_exits(full.forward(images, true)).backward();
    sum_of_exits(sub.forward(images, true)).backward();
    for (SegmentId id : sub.segments()) {
      for (const TensorSpec& spec : table[id].tensors) {
        torch::Tensor expected = full.tensor(id, spec.name).grad();
        if (spec.per_unit) {
          expected = expected.index_select(0, torch::tensor(sub.units(id).kept()).to(torch::kInt64));
        }
        const torch::Tensor got = sub.tensor(id, spec.name).grad();
        BOOST_TEST(largest_difference(got, expected) <= 1e-4 * (1.0 + expected.abs().max().item<double>()),
                   "seed " << seed << ", " << table[id].name << " " << spec.name);
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(a_width_inside_of_a_model_is_the_model_of_that_width) {
  const SegmentTable table(small_model());
  for (const bool scaled : {false, true}) {
    VitShape outer = VitShape::full(table.options()), inner = outer;
    outer.scale_kept_units = inner.scale_kept_units = scaled;
    for (UnitSet& heads : inner.heads) heads = UnitSet(4, {0, 1, 2});
    for (UnitSet& neurons : inner.neurons) neurons = UnitSet(18, {0, 1, 2, 3, 4});
    const Vit full(table, outer, torch::kCPU), sub(table, inner, torch::kCPU);
    randomize(full, 4);
    copy_kept(full, sub);
    const auto images = images_for(table.options(), 3);
    const VitWidth width{3, 5};
    const auto expected = sub.forward(images, true), got = full.forward(images, true, nullptr, &width);
    for (std::size_t exit = 0; exit < got.size(); ++exit) BOOST_TEST(torch::equal(got[exit], expected[exit]));
    sum_of_exits(expected).backward();
    sum_of_exits(got).backward();
    for (const SegmentId id : full.segments()) {
      for (const TensorSpec& spec : table[id].tensors) {
        const torch::Tensor whole = full.tensor(id, spec.name).grad(),
                            part = sub.tensor(id, spec.name).grad();
        const std::int64_t rows = part.size(0);
        BOOST_TEST(torch::equal(whole.narrow(0, 0, rows), part), spec.name);
        BOOST_TEST(whole.narrow(0, rows, whole.size(0) - rows).abs().sum().item<double>() == 0, spec.name);
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(depth_pruned_model_is_the_full_models_shallower_exits) {
  const SegmentTable table(small_model(4));
  const Vit full(table, VitShape::full(table.options()), torch::kCPU);
  randomize(full, 9);
  const auto images = images_for(table.options(), 5);
  const auto expected = full.forward(images, false);
  for (int kept = 1; kept <= 4; ++kept) {
    VitShape shape = VitShape::full(table.options());
    shape.kept_blocks = kept;
    shape.heads.resize(static_cast<std::size_t>(kept));
    shape.neurons.resize(static_cast<std::size_t>(kept));
    const Vit sub(table, shape, torch::kCPU);
    copy_kept(full, sub);
    const auto got = sub.forward(images, false);
    BOOST_REQUIRE(got.size() == static_cast<std::size_t>(kept));
    for (std::size_t exit = 0; exit < got.size(); ++exit) {
      BOOST_TEST(torch::allclose(got[exit], expected[exit], 1e-5, 1e-5),
                 "kept " << kept << ", exit " << exit);
    }
  }
}

BOOST_AUTO_TEST_CASE(frozen_parts_get_no_gradient_and_all_others_do) {
  const SegmentTable table(small_model());
  for (int frozen = 0; frozen < 3; ++frozen) {
    VitShape shape = VitShape::full(table.options());
    shape.frozen_blocks = frozen;
    const Vit vit(table, shape, torch::kCPU);
    randomize(vit, 4);
    sum_of_exits(vit.forward(images_for(table.options(), 3), true)).backward();
    std::size_t trained = 0;
    for (SegmentId id : vit.segments()) {
      const bool trains = frozen == 0 || table[id].block >= frozen;
      BOOST_TEST(vit.trains(id) == trains);
      for (const TensorSpec& spec : table[id].tensors) {
        const torch::Tensor tensor = vit.tensor(id, spec.name);
        BOOST_TEST(tensor.grad().defined() == trains,
                   table[id].name << " " << spec.name << ", frozen " << frozen);
        BOOST_TEST(tensor.requires_grad() == trains);
        trained += trains ? 1 : 0;
      }
    }
    BOOST_TEST(vit.parameters().size() == trained);
  }
}

BOOST_AUTO_TEST_CASE(frozen_blocks_do_not_change_the_gradients_above_them) {
  const SegmentTable table(small_model());
  VitShape shape = VitShape::full(table.options());
  const Vit full(table, shape, torch::kCPU);
  shape.frozen_blocks = 2;
  const Vit frozen(table, shape, torch::kCPU);
  randomize(full, 4);
  copy_kept(full, frozen);
  const auto images = images_for(table.options(), 3);
  full.forward(images, true).back().square().sum().backward();
  frozen.forward(images, true).back().square().sum().backward();
  for (SegmentId id : frozen.trained_segments()) {
    for (const TensorSpec& spec : table[id].tensors) {
      BOOST_TEST(torch::equal(full.tensor(id, spec.name).grad(), frozen.tensor(id, spec.name).grad()),
                 table[id].name << " " << spec.name);
    }
  }
}

// A loss that reads one shallow exit only: blocks above it, and the other heads, must simply stay without
// gradients.
BOOST_AUTO_TEST_CASE(a_loss_on_a_shallow_exit_reaches_what_is_below_it) {
  const SegmentTable table(small_model());
  const Vit vit(table, VitShape::full(table.options()), torch::kCPU);
  randomize(vit, 4);
  vit.forward(images_for(table.options(), 3), true)[1].square().sum().backward();
  for (SegmentId id : vit.segments()) {
    const Segment& segment = table[id];
    const bool reached = segment.block < 2 && !(segment.kind == SegmentKind::exit_head && segment.block != 1);
    const torch::Tensor gradient = vit.tensor(id, segment.tensors[0].name).grad();
    BOOST_TEST((gradient.defined() && gradient.abs().sum().item<double>() > 0) == reached, segment.name);
  }
}

BOOST_AUTO_TEST_CASE(kept_units_are_scaled_in_training_only) {
  const SegmentTable table(small_model(1));
  VitShape shape;
  shape.kept_blocks = 1;
  shape.heads = {UnitSet(4, {1})};
  shape.neurons = {UnitSet(18, {0, 2, 4, 6, 8, 10})};
  const Vit scaled(table, shape, torch::kCPU);
  shape.scale_kept_units = false;
  const Vit plain(table, shape, torch::kCPU);
  randomize(scaled, 5);
  for (SegmentId id : scaled.segments()) plain.flat(id).copy_(scaled.flat(id));
  const auto images = images_for(table.options(), 3);
  BOOST_TEST(torch::equal(scaled.forward(images, false)[0], plain.forward(images, true)[0]));
  BOOST_TEST(largest_difference(scaled.forward(images, true)[0], plain.forward(images, true)[0]) > 1e-3);
  {  // by definition: total/kept on the products' weights, nothing on the biases
    const torch::NoGradGuard guard;
    plain.tensor(table.attention(0), "out.weight").mul_(4.0);
    plain.tensor(table.feed_forward(0), "fc2.weight").mul_(3.0);
  }
  BOOST_TEST(torch::allclose(scaled.forward(images, true)[0], plain.forward(images, true)[0], 1e-5, 1e-5));
}

BOOST_AUTO_TEST_CASE(flat_tensors_are_the_parameters) {
  const SegmentTable table(small_model());
  Rng rng(1);
  const Vit vit(table, random_shape(rng, table.options(), 2), torch::kCPU);
  for (SegmentId id : vit.segments()) {
    const torch::Tensor flat = vit.flat(id);
    BOOST_TEST(flat.is_contiguous());
    BOOST_TEST(flat.numel() == table[id].numel_with(vit.units(id).size()));
    flat.copy_(torch::arange(flat.numel()));
    std::int64_t next = 0;
    for (const TensorSpec& spec : table[id].tensors) {
      const torch::Tensor tensor = vit.tensor(id, spec.name);
      BOOST_TEST(tensor.is_leaf());
      BOOST_TEST(tensor.data_ptr<float>() == flat.data_ptr<float>() + next);
      BOOST_TEST(tensor.reshape({-1})[0].item<std::int64_t>() == next);
      next += tensor.numel();
    }
    BOOST_TEST(next == flat.numel());
  }
}

// More images than one piece holds: the pieces must add up to the whole.
BOOST_AUTO_TEST_CASE(pieces_of_a_batch_add_up) {
  const SegmentTable table(small_model(2));
  const Vit vit(table, VitShape::full(table.options()), torch::kCPU);
  randomize(vit, 8);
  const std::int64_t many = 2 * 2048 / table.options().tokens() + 7;
  const auto images = images_for(table.options(), many);
  const auto whole = vit.forward(images, true);
  sum_of_exits({whole.back()}).backward();
  std::vector<torch::Tensor> gradients;
  for (const auto& p : vit.parameters())
    gradients.push_back(p.grad().defined() ? p.grad().clone() : torch::Tensor());
  for (auto& p : vit.parameters()) p.mutable_grad() = torch::Tensor();
  const torch::Tensor factors = torch::arange(whole.back().numel()).view(whole.back().sizes()).cos();
  for (std::int64_t first = 0; first < many; first += 50) {
    const auto count = std::min<std::int64_t>(50, many - first);
    const auto part = vit.forward(images.narrow(0, first, count), true).back();
    BOOST_TEST(torch::allclose(part, whole.back().narrow(0, first, count), 1e-4, 1e-4));
    (part * factors.narrow(0, first, count)).sum().backward();
  }
  const auto parameters = vit.parameters();
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    BOOST_REQUIRE(parameters[i].grad().defined() == gradients[i].defined());
    if (!gradients[i].defined()) continue;
    const double size = 1.0 + gradients[i].abs().max().item<double>();
    BOOST_TEST(largest_difference(parameters[i].grad(), gradients[i]) < 1e-4 * size, "parameter " << i);
  }
}

BOOST_AUTO_TEST_CASE(no_gradient_mode_keeps_nothing_and_gives_the_same_logits) {
  const SegmentTable table(small_model());
  const Vit vit(table, VitShape::full(table.options()), torch::kCPU);
  randomize(vit, 6);
  const auto images = images_for(table.options(), 3);
  const auto with = vit.forward(images, false);
  const torch::NoGradGuard guard;
  const auto without = vit.forward(images, false);
  for (std::size_t exit = 0; exit < with.size(); ++exit) {
    BOOST_TEST(torch::equal(with[exit], without[exit]));
    BOOST_TEST(with[exit].requires_grad());
    BOOST_TEST(!without[exit].requires_grad());
  }
}

BOOST_AUTO_TEST_CASE(images_of_another_shape_are_refused) {
  const SegmentTable table(small_model());
  const Vit vit(table, VitShape::full(table.options()), torch::kCPU);
  for (const torch::Tensor& images : {torch::zeros({2, 1, 12, 8}), torch::zeros({2, 2, 8, 8}),
                                      torch::zeros({2, 2, 12, 8}, torch::kFloat64)}) {
    BOOST_CHECK_EXCEPTION(vit.forward(images, false), Error, [](const Error& error) {
      return std::string(error.what()).find("expected float32 (B, 2, 12, 8)") != std::string::npos;
    });
  }
}

BOOST_AUTO_TEST_CASE(gates_of_0_and_1_are_the_submodel_and_others_scale_a_unit) {
  const SegmentTable table(small_model());
  for (std::uint64_t seed = 0; seed < 10; ++seed) {
    Rng rng(seed);
    const VitShape shape = random_shape(rng, table.options(), 3);
    const Vit full(table, VitShape::full(table.options()), torch::kCPU), sub(table, shape, torch::kCPU);
    randomize(full, seed);
    copy_kept(full, sub);
    VitGates gates;
    const auto mask = [](const UnitSet& kept) {
      torch::Tensor open = torch::zeros({kept.total()});
      for (const std::int32_t unit : kept.kept()) open[unit] = 1.0F;
      return open;
    };
    for (std::size_t block = 0; block < 3; ++block) {
      gates.heads.push_back(mask(shape.heads[block]));
      gates.neurons.push_back(mask(shape.neurons[block]));
    }
    const auto images = images_for(table.options(), 3);
    const auto expected = sub.forward(images, false), got = full.forward(images, false, &gates);
    for (std::size_t exit = 0; exit < got.size(); ++exit)
      BOOST_TEST(torch::allclose(got[exit], expected[exit], 1e-5, 2e-5),
                 "seed " << seed << ", exit " << exit);
  }
}

BOOST_AUTO_TEST_CASE(a_gates_gradient_is_that_of_its_units_output_row) {
  // d loss / d gate = sum over the unit's output row of weight * d loss / d weight, at gate 1; with all
  // weights frozen as well as with none.
  const SegmentTable table(small_model());
  for (const int frozen : {0, 3}) {
    VitShape shape = VitShape::full(table.options());
    const Vit reference(table, shape, torch::kCPU);
    shape.frozen_blocks = frozen;
    const Vit vit(table, shape, torch::kCPU);
    randomize(reference, 2);
    copy_kept(reference, vit);
    const auto images = images_for(table.options(), 3);
    sum_of_exits(reference.forward(images, true)).backward();
    VitGates gates;
    for (int block = 0; block < 3; ++block) {
      gates.heads.push_back(torch::ones({4}, torch::requires_grad()));
      gates.neurons.push_back(torch::ones({18}, torch::requires_grad()));
    }
    sum_of_exits(vit.forward(images, true, &gates)).backward();
    for (int block = 0; block < 3; ++block) {
      const torch::Tensor out = reference.tensor(table.attention(block), "out.weight");
      const torch::Tensor fc2 = reference.tensor(table.feed_forward(block), "fc2.weight");
      const torch::Tensor heads = (out * out.grad()).sum({1, 2}), neurons = (fc2 * fc2.grad()).sum(1);
      const auto b = static_cast<std::size_t>(block);
      BOOST_TEST(torch::allclose(gates.heads[b].grad(), heads, 1e-3, 1e-3), "block " << block);
      BOOST_TEST(torch::allclose(gates.neurons[b].grad(), neurons, 1e-3, 1e-3), "block " << block);
    }
  }
}
