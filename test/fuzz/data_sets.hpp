// What must hold of each data set that a reader returns: it is used here as a run would use it.
#pragma once

#include <algorithm>

#include "cos2p/data/samples.hpp"
#include "fuzz/support.hpp"

namespace cos2p::fuzz {

inline void check_labels(const LabelledSet& set, std::size_t samples) {
  if (set.labels.size() != samples) found("not as many labels as samples");
  for (const std::int32_t label : set.labels) {
    if (label < 0 || label >= set.classes) found("a label that is no class");
  }
}

inline void check_images(Dataset dataset) {
  for (ImageSet* set : {&dataset.train, &dataset.test}) {
    const auto bytes = static_cast<std::size_t>(set->image_bytes());
    if (bytes == 0 || set->pixels.size() % bytes != 0) found("images of no whole number");
    check_labels(*set, set->pixels.size() / bytes);
    const Normalization normalization = measure_normalization(*set);
    const ImageSamples samples(std::move(*set), normalization, {});
    const std::vector<std::int64_t> first{0, samples.size() - 1};
    std::vector<std::byte> batch(2 * bytes * sizeof(float));
    samples.fill(first, nullptr, batch);
  }
}

inline void check_texts(const TextDataset& dataset) {
  for (const TextSet* set : {&dataset.train, &dataset.test}) check_labels(*set, set->texts.size());
}

}  // namespace cos2p::fuzz
