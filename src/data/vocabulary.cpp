#include "cos2p/data/vocabulary.hpp"

#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <queue>
#include <set>
#include <utility>

#include "cos2p/data/tokenizer.hpp"
#include "cos2p/support/error.hpp"
#include "cos2p/support/narrow.hpp"
#include "text_file.hpp"

namespace cos2p {
namespace {

const std::vector<std::string> kSpecial{"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"};
constexpr std::int64_t kSeenOftenEnough = 2;
const std::string kContinues = "##";

/// A word of the training texts as the pieces it is made of so far.
struct Word {
  std::vector<std::int32_t> pieces;
  std::int64_t count = 0;
};

using Pair = std::pair<std::int32_t, std::int32_t>;

/// A pair of neighbouring pieces, waiting to be joined; the most frequent first, then by its text, so that
/// nothing depends on the order of a hash table.
struct Candidate {
  std::int64_t count;
  std::string left, right;
  Pair pair;
  bool operator<(const Candidate& o) const {
    if (count != o.count) return count < o.count;
    return std::tie(left, right) > std::tie(o.left, o.right);
  }
};

/// Joins pairs of pieces until the vocabulary is full.
class PairJoiner {
 public:
  PairJoiner(std::vector<std::string> tokens, std::size_t size) : tokens_(std::move(tokens)), size_(size) {
    for (std::size_t i = 0; i < tokens_.size(); ++i) ids_.emplace(tokens_[i], static_cast<std::int32_t>(i));
  }

  /// Words with a character that is no token are left out: they are [UNK] anyway.
  void add(const std::string& text, std::int64_t count) {
    Word word;
    word.count = count;
    for (const std::string& character : characters_of(text)) {
      const auto found = ids_.find(word.pieces.empty() ? character : kContinues + character);
      if (found == ids_.end()) return;
      word.pieces.push_back(found->second);
    }
    if (word.pieces.size() > 1) words_.push_back(std::move(word));
  }

  std::vector<std::string> run() {
    for (std::size_t w = 0; w < words_.size(); ++w) count_pairs(w, +1);
    for (const auto& [pair, places] : pairs_) offer(pair);
    while (tokens_.size() < size_ && !queue_.empty()) {
      const Candidate best = queue_.top();
      queue_.pop();
      const auto found = pairs_.find(best.pair);
      if (found == pairs_.end() || found->second.count != best.count) continue;  // counted anew since
      if (best.count < kSeenOftenEnough) break;
      join(best);
    }
    return std::move(tokens_);
  }

 private:
  struct Places {
    std::int64_t count = 0;
    std::set<std::size_t> words;
  };

  void offer(const Pair& pair) {
    const std::int64_t count = pairs_[pair].count;
    if (count < kSeenOftenEnough) return;
    queue_.push({count, tokens_[static_cast<std::size_t>(pair.first)],
                 tokens_[static_cast<std::size_t>(pair.second)], pair});
  }

  void count_pairs(std::size_t w, int sign) {
    const Word& word = words_[w];
    for (std::size_t i = 0; i + 1 < word.pieces.size(); ++i) {
      Places& places = pairs_[{word.pieces[i], word.pieces[i + 1]}];
      places.count += sign * word.count;
      if (sign > 0) places.words.insert(w);
    }
  }

  void join(const Candidate& best) {
    const std::string joined = best.left + best.right.substr(kContinues.size());
    const auto [entry, is_new] = ids_.emplace(joined, narrow<std::int32_t>(tokens_.size(), "vocabulary"));
    if (is_new) tokens_.push_back(joined);
    const std::set<std::size_t> places = pairs_[best.pair].words;
    std::set<Pair> changed;
    for (const std::size_t w : places) {
      count_pairs(w, -1);
      std::vector<std::int32_t>& pieces = words_[w].pieces;
      std::size_t out = 0;
      for (std::size_t i = 0; i < pieces.size(); ++i, ++out) {
        const bool here =
            i + 1 < pieces.size() && pieces[i] == best.pair.first && pieces[i + 1] == best.pair.second;
        pieces[out] = here ? entry->second : pieces[i];
        if (here) ++i;
      }
      pieces.resize(out);
      count_pairs(w, +1);
      for (std::size_t i = 0; i + 1 < pieces.size(); ++i) changed.insert({pieces[i], pieces[i + 1]});
    }
    pairs_.erase(best.pair);
    for (const Pair& pair : changed) offer(pair);
  }

