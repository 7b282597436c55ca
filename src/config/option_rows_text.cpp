#include <limits>

#include "option_rows.hpp"
#include "toml.hpp"

namespace cos2p::config {
namespace {

constexpr int kLongest = 4096, kLargestVocabulary = 1 << 20;

void set_text_model(RunOptions& o, const Values& values) {
  const std::string& text = values.back();
  const std::size_t by = text.find('x');
  try {
    if (by == std::string::npos) throw BadValue{};
    o.model.max_length = static_cast<int>(parse_whole(text.substr(0, by), 2, kLongest));
    o.model.vocabulary = static_cast<int>(parse_whole(text.substr(by + 1), 6, kLargestVocabulary));
  } catch (const BadValue&) {
    throw BadValue{"length and vocabulary size of the texts, for example 128x30522"};
  }
}

}  // namespace

void add_texts(Table& t) {
  const auto texts = [](const RunOptions& o) { return holds_texts(o.dataset.kind); };
  const std::string none = "its samples are images, not texts";
  t.group("Texts", kTrain);
  only(t.whole("max-length", AT(model.max_length), 2, kLongest,
               "word pieces of a text, [CLS] and [SEP] among them; longer texts are cut"),
       "dataset", texts, none);
  OptionSpec& vocabulary =
      t.text("vocabulary", AT(text.vocabulary), "FILE",
             "a BERT model's vocab.txt; without it word pieces are made from the training texts");
  only(vocabulary, "dataset", texts, none);
  OptionSpec& size = t.whole("vocabulary-size", AT(text.vocabulary_size), 6, kLargestVocabulary,
                             "word pieces to make, at most");
  size.objections.push_back({"dataset", [texts, none](const RunOptions& o) -> std::string {
                               if (!texts(o)) return std::string(none);
                               return o.text.vocabulary.empty()
                                          ? ""
                                          : "--vocabulary names a file that has a size of its own";
                             }});
  only(t.flag("cased", AT(text.cased), "keep upper case and accents; a vocabulary must be made for it"),
       "dataset", texts, none);
  t.group("Model", kPlan);
  OptionSpec& plan =
      t.add("text", "LxV", "a model of texts: longest text in word pieces, size of the vocabulary");
  plan.default_text = "none";
  plan.exclusive_with = "image";
  plan.set = set_text_model;
  plan.get = [](const RunOptions& o) {
    return toml_string(fmt::format("{}x{}", o.model.max_length, o.model.vocabulary));
  };
}

}  // namespace cos2p::config
