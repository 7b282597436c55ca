// The full model against numbers from an independent PyTorch implementation (golden/make_golden.py for
// images, golden/make_golden_text.py for texts).
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "vit_fixture.hpp"

using namespace cos2p;

namespace {

constexpr double kTolerance = 1e-5;  // of the largest value compared

nlohmann::json golden(const std::string& name) {
  std::ifstream file(std::string(COS2P_SOURCE_DIR) + "/test/model/golden/" + name);
  BOOST_REQUIRE_MESSAGE(file.good(), name << " cannot be read");
  return nlohmann::json::parse(file);
}

ModelOptions model_of(const nlohmann::json& m) {
  ModelOptions options;
  if (m.contains("vocabulary")) {
    options.vocabulary = m["vocabulary"];
    options.max_length = m["max_length"];
  } else {
    options.image_height = options.image_width = m["image"];
    options.channels = m["channels"];
    options.patch = m["patch"];
  }
  options.dim = m["dim"];
  options.blocks = m["blocks"];
  options.heads = m["heads"];
  options.feed_forward = m["feed_forward"];
  options.classes = m["classes"];
  options.validate();
  return options;
}

// The same formulas as in make_golden.py.
void fill(const Vit& vit) {
  for (SegmentId id : vit.segments()) {
    const double s = id.value();
    const torch::Tensor i = torch::arange(vit.flat(id).numel(), torch::kFloat64);
    vit.flat(id).copy_(0.25 * torch::cos(0.37 * i + 1.3 * s) + 0.05 * torch::sin(0.011 * i * (s + 1)));
  }
}

torch::Tensor golden_images(const ModelOptions& o, std::int64_t batch) {
  const torch::Tensor i = torch::arange(batch * o.channels * o.image_height * o.image_width, torch::kFloat64);
  return (torch::sin(0.13 * i + 0.0007 * i * i) + 0.5 * torch::cos(0.71 * i))
      .view({batch, o.channels, o.image_height, o.image_width})
      .to(torch::kFloat32);
}

torch::Tensor golden_texts(const nlohmann::json& m) {
  const auto rows = m["ids"].get<std::vector<std::vector<std::int32_t>>>();
  std::vector<torch::Tensor> texts;
  for (const auto& row : rows) texts.push_back(torch::tensor(row, torch::kInt32));
  return torch::stack(texts);
}

void check_against(const nlohmann::json& expected, const torch::Tensor& input) {
  const SegmentTable table(model_of(expected["model"]));
  BOOST_TEST(expected["epsilon"].get<double>() == 1e-6);
  for (const bool training : {false, true}) {  // with all units kept, both are the full model
    const Vit vit(table, VitShape::full(table.options()), torch::kCPU);
    fill(vit);
    const auto logits = vit.forward(input, training);
    const auto labels = torch::tensor(expected["labels"].get<std::vector<std::int64_t>>());
    BOOST_REQUIRE(logits.size() == expected["logits"].size());
    torch::Tensor loss = torch::zeros({});
    for (std::size_t exit = 0; exit < logits.size(); ++exit) {
      const auto rows = expected["logits"][exit].get<std::vector<std::vector<double>>>();
      BOOST_REQUIRE(logits[exit].size(0) == static_cast<std::int64_t>(rows.size()));
      for (std::size_t b = 0; b < rows.size(); ++b) {
        for (std::size_t k = 0; k < rows[b].size(); ++k) {
          const double got =
              logits[exit][static_cast<std::int64_t>(b)][static_cast<std::int64_t>(k)].item<double>();
          BOOST_TEST(std::abs(got - rows[b][k]) < kTolerance,
                     "exit " << exit << ": " << got << " != " << rows[b][k]);
        }
      }
      loss = loss + (1.0 + 0.5 * static_cast<double>(exit)) *
                        torch::nn::functional::cross_entropy(logits[exit], labels);
    }
    BOOST_TEST(loss.item<double>() == expected["loss"].get<double>(),
               boost::test_tools::tolerance(kTolerance));
    loss.backward();
    BOOST_REQUIRE(expected["gradients"].size() == vit.parameters().size());
    for (const auto& g : expected["gradients"]) {
      const std::string segment = g["segment"], name = g["tensor"];
      const Segment* found = table.find(segment);
      BOOST_REQUIRE(found != nullptr);
      const torch::Tensor parameter = vit.tensor(found->id, name);
      BOOST_TEST(parameter.sizes().vec() == g["shape"].get<std::vector<std::int64_t>>(),
                 boost::test_tools::per_element());
      const torch::Tensor gradient = parameter.grad().reshape({-1}).to(torch::kFloat64);
      const double norm = g["norm"];
      BOOST_TEST(gradient.norm().item<double>() == norm, boost::test_tools::tolerance(kTolerance));
      for (const auto& sample : g["samples"]) {
        const double got = gradient[sample[0].get<std::int64_t>()].item<double>(), want = sample[1];
        BOOST_TEST(std::abs(got - want) < kTolerance * norm,
                   segment << " " << name << ": " << got << " != " << want);
      }
    }
  }
}

}  // namespace

BOOST_AUTO_TEST_CASE(a_model_of_images_equals_the_reference) {
  const nlohmann::json expected = golden("golden.json");
  check_against(expected, golden_images(model_of(expected["model"]), expected["model"]["batch"]));
}

BOOST_AUTO_TEST_CASE(a_model_of_texts_equals_the_reference) {
  const nlohmann::json expected = golden("golden_text.json");
  check_against(expected, golden_texts(expected["model"]));
}
