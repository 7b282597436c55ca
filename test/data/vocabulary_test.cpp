#include "cos2p/data/vocabulary.hpp"

#include <algorithm>

#include "cos2p/data/tokenizer.hpp"
#include "cos2p/support/random.hpp"
#include "data/data_test_files.hpp"

using namespace cos2p;
using namespace data_test;
using Strings = std::vector<std::string>;

namespace {

void write_lines(const std::string& path, const std::string& text) {
  write_file(path, Bytes(text.begin(), text.end()));
}

}  // namespace

BOOST_AUTO_TEST_CASE(a_vocabulary_file_is_read_in_order) {
  const TemporaryDirectory dir;
  write_lines(dir / "vocab.txt", "[PAD]\nthe\r\n[UNK]\n[CLS]\n[SEP]\n##s\n");
  const Vocabulary v = Vocabulary::read(dir / "vocab.txt", true);
  BOOST_TEST(v.size() == 6);
  BOOST_TEST(v.find("the") == 1);
  BOOST_TEST(v.find("##s") == 5);
  BOOST_TEST(v.find("thes") == -1);
  BOOST_TEST(v.pad() == 0);
  BOOST_TEST(v.unknown() == 2);
  BOOST_TEST(v.cls() == 3);
  BOOST_TEST(v.sep() == 4);
}

BOOST_AUTO_TEST_CASE(a_vocabulary_without_special_tokens_is_refused) {
  const TemporaryDirectory dir;
  const std::string path = dir / "vocab.txt";
  for (const std::string missing : {"[PAD]", "[UNK]", "[CLS]", "[SEP]"}) {
    std::string text = "word\n";
    for (const std::string token : {"[PAD]", "[UNK]", "[CLS]", "[SEP]"})
      text += token == missing ? "" : token + "\n";
    write_lines(path, text);
    check_error(ExitCode::data, {path, missing, "4 tokens", "vocab.txt"},
                [&] { Vocabulary::read(path, true); });
  }
  write_lines(path, "");
  check_error(ExitCode::data, {path, "[PAD], [UNK], [CLS], [SEP]"}, [&] { Vocabulary::read(path, true); });
  write_lines(path, "[PAD]\n[UNK]\n[CLS]\n[SEP]\nna\xefve\n");
  check_error(ExitCode::data, {path, "not UTF-8", "line 5, byte 3"}, [&] { Vocabulary::read(path, true); });
  check_error(ExitCode::data, {dir / "none.txt", "cannot be read"},
              [&] { Vocabulary::read(dir / "none.txt", true); });
}

// By hand: "aab" 5 times, "ab" twice, "b" once, "c" once. Characters seen twice: a, ##a, ##b (b begins a word
// once, c once). Pairs: (a, ##a) 5, (##a, ##b) 5, (a, ##b) 2. Of the two with 5 the smaller text comes first:
// "##a" < "a". Joined: ##ab; then (a, ##ab) 5: aab; then (a, ##b) 2: ab.
BOOST_AUTO_TEST_CASE(pairs_are_joined_by_frequency) {
  const std::vector<std::string> texts{"aab aab ab", "aab aab b", "c ab aab"};
  const Vocabulary v = Vocabulary::build(texts, 100, true);
  BOOST_TEST(v.tokens() == (Strings{"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "##a", "##b", "a", "##ab",
                                    "aab", "ab"}),
             boost::test_tools::per_element());
  BOOST_TEST(Vocabulary::build(texts, 9, true).tokens().back() == "##ab");
  BOOST_TEST(Vocabulary::build(texts, 9, true).size() == 9);
}

BOOST_AUTO_TEST_CASE(a_built_vocabulary_does_not_depend_on_the_order_of_the_texts) {
  Rng rng(3);
  std::vector<std::string> texts;
  for (int i = 0; i < 200; ++i) {
    std::string text;
    for (int word = 0; word < 8; ++word) {
      for (std::uint64_t letters = 1 + rng.below(6); letters > 0; --letters)
        text += static_cast<char>('a' + rng.below(5));
      text += ' ';
    }
    texts.push_back(text);
  }
  const Vocabulary v = Vocabulary::build(texts, 300, true);
  BOOST_TEST(v.size() == 300);
  rng.shuffle(texts);
  BOOST_TEST((Vocabulary::build(texts, 300, true) == v));
  // With the characters in it nothing of the texts it was made from is unknown.
  Tokenizer tokenizer(v);
  for (const std::string& text : texts) {
    const std::vector<std::int32_t> ids = tokenizer.encode(text, 1000);
    BOOST_TEST(std::count(ids.begin(), ids.end(), v.unknown()) == 0);
  }
  std::vector<std::string> sorted = v.tokens();
  std::sort(sorted.begin(), sorted.end());
  BOOST_TEST((std::adjacent_find(sorted.begin(), sorted.end()) == sorted.end()));
}

BOOST_AUTO_TEST_CASE(few_tokens_keep_the_most_frequent_characters) {
  const Vocabulary v = Vocabulary::build({"x x x y y z z z z"}, 7, false);
  BOOST_TEST(v.tokens() == (Strings{"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "x", "z"}),
             boost::test_tools::per_element());
  check_error(ExitCode::usage, {"--vocabulary-size 6", "too small"},
              [] { Vocabulary::build({"x x"}, 6, true); });
}
