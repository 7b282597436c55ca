#pragma once

#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

#include "cos2p/data/vocabulary.hpp"

namespace cos2p {

/// Longer words, in characters, are [UNK] as a whole, as in BERT.
constexpr int kLongestWord = 100;

/// Splits a text (UTF-8) into words as BERT does (Devlin et al. 2019): control characters are dropped, every
/// Chinese character and every punctuation character is a word, white space separates. With `lower_case`
/// letters are lower-cased and lose their accents (canonical decomposition without non-spacing marks). Bytes
/// that are no UTF-8 are dropped.
std::vector<std::string> basic_tokens(const std::string& text, bool lower_case);

/// The characters (UTF-8) of a word.
std::vector<std::string> characters_of(const std::string& word);

/// Turns texts into the ids of word pieces. Remembers words it has seen, so it is not for several threads.
class Tokenizer {
 public:
  explicit Tokenizer(const Vocabulary& vocabulary)
      : vocabulary_(vocabulary) {}  ///< must outlive the tokenizer

  /// Greedy, longest piece first; pieces after the first begin with "##"; a word of which a part is in no
  /// piece is [UNK] as a whole.
  const std::vector<std::int32_t>& pieces_of(const std::string& word);
  /// [CLS], the pieces of the text, [SEP]; cut to `max_length` >= 2 ids, of which [SEP] stays the last.
  std::vector<std::int32_t> encode(const std::string& text, int max_length);

 private:
  const Vocabulary& vocabulary_;
  std::unordered_map<std::string, std::vector<std::int32_t>> known_;
};

}  // namespace cos2p
