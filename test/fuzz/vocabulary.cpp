// Vocabulary files, the tokenizer with what they hold, and vocabularies made from texts.
// Input: a byte of flags, a length, then the vocabulary and, after a byte ff, a text.
#include "cos2p/data/tokenizer.hpp"
#include "fuzz/data_sets.hpp"

using namespace cos2p;
using namespace cos2p::fuzz;

namespace {

/// All ranks and checkpoints hold the same vocabulary, which travels as a text.
void check_same(const Vocabulary& vocabulary) {
  const Vocabulary again = Vocabulary::from_text(vocabulary.to_text(), vocabulary.lower_case(), "its text");
  if (!(again == vocabulary)) found("a vocabulary is another one after it was written and read");
}

void tokenize(const Vocabulary& vocabulary, const std::string& text, int max_length) {
  Tokenizer tokenizer(vocabulary);
  const std::vector<std::int32_t> ids = tokenizer.encode(text, max_length);
  if (ids.size() < 2 || ids.size() > static_cast<std::size_t>(max_length)) found("ids of a wrong number");
  if (ids.front() != vocabulary.cls() || ids.back() != vocabulary.sep()) found("no [CLS] or no [SEP]");
  for (const std::int32_t id : ids) {
    if (id < 0 || id >= vocabulary.size()) found("an id that is not in the vocabulary");
  }
}

}  // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  keep_quiet();
  static const Directory directory;
  static MaybeCompressed file(directory, "vocab.txt");

  Input input(data, size);
  const std::uint8_t flags = input.byte();
  const int max_length = 2 + static_cast<int>(input.choice(64));
  const bool lower_case = (flags & 4U) != 0;
  const bool compressed = (flags & 3U) == 1 || (flags & 3U) == 2;
  const Bytes vocabulary_bytes = input.until(0xff);
  const std::string text = text_of(input.rest());
  file.place(flags & 3U, vocabulary_bytes);
  read_or_refused({ExitCode::data}, [&] {
    const std::string path = directory.path() + (compressed ? "/vocab.txt.gz" : "/vocab.txt");
    const Vocabulary vocabulary = Vocabulary::read(path, lower_case);
    check_same(vocabulary);
    tokenize(vocabulary, text, max_length);
  });
  if ((flags & 8U) == 0) return 0;
  read_or_refused({ExitCode::usage}, [&] {
    const std::string other = text_of(vocabulary_bytes);
    const Vocabulary made = Vocabulary::build({text, other, text}, flags >> 4 << 3, lower_case);
    check_same(made);
    tokenize(made, text, max_length);
    tokenize(made, other, max_length);
  });
  return 0;
}
