#include "cos2p/data/samples.hpp"

#include <algorithm>

#include "cos2p/data/tokenizer.hpp"
#include "cos2p/support/error.hpp"
#include "cos2p/support/narrow.hpp"

namespace cos2p {

void Samples::fill_labels(Span<const std::int64_t> indices, Span<std::int64_t> out) const {
  COS2P_ASSERT(out.size() == indices.size());
  const std::vector<std::int32_t>& labels = set().labels;
  for (std::size_t b = 0; b < indices.size(); ++b) out[b] = labels.at(static_cast<std::size_t>(indices[b]));
}

std::vector<std::int64_t> ImageSamples::batch_shape(Span<const std::int64_t> indices) const {
  return {narrow<std::int64_t>(indices.size()), images_.channels, images_.height, images_.width};
}

void ImageSamples::fill(Span<const std::int64_t> indices, Rng* rng, Span<std::byte> out) const {
  batches_.fill(indices, rng, {reinterpret_cast<float*>(out.data()), out.size() / sizeof(float)});
}

TextSamples::TextSamples(const TextSet& texts, const Vocabulary& vocabulary, int max_length) : set_(texts) {
  Tokenizer tokenizer(vocabulary);
  offsets_.push_back(0);
  std::int64_t cut = 0;
  for (const std::string& text : texts.texts) {
    // One id more than fits tells whether the text was cut.
    std::vector<std::int32_t> ids = tokenizer.encode(text, max_length + 1);
    if (narrow<int>(ids.size()) > max_length) {
      ++cut;
      ids.pop_back();
      ids.back() = vocabulary.sep();
    }
    ids_.insert(ids_.end(), ids.begin(), ids.end());
    offsets_.push_back(narrow<std::int64_t>(ids_.size()));
  }
  share_cut_ = static_cast<double>(cut) / static_cast<double>(std::max<std::int64_t>(1, size()));
}

Span<const std::int32_t> TextSamples::ids(std::int64_t index) const {
  const auto i = static_cast<std::size_t>(index);
  COS2P_ASSERT(index >= 0 && index < size());
  return {ids_.data() + offsets_[i], static_cast<std::size_t>(offsets_[i + 1] - offsets_[i])};
}

std::vector<std::int64_t> TextSamples::batch_shape(Span<const std::int64_t> indices) const {
  std::size_t longest = 0;
  for (const std::int64_t index : indices) longest = std::max(longest, ids(index).size());
  return {narrow<std::int64_t>(indices.size()), narrow<std::int64_t>(longest)};
}

void TextSamples::fill(Span<const std::int64_t> indices, Rng*, Span<std::byte> out) const {
  const auto longest = static_cast<std::size_t>(batch_shape(indices)[1]);
  COS2P_ASSERT(out.size() == indices.size() * longest * sizeof(std::int32_t));
  auto* row = reinterpret_cast<std::int32_t*>(out.data());
  for (const std::int64_t index : indices) {
    const Span<const std::int32_t> text = ids(index);
    std::copy(text.begin(), text.end(), row);
    std::fill(row + text.size(), row + longest, kPaddingId);
    row += longest;
  }
}

}  // namespace cos2p
