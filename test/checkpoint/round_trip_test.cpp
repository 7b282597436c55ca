#include <boost/test/unit_test.hpp>
#include <nlohmann/json.hpp>
#include <numeric>

#include "checkpoint/sample.hpp"
#include "cos2p/support/error.hpp"
#include "cos2p/support/random.hpp"

using namespace cos2p;
using namespace cos2p::test;

BOOST_AUTO_TEST_CASE(every_field_comes_back_to_the_bit) {
  const TemporaryDirectory directory;
  for (std::uint64_t seed = 0; seed < 5; ++seed) {
    const Checkpoint written = make_checkpoint(seed);
    const std::string path = write_checkpoint(directory.path(), written);
    BOOST_TEST(path == directory / "checkpoint-000012.h5");
    BOOST_TEST((bytes_of(read_checkpoint(path)) == bytes_of(written)));
    BOOST_TEST((bytes_of(read_checkpoint(directory.path())) == bytes_of(written)));
    BOOST_TEST((bytes_of(read_checkpoint(directory / "latest")) == bytes_of(written)));
  }
}

BOOST_AUTO_TEST_CASE(the_test_itself_sees_a_single_changed_bit) {
  Checkpoint changed = make_checkpoint(1);
  changed.state.in_flight[1].updates[2].values.back() += 1;
  BOOST_TEST((bytes_of(changed) != bytes_of(make_checkpoint(1))));
}

BOOST_AUTO_TEST_CASE(empty_lists_come_back_empty) {
  const TemporaryDirectory directory;
  Checkpoint written = make_checkpoint(3, 0);
  written.identity.options.clear();
  written.identity.dataset.clear();
  written.input = {};
  written.clients.clear();
  written.history = {};
  written.state = RunState{};
  const std::string path = write_checkpoint(directory.path(), written);
  BOOST_TEST((bytes_of(read_checkpoint(path)) == bytes_of(written)));
  BOOST_TEST(!inspect_text(written, path).empty());
}

BOOST_AUTO_TEST_CASE(an_option_of_any_length_comes_back) {
  const TemporaryDirectory directory;
  Checkpoint written = make_checkpoint(6);
  for (const std::size_t length : {1000U, 65000U, 66000U, 300000U}) {
    written.identity.options["budgets"] = std::string(length, 'b');
    BOOST_TEST((bytes_of(read_checkpoint(write_checkpoint(directory.path(), written))) == bytes_of(written)));
  }
}

BOOST_AUTO_TEST_CASE(a_model_of_texts_says_what_it_reads) {
  const TemporaryDirectory directory;
  const Checkpoint written = make_checkpoint(4);
  const std::string path = write_checkpoint(directory.path(), written);
  const std::string text = inspect_text(read_checkpoint(path), path);
  BOOST_TEST(text.find("texts of up to 7 word pieces out of 8 (uncased)") != std::string::npos, text);
  const auto json = nlohmann::json::parse(inspect_json(written, path));
  BOOST_TEST(json["text"]["vocabulary_size"] == 8);
  BOOST_TEST(json["model"]["vocabulary_size"] == 8);
  BOOST_TEST(!json["model"].contains("patch_pixels"));
}

BOOST_AUTO_TEST_CASE(any_set_of_units_comes_back) {
  const TemporaryDirectory directory;
  Rng rng(11);
  Checkpoint written = make_checkpoint(4);
  for (int trial = 0; trial < 10; ++trial) {
    for (ClientRecord& client : written.clients) {
      client.heads.clear();
      client.neurons.clear();
      for (int block = 0; block < written.model.blocks; ++block) {
        for (auto [sets, total] : {std::pair(&client.heads, written.model.heads),
                                   std::pair(&client.neurons, written.model.feed_forward)}) {
          std::vector<std::int32_t> kept;
          const double share = rng.uniform() * 1.2 - 0.1;  // now and then none, now and then all
          for (std::int32_t unit = 0; unit < total; ++unit) {
            if (rng.uniform() < share) kept.push_back(unit);
          }
          sets->emplace_back(total, std::move(kept));
        }
      }
    }
    const Checkpoint found = read_checkpoint(write_checkpoint(directory.path(), written));
    for (std::size_t i = 0; i < written.clients.size(); ++i) {
      BOOST_TEST((found.clients[i].heads == written.clients[i].heads));
      BOOST_TEST((found.clients[i].neurons == written.clients[i].neurons));
    }
  }
}

BOOST_AUTO_TEST_CASE(a_thousand_rows_of_history_fill_several_chunks) {
  const TemporaryDirectory directory;
  Checkpoint written = make_checkpoint(5);
  for (std::int32_t i = 0; i < 10000; ++i)
    written.history.clients.push_back({i, 1, 2, 0.5 * i, written.history.clients[0].report});
  BOOST_TEST((bytes_of(read_checkpoint(write_checkpoint(directory.path(), written))) == bytes_of(written)));
}

