#pragma once

#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

namespace cos2p {

/// The word pieces of a text model; a piece's id is its place. Immutable.
class Vocabulary {
 public:
  /// Throws Error(data) naming `origin` where [PAD], [UNK], [CLS] or [SEP] is not among the tokens, or one of
  /// them is not UTF-8. Of equal tokens the last one counts, as in BERT. `lower_case`: texts are lower-cased
  /// and lose their accents before they are looked up ("uncased").
  Vocabulary(std::vector<std::string> tokens, bool lower_case, const std::string& origin);
  /// A vocab.txt: one token a line. Throws Error(data) as above, and where it cannot be read.
  static Vocabulary read(const std::string& path, bool lower_case);
  /// The content of a vocab.txt, and back. Throws Error(data) naming `origin` as above.
  static Vocabulary from_text(const std::string& text, bool lower_case, const std::string& origin);
  std::string to_text() const;
  /// At most `size` tokens from texts (UTF-8): the special ones, the characters seen at least twice, most
  /// frequent first where not all fit, then pieces made by joining the most frequent pair of neighbouring
  /// pieces again and again (byte-pair encoding, Sennrich et al. 2016), while a pair occurs twice. Depends on
  /// the texts as a multiset alone. Throws Error(usage) naming --vocabulary-size where it has no room for
  /// characters.
  static Vocabulary build(const std::vector<std::string>& texts, int size, bool lower_case);

  int size() const { return static_cast<int>(tokens_.size()); }
  const std::vector<std::string>& tokens() const { return tokens_; }
  bool lower_case() const { return lower_case_; }
  /// The id of a token, -1 where there is none.
  std::int32_t find(const std::string& token) const;
  std::int32_t pad() const { return pad_; }
  std::int32_t unknown() const { return unknown_; }
  std::int32_t cls() const { return cls_; }
  std::int32_t sep() const { return sep_; }
  bool operator==(const Vocabulary& o) const { return lower_case_ == o.lower_case_ && tokens_ == o.tokens_; }

 private:
  std::vector<std::string> tokens_;
  std::unordered_map<std::string, std::int32_t> ids_;
  bool lower_case_;
  std::int32_t pad_, unknown_, cls_, sep_;
};

}  // namespace cos2p
