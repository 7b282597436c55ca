// BERT's tokenizer against the `tokenizers` library (golden/make_tokenizer_golden.mjs), against its
// definition worked out by hand, and against random texts.
#include "cos2p/data/tokenizer.hpp"

#include <nlohmann/json.hpp>

#include "cos2p/support/random.hpp"
#include "data/data_test_files.hpp"

using namespace cos2p;
using namespace data_test;
using Strings = std::vector<std::string>;
using Ids = std::vector<std::int32_t>;

namespace {

nlohmann::json golden() {
  std::ifstream file(std::string(COS2P_SOURCE_DIR) + "/test/data/golden/tokenizer.json");
  BOOST_REQUIRE_MESSAGE(file.good(), "tokenizer.json cannot be read");
  return nlohmann::json::parse(file);
}

/// [PAD] 0, [UNK] 1, [CLS] 2, [SEP] 3, then `more`.
Vocabulary vocabulary_of(const Strings& more, bool lower_case = true) {
  Strings tokens{"[PAD]", "[UNK]", "[CLS]", "[SEP]"};
  tokens.insert(tokens.end(), more.begin(), more.end());
  return Vocabulary(std::move(tokens), lower_case, "the test's vocabulary");
}

std::string random_utf8(Rng& rng) {
  // Ranges in which every character is one: ASCII with controls, Latin with marks, CJK, private use, emoji,
  // the last ones.
  static constexpr std::pair<std::uint32_t, std::uint32_t> kRanges[] = {
      {0x0, 0x80},      {0x20, 0x5f},      {0x80, 0x800},    {0x300, 0x70},
      {0x2000, 0x70},   {0x4e00, 0x5000},  {0xe000, 0x1000}, {0xfff0, 0x10},
      {0x1f300, 0x400}, {0x10ff00, 0x100}, {0x20000, 0x100}};
  std::string text;
  const std::uint64_t length = rng.below(60);
  for (std::uint64_t i = 0; i < length; ++i) {
    const auto& [first, count] = kRanges[rng.below(std::size(kRanges))];
    const auto c = first + static_cast<std::uint32_t>(rng.below(count));
    const auto add = [&text](std::uint32_t byte) { text += static_cast<char>(byte); };
    if (c < 0x80) {
      add(c);
    } else if (c < 0x800) {
      add(0xc0 | (c >> 6));
      add(0x80 | (c & 63));
    } else if (c < 0x10000) {
      add(0xe0 | (c >> 12));
      add(0x80 | ((c >> 6) & 63));
      add(0x80 | (c & 63));
    } else {
      add(0xf0 | (c >> 18));
      add(0x80 | ((c >> 12) & 63));
      add(0x80 | ((c >> 6) & 63));
      add(0x80 | (c & 63));
    }
  }
  return text;
}

}  // namespace

BOOST_AUTO_TEST_CASE(words_and_pieces_equal_those_of_the_tokenizers_library) {
  const nlohmann::json expected = golden();
  const Strings tokens = expected["vocabulary"];
  const Vocabulary uncased(tokens, true, "golden"), cased(tokens, false, "golden");
  BOOST_TEST(expected["cases"].size() > 80);
  for (const auto& one : expected["cases"]) {
    const std::string text = one["text"];
    const bool lower_case = one["lower_case"];
    const Vocabulary& vocabulary = lower_case ? uncased : cased;
    BOOST_TEST_CONTEXT("text: " << text << (lower_case ? " (uncased)" : " (cased)")) {
      BOOST_TEST(basic_tokens(text, lower_case) == one["words"].get<Strings>(),
                 boost::test_tools::per_element());
      Ids ids = one["ids"];
      ids.insert(ids.begin(), vocabulary.cls());
      ids.push_back(vocabulary.sep());
      BOOST_TEST(Tokenizer(vocabulary).encode(text, 1000) == ids, boost::test_tools::per_element());
    }
  }
}

// Where the library and BERT's own code differ, BERT's own is followed. Worked out by hand from its
// definition: a word is lower-cased as a whole, so that a sigma at its end is the final one.
BOOST_AUTO_TEST_CASE(a_word_is_lower_cased_as_a_whole) {
  BOOST_TEST(basic_tokens("ΟΔΟΣ ΣΑΣ", true) == (Strings{"οδος", "σας"}), boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(the_longest_piece_is_taken_first) {
  const Vocabulary v = vocabulary_of({"un", "##aff", "##able", "una", "##ff", "##a"});
  Tokenizer tokenizer(v);
  BOOST_TEST(tokenizer.pieces_of("unaffable") == (Ids{7, 8, 6}), boost::test_tools::per_element());
  // Greedy: "una" "##ff" "##x" fails, and no other split is tried.
  BOOST_TEST(tokenizer.pieces_of("unaffx") == (Ids{1}), boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(a_text_is_cut_to_the_length_and_ends_with_sep) {
  const Vocabulary v = vocabulary_of({"a", "##a"});
  Tokenizer tokenizer(v);
  BOOST_TEST(tokenizer.encode("aaa a", 6) == (Ids{2, 4, 5, 5, 4, 3}), boost::test_tools::per_element());
  BOOST_TEST(tokenizer.encode("aaa a", 5) == (Ids{2, 4, 5, 5, 3}), boost::test_tools::per_element());
  BOOST_TEST(tokenizer.encode("aaa a", 2) == (Ids{2, 3}), boost::test_tools::per_element());
  BOOST_TEST(tokenizer.encode("", 5) == (Ids{2, 3}), boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(random_texts_give_ids_of_the_vocabulary) {
  Rng rng(7);
  std::vector<std::string> texts;
  for (int i = 0; i < 300; ++i) texts.push_back(random_utf8(rng));
  for (const bool lower_case : {true, false}) {
    const Vocabulary v = Vocabulary::build(texts, 600, lower_case);
    Tokenizer tokenizer(v);
    for (int i = 0; i < 3000; ++i) {
      const std::string text = random_utf8(rng);
      const int longest = 2 + static_cast<int>(rng.below(30));
      const Ids ids = tokenizer.encode(text, longest);
      BOOST_REQUIRE(ids.size() >= 2);
      BOOST_REQUIRE(ids.size() <= static_cast<std::size_t>(longest));
      BOOST_REQUIRE(ids.front() == v.cls());
      BOOST_REQUIRE(ids.back() == v.sep());
      for (const std::int32_t id : ids) BOOST_REQUIRE((id >= 0 && id < v.size()));
      for (const std::string& word : basic_tokens(text, lower_case)) BOOST_REQUIRE(!word.empty());
    }
  }
}

BOOST_AUTO_TEST_CASE(bytes_that_are_no_utf_8_are_dropped) {
  BOOST_TEST(basic_tokens("a\xff\xfe"
                          "b \xc3",
                          true) == (Strings{"ab"}),
             boost::test_tools::per_element());
}