BOOST_AUTO_TEST_CASE(another_model_is_refused_with_segment_and_both_shapes) {
  const Checkpoint checkpoint = make_checkpoint(0);
  const auto refused = [&](const ModelOptions& expected, const std::string& text) {
    BOOST_CHECK_EXCEPTION(require_model(checkpoint, expected, "a.h5"), Error, [&](const Error& error) {
      BOOST_TEST_INFO(error.what());
      return error.code() == ExitCode::checkpoint &&
             std::string(error.what()).find(text) != std::string::npos &&
             std::string(error.what()).find("a.h5") != std::string::npos;
    });
  };
  BOOST_CHECK_NO_THROW(require_model(checkpoint, checkpoint.model, "a.h5"));
  ModelOptions other = checkpoint.model;
  other.feed_forward = 96;
  refused(other,
          "segment block_00/feed_forward, tensor fc1.weight has shape (80, 16) there and (96, 16) here");
  other = checkpoint.model;
  other.heads = 2;
  refused(
      other,
      "segment block_00/attention, tensor qkv.weight has shape (4, 3, 4, 16) there and (2, 3, 8, 16) here");
  other = checkpoint.model;
  other.blocks = 4;
  other.exits = {0, 3};
  refused(other, "it has no segment block_03/attention");
}

BOOST_AUTO_TEST_CASE(inspection_shows_the_run_and_the_masks) {
  Checkpoint checkpoint = make_checkpoint(0);
  checkpoint.clients[0].heads = {UnitSet(4, {0, 3})};
  // 80 neurons in 64 columns: buckets of one or two units, so that the second neuron alone fills its bucket.
  std::vector<std::int32_t> half(40);
  std::iota(half.begin(), half.end(), 0);
  checkpoint.clients[0].neurons = {UnitSet(80, half)};
  checkpoint.history.evaluations = {{3, 0, 1.0, 0.5, 0.75}, {3, 2, 1.0, 0.25, 0.875}};
  const std::string text = inspect_text(checkpoint, "dir/a.h5");
  std::string left, right;
  for (int i = 0; i < 32; ++i) left += "█", right += "·";
  for (const std::string& part :
       {std::string("dir/a.h5"), std::string("0123456789abcdef"), std::string("synthetic"),
        std::string("rounds = 12"), std::string("block_00/attention"),
        std::string("qkv.weight* (4, 3, 4, 16)"), std::string("no update yet"),
        fmt::format("block_00 █··█ | {}{} 2/4 heads, 40/80 neurons", left, right),
        std::string("block_01 to block_02 pruned"), std::string("75.00 % (0.5000)"),
        std::string("87.50 % (0.2500)")}) {
    BOOST_TEST_INFO(part);
    BOOST_TEST((text.find(part) != std::string::npos));
  }
}

BOOST_AUTO_TEST_CASE(a_wide_mask_is_shaded) {
  Checkpoint checkpoint = make_checkpoint(0);
  checkpoint.model.feed_forward = 256;  // four units a column
  std::vector<std::int32_t> kept{0, 1, 2, 3, 4, 5, 6, 8, 9, 12};
  checkpoint.clients[0].heads = {UnitSet::all(4)};
  checkpoint.clients[0].neurons = {UnitSet(256, kept)};
  BOOST_TEST((inspect_text(checkpoint, "a").find("| █▓▒░·") != std::string::npos));
}

BOOST_AUTO_TEST_CASE(inspection_as_json_has_the_same_content) {
  const Checkpoint checkpoint = make_checkpoint(0);
  const auto json = nlohmann::json::parse(inspect_json(checkpoint, "dir/a.h5"));
  const SegmentTable table(checkpoint.model);
  BOOST_TEST(json["file"] == "dir/a.h5");
  BOOST_TEST(json["round"] == 12);
  BOOST_TEST(json["model"]["parameters"] == table.parameters());
  BOOST_TEST(json["options"]["rounds"] == "12");
  BOOST_TEST(json["segments"].size() == static_cast<std::size_t>(table.size()));
  BOOST_TEST(json["segments"][1]["tensors"][2]["shape"] == nlohmann::json({4, 3, 4, 16}));
  BOOST_TEST(json["segments"][1]["version"] == checkpoint.segments[1].version);
  BOOST_TEST(json["clients"][2]["masks"][1]["neurons"].size() ==
             checkpoint.clients[2].neurons[1].kept().size());
  BOOST_TEST(json["history"]["rounds"].size() == checkpoint.history.rounds.size());
  BOOST_TEST(json["history"]["rounds"][0]["loss"].is_null());  // NaN
  BOOST_TEST(json["history"]["clients"][4]["compute_s"] == checkpoint.history.clients[4].report.compute_s);
}
