// What only a model of texts has: padding, and embeddings that are looked up.
#include <boost/test/unit_test.hpp>

#include "cos2p/support/error.hpp"
#include "vit_fixture.hpp"

using namespace cos2p;
using namespace cos2p::test;

namespace {

torch::Tensor row(const torch::Tensor& ids, std::int64_t text, std::int64_t width) {
  return ids.narrow(0, text, 1).narrow(1, 0, width).contiguous();
}

}  // namespace

BOOST_AUTO_TEST_CASE(padding_does_not_change_a_result) {
  const SegmentTable table(small_text_model());
  const Vit vit(table, VitShape::full(table.options()), torch::kCPU);
  randomize(vit, 5);
  const std::vector<std::int64_t> lengths{2, 7, 12, 5};
  const torch::Tensor ids = texts_for(table.options(), lengths, 12);
  for (const bool training : {false, true}) {
    const auto together = vit.forward(ids, training);
    for (std::size_t text = 0; text < lengths.size(); ++text) {
      const auto b = static_cast<std::int64_t>(text);
      const auto alone = vit.forward(row(ids, b, lengths[text]), training);
      for (std::size_t exit = 0; exit < alone.size(); ++exit) {
        BOOST_TEST(largest_difference(alone[exit][0], together[exit][b]) < 1e-5,
                   "text " << text << ", exit " << exit);
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(padding_does_not_change_a_gradient) {
  const SegmentTable table(small_text_model());
  const torch::Tensor ids = texts_for(table.options(), {4, 6}, 12);
  const auto gradients = [&](const torch::Tensor& batch) {
    const Vit vit(table, VitShape::full(table.options()), torch::kCPU);
    randomize(vit, 6);
    torch::Tensor sum = torch::zeros({});
    for (const torch::Tensor& logits : vit.forward(batch, true)) sum = sum + logits.square().sum();
    sum.backward();
    std::vector<torch::Tensor> result;
    for (const torch::Tensor& parameter : vit.parameters()) result.push_back(parameter.grad().clone());
    return result;
  };
  const auto padded = gradients(ids), tight = gradients(ids.narrow(1, 0, 6).contiguous());
  BOOST_REQUIRE(padded.size() == tight.size());
  for (std::size_t i = 0; i < padded.size(); ++i) {
    const double scale = 1e-3 + tight[i].abs().max().item<double>();
    BOOST_TEST(largest_difference(padded[i], tight[i]) / scale < 1e-4, "parameter " << i);
  }
}

BOOST_AUTO_TEST_CASE(gradients_reach_what_was_read_and_nothing_else) {
  const SegmentTable table(small_text_model());
  const Vit vit(table, VitShape::full(table.options()), torch::kCPU);
  randomize(vit, 7);
  const torch::Tensor ids = torch::tensor({{2, 9, 9, 3, -1}}, torch::kInt32);
  vit.forward(ids, true).back().square().sum().backward();
  const torch::Tensor token = vit.tensor(table.embedding(), "token").grad().abs().sum(1);
  for (int piece = 0; piece < table.options().vocabulary; ++piece) {
    const bool read = piece == 2 || piece == 9 || piece == 3;
    BOOST_TEST((token[piece].item<double>() > 0) == read, "piece " << piece);
  }
  const torch::Tensor position = vit.tensor(table.embedding(), "position").grad().abs().sum(1);
  for (int place = 0; place < table.options().max_length; ++place)
    BOOST_TEST((position[place].item<double>() > 0) == (place < 4), "place " << place);
}

BOOST_AUTO_TEST_CASE(pieces_of_a_batch_do_not_change_the_gradient) {
  // More rows than are worked on at a time, against one text after another.
  ModelOptions options = small_text_model(1);
  const SegmentTable table(options);
  const Vit vit(table, VitShape::full(options), torch::kCPU);
  randomize(vit, 8);
  const std::int64_t many = 2 * 2048 / 12 + 7;
  std::vector<std::int64_t> lengths;
  for (std::int64_t i = 0; i < many; ++i) lengths.push_back(2 + i % 11);
  const torch::Tensor ids = texts_for(options, lengths, 12);
  vit.forward(ids, true).back().square().sum().backward();
  const torch::Tensor whole = vit.tensor(table.embedding(), "token").grad().clone();
  vit.tensor(table.embedding(), "token").mutable_grad() = torch::Tensor();
  for (std::int64_t text = 0; text < many; ++text)
    vit.forward(row(ids, text, lengths[static_cast<std::size_t>(text)]), true)
        .back()
        .square()
        .sum()
        .backward();
  const torch::Tensor one_by_one = vit.tensor(table.embedding(), "token").grad();
  BOOST_TEST(largest_difference(whole, one_by_one) < 1e-4 * one_by_one.abs().max().item<double>());
}

BOOST_AUTO_TEST_CASE(a_submodel_of_texts_is_the_full_model_where_all_is_kept) {
  const SegmentTable table(small_text_model());
  Rng rng(4);
  VitShape shape = VitShape::full(table.options());
  shape.kept_blocks = 2;
  shape.frozen_blocks = 1;
  shape.heads.resize(2);
  shape.neurons.resize(2);
  const Vit full(table, VitShape::full(table.options()), torch::kCPU), sub(table, shape, torch::kCPU);
  randomize(full, 9);
  copy_kept(full, sub);
  const torch::Tensor ids = texts_for(table.options(), {3, 8}, 8);
  const auto all = full.forward(ids, false), some = sub.forward(ids, false);
  BOOST_REQUIRE(some.size() == 2U);
  for (std::size_t exit = 0; exit < some.size(); ++exit)
    BOOST_TEST(largest_difference(all[exit], some[exit]) < 1e-5);
  some.back().sum().backward();
  BOOST_TEST(!sub.tensor(table.embedding(), "token").grad().defined());
}

BOOST_AUTO_TEST_CASE(texts_that_do_not_fit_the_model_are_refused) {
  const SegmentTable table(small_text_model());
  const Vit vit(table, VitShape::full(table.options()), torch::kCPU);
  BOOST_CHECK_THROW(vit.forward(torch::zeros({1, 13}, torch::kInt32), false), Error);
  BOOST_CHECK_THROW(vit.forward(torch::zeros({1, 4}), false), Error);
}

BOOST_AUTO_TEST_CASE(bert_base_has_its_size) {
  ModelOptions options = model_preset("bert-base");
  options.classes = 2;
  options.exits = {11};
  options.validate();
  // 30,522 + 512 rows of 768 and a norm; 12 blocks of 7,087,872; a norm and 2 classes.
  BOOST_TEST(SegmentTable(options).parameters() ==
             31034 * 768 + 2 * 768 + 12 * 7087872 + 2 * 768 + 2 * 768 + 2);
}
