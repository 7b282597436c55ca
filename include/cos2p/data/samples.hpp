#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cos2p/data/batch.hpp"
#include "cos2p/data/dataset.hpp"
#include "cos2p/data/vocabulary.hpp"

namespace cos2p {

/// How samples become network input; kept in checkpoints, so that a resumed run and an evaluation do what the
/// training did. Images have a normalization, texts a vocabulary.
struct InputEncoding {
  Normalization normalization;
  std::optional<Vocabulary> vocabulary;
};

/// Labelled samples of any kind, as the training loop and the evaluation see them.
class Samples {
 public:
  virtual ~Samples() = default;
  virtual const LabelledSet& set() const = 0;  ///< names and labels
  std::int64_t size() const { return set().size(); }

  /// The type of an input's elements: images are float32 values, texts the int32 ids of word pieces.
  enum class Element { float32, int32 };
  virtual Element element() const = 0;
  /// Sizes of the input tensor of these samples: (B, C, H, W), or (B, T) with the longest of these texts.
  virtual std::vector<std::int64_t> batch_shape(Span<const std::int64_t> indices) const = 0;
  /// Writes the input to `out`, which has room for batch_shape(). With `rng` (training) images are augmented.
  /// Behind the end of a text stands kPaddingId.
  virtual void fill(Span<const std::int64_t> indices, Rng* rng, Span<std::byte> out) const = 0;
  void fill_labels(Span<const std::int64_t> indices, Span<std::int64_t> out) const;
};

/// In place of a word piece where a text has ended: nothing is computed for it.
constexpr std::int32_t kPaddingId = -1;

/// Images, normalised.
class ImageSamples : public Samples {
 public:
  ImageSamples(ImageSet images, const Normalization& normalization, AugmentOptions augment)
      : images_(std::move(images)), batches_(images_, normalization, augment) {}
  ImageSamples(const ImageSamples&) = delete;
  ImageSamples& operator=(const ImageSamples&) = delete;
  ~ImageSamples() override = default;
  const ImageSet& set() const override { return images_; }
  Element element() const override { return Element::float32; }
  std::vector<std::int64_t> batch_shape(Span<const std::int64_t> indices) const override;
  void fill(Span<const std::int64_t> indices, Rng* rng, Span<std::byte> out) const override;

 private:
  ImageSet images_;
  BatchMaker batches_;
};

/// Texts as word pieces, tokenized once.
class TextSamples : public Samples {
 public:
  /// Each text is cut to `max_length` ids, [CLS] and [SEP] among them.
  TextSamples(const TextSet& texts, const Vocabulary& vocabulary, int max_length);
  const LabelledSet& set() const override { return set_; }
  Element element() const override { return Element::int32; }
  std::vector<std::int64_t> batch_shape(Span<const std::int64_t> indices) const override;
  void fill(Span<const std::int64_t> indices, Rng* rng, Span<std::byte> out) const override;
  /// Ids of one text, without padding.
  Span<const std::int32_t> ids(std::int64_t index) const;
  /// Share of the texts that were cut, in [0, 1].
  double share_cut() const { return share_cut_; }

 private:
  LabelledSet set_;
  std::vector<std::int32_t> ids_;      // of all texts, one after another
  std::vector<std::int64_t> offsets_;  // (N + 1)
  double share_cut_ = 0;
};

}  // namespace cos2p