  std::vector<std::string> tokens_;
  std::size_t size_;
  std::map<std::string, std::int32_t> ids_;
  std::vector<Word> words_;
  std::map<Pair, Places> pairs_;
  std::priority_queue<Candidate> queue_;
};

/// The characters seen often enough, as beginnings and as continuations of words; at most `room` of these
/// tokens, those of the most frequent characters, in the order of their text.
std::vector<std::string> alphabet_of(const std::map<std::string, std::int64_t>& words, std::size_t room) {
  std::map<std::string, std::int64_t> counts;
  for (const auto& [word, count] : words) {
    bool first = true;
    for (const std::string& character : characters_of(word)) {
      counts[first ? character : kContinues + character] += count;
      first = false;
    }
  }
  std::vector<std::pair<std::int64_t, std::string>> kept;
  for (const auto& [token, count] : counts) {
    if (count >= kSeenOftenEnough) kept.emplace_back(-count, token);
  }
  std::sort(kept.begin(), kept.end());
  if (kept.size() > room) kept.resize(room);
  std::vector<std::string> tokens;
  tokens.reserve(kept.size());
  for (const auto& [count, token] : kept) tokens.push_back(token);
  std::sort(tokens.begin(), tokens.end());
  return tokens;
}

}  // namespace

Vocabulary::Vocabulary(std::vector<std::string> tokens, bool lower_case, const std::string& origin)
    : tokens_(std::move(tokens)), lower_case_(lower_case) {
  for (std::size_t i = 0; i < tokens_.size(); ++i) ids_[tokens_[i]] = narrow<std::int32_t>(i, "vocabulary");
  std::vector<std::string> missing;
  for (const char* token : {"[PAD]", "[UNK]", "[CLS]", "[SEP]"}) {
    if (find(token) < 0) missing.emplace_back(token);
  }
  if (!missing.empty()) {
    fail(ExitCode::data,
         "{} is no vocabulary of a BERT model ({} is not among its {} tokens), give a vocab.txt with one "
         "token "
         "a line",
         origin, fmt::join(missing, ", "), tokens_.size());
  }
  pad_ = find("[PAD]");
  unknown_ = find("[UNK]");
  cls_ = find("[CLS]");
  sep_ = find("[SEP]");
}

Vocabulary Vocabulary::read(const std::string& path, bool lower_case) {
  return from_text(data::read_text_file(path), lower_case, path);
}

Vocabulary Vocabulary::from_text(const std::string& text, bool lower_case, const std::string& origin) {
  return Vocabulary(data::lines_of(text), lower_case, origin);
}

std::string Vocabulary::to_text() const {
  return fmt::format("{}\n", fmt::join(tokens_, "\n"));
}

Vocabulary Vocabulary::build(const std::vector<std::string>& texts, int size, bool lower_case) {
  const std::size_t least = kSpecial.size() + 1;
  if (size <= narrow<int>(least)) {
    fail(ExitCode::usage,
         "--vocabulary-size {} is too small ({} tokens are special, and pieces must have room), give some "
         "thousands",
         size, kSpecial.size());
  }
  std::unordered_map<std::string, std::int64_t> counts;
  for (const std::string& text : texts) {
    for (std::string& word : basic_tokens(text, lower_case)) ++counts[std::move(word)];
  }
  std::map<std::string, std::int64_t> words;  // in an order that does not depend on the machine
  for (const auto& [word, count] : counts) {
    if (characters_of(word).size() <= kLongestWord) words.emplace(word, count);
  }
  const auto target = static_cast<std::size_t>(size);
  std::vector<std::string> tokens = kSpecial;
  for (std::string& token : alphabet_of(words, target - kSpecial.size())) tokens.push_back(std::move(token));
  PairJoiner joiner(std::move(tokens), target);
  for (const auto& [word, count] : words) joiner.add(word, count);
  return Vocabulary(joiner.run(), lower_case, "the vocabulary made from the training texts");
}

std::int32_t Vocabulary::find(const std::string& token) const {
  const auto found = ids_.find(token);
  return found == ids_.end() ? -1 : found->second;
}

}  // namespace cos2p
