#include "cos2p/data/tokenizer.hpp"

#include <unicode/locid.h>
#include <unicode/normalizer2.h>
#include <unicode/uchar.h>
#include <unicode/unistr.h>
#include <unicode/utf8.h>

#include <algorithm>

#include "cos2p/support/error.hpp"
#include "cos2p/support/narrow.hpp"

namespace cos2p {
namespace {

/// Calls f(character) for each character of a text; what is no UTF-8 comes as U+FFFD.
template <typename F>
void for_each_character(const std::string& text, const F& f) {
  const auto size = narrow<std::int32_t>(text.size(), "text size");
  for (std::int32_t i = 0; i < size;) {
    UChar32 c = 0;
    U8_NEXT(text.data(), i, size, c);
    f(c < 0 ? UChar32{0xfffd} : c);
  }
}

void append(std::string& text, UChar32 c) {
  char bytes[4];
  std::int32_t count = 0;
  U8_APPEND_UNSAFE(bytes, count, c);
  text.append(bytes, static_cast<std::size_t>(count));
}

bool is_space(UChar32 c) {
  return u_isUWhiteSpace(c) != 0;
}

/// Control, format and private-use characters: they are dropped. (Tab and line ends are white space.)
bool is_control(UChar32 c) {
  return (U_MASK(u_charType(c)) & (U_GC_CC_MASK | U_GC_CF_MASK | U_GC_CO_MASK)) != 0;
}

/// All that is neither letter nor digit nor white space in ASCII, and what Unicode calls punctuation.
bool is_punctuation(UChar32 c) {
  if (c < 128)
    return (c >= 33 && c <= 47) || (c >= 58 && c <= 64) || (c >= 91 && c <= 96) || (c >= 123 && c <= 126);
  return (U_MASK(u_charType(c)) & U_GC_P_MASK) != 0;
}

/// The blocks that BERT calls Chinese characters (CJK ideographs; not kana, not hangul).
bool is_chinese(UChar32 c) {
  return (c >= 0x4e00 && c <= 0x9fff) || (c >= 0x3400 && c <= 0x4dbf) || (c >= 0x20000 && c <= 0x2a6df) ||
         (c >= 0x2a700 && c <= 0x2b73f) || (c >= 0x2b740 && c <= 0x2b81f) || (c >= 0x2b820 && c <= 0x2ceaf) ||
         (c >= 0xf900 && c <= 0xfaff) || (c >= 0x2f800 && c <= 0x2fa1f);
}

/// Lower case, then canonical decomposition without the marks.
std::string lowered(const std::string& word) {
  if (std::all_of(word.begin(), word.end(), [](char c) { return static_cast<signed char>(c) >= 0; })) {
    std::string result = word;
    for (char& c : result) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    return result;
  }
  UErrorCode status = U_ZERO_ERROR;
  const icu::Normalizer2* const decomposition = icu::Normalizer2::getNFDInstance(status);
  COS2P_ASSERT(U_SUCCESS(status) != 0);
  icu::UnicodeString text = icu::UnicodeString::fromUTF8(word);
  text.toLower(icu::Locale::getRoot());
  const icu::UnicodeString decomposed = decomposition->normalize(text, status);
  COS2P_ASSERT(U_SUCCESS(status) != 0);
  std::string result;
  for (std::int32_t i = 0; i < decomposed.length(); i = decomposed.moveIndex32(i, 1)) {
    const UChar32 c = decomposed.char32At(i);
    if (u_charType(c) != U_NON_SPACING_MARK) append(result, c);
  }
  return result;
}

/// Appends the words of one piece between white space: punctuation stands alone.
void split_at_punctuation(const std::string& word, std::vector<std::string>& words) {
  bool open = false;
  for_each_character(word, [&](UChar32 c) {
    const bool alone = is_punctuation(c);
    if (alone || !open) words.emplace_back();
    append(words.back(), c);
    open = !alone;
  });
}

}  // namespace

std::vector<std::string> basic_tokens(const std::string& text, bool lower_case) {
  std::vector<std::string> words;
  std::string word;
  const auto finish = [&] {
    if (!word.empty()) split_at_punctuation(lower_case ? lowered(word) : word, words);
    word.clear();
  };
  for_each_character(text, [&](UChar32 c) {
    const bool line_end = c == '\t' || c == '\n' || c == '\r';
    if (c == 0xfffd || (!line_end && is_control(c))) return;
    if (is_space(c)) {
      finish();
    } else if (is_chinese(c)) {
      finish();
      append(word, c);
      finish();
    } else {
      append(word, c);
    }
  });
  finish();
  return words;
}

std::vector<std::string> characters_of(const std::string& word) {
  std::vector<std::string> characters;
  for_each_character(word, [&](UChar32 c) {
    characters.emplace_back();
    append(characters.back(), c);
  });
  return characters;
}

const std::vector<std::int32_t>& Tokenizer::pieces_of(const std::string& word) {
  const auto [entry, is_new] = known_.try_emplace(word);
  std::vector<std::int32_t>& pieces = entry->second;
  if (!is_new) return pieces;
  std::vector<std::size_t> ends{0};  // of the first k characters, bytes
  for (const std::string& character : characters_of(word)) ends.push_back(ends.back() + character.size());
  const std::size_t count = ends.size() - 1;
  for (std::size_t begin = 0; count <= kLongestWord && begin < count;) {
    std::size_t end = count;
    std::int32_t id = -1;
    for (; end > begin; --end) {
      const std::string piece = word.substr(ends[begin], ends[end] - ends[begin]);
      id = vocabulary_.find(begin == 0 ? piece : "##" + piece);
      if (id >= 0) break;
    }
    if (id < 0) {
      pieces.clear();
      break;
    }
    pieces.push_back(id);
    begin = end;
  }
  if (pieces.empty()) pieces = {vocabulary_.unknown()};
  return pieces;
}

std::vector<std::int32_t> Tokenizer::encode(const std::string& text, int max_length) {
  COS2P_ASSERT(max_length >= 2);
  const auto most = static_cast<std::size_t>(max_length) - 1;
  std::vector<std::int32_t> ids{vocabulary_.cls()};
  for (const std::string& word : basic_tokens(text, vocabulary_.lower_case())) {
    if (ids.size() >= most) break;
    const std::vector<std::int32_t>& pieces = pieces_of(word);
    ids.insert(ids.end(), pieces.begin(), pieces.end());
  }
  if (ids.size() > most) ids.resize(most);
  ids.push_back(vocabulary_.sep());
  return ids;
}

}  // namespace cos2p
