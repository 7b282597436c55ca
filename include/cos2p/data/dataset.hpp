#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "cos2p/support/span.hpp"

namespace cos2p {

/// What images and texts have in common.
struct LabelledSet {
  std::string name;                ///< "fashion-mnist"
  std::vector<std::string> files;  ///< the files it was read from; empty for the synthetic set
  int classes = 0;
  std::vector<std::int32_t> labels;  ///< (N), each in [0, classes)

  std::int64_t size() const { return static_cast<std::int64_t>(labels.size()); }
};

/// Labelled images in memory, as bytes: nothing is normalised or augmented here (BatchMaker does that per
/// batch).
struct ImageSet : LabelledSet {
  int height = 0, width = 0, channels = 0;
  std::vector<std::uint8_t> pixels;  ///< (N, H, W, C)

  std::int64_t image_bytes() const { return std::int64_t{height} * width * channels; }
  Span<const std::uint8_t> image(std::int64_t i) const {  ///< (H, W, C)
    return {pixels.data() + i * image_bytes(), static_cast<std::size_t>(image_bytes())};
  }
};

/// Labelled texts in memory, UTF-8.
struct TextSet : LabelledSet {
  std::vector<std::string> texts;  ///< (N)
};

/// ag_news is any CSV file laid out like AG News, glue any single-sentence task of GLUE.
enum class DatasetKind {
  fashion_mnist,
  mnist,
  cifar_10,
  cifar_100,
  hdf5,
  synthetic,
  ag_news,
  newsgroups_20,
  glue,
  sst_2
};
bool holds_texts(DatasetKind kind);
/// The spelling of the command line ("fashion-mnist") and back; parse throws Error(usage) listing the
/// choices.
std::string to_string(DatasetKind kind);
DatasetKind parse_dataset_kind(const std::string& text);

struct DatasetOptions {
  DatasetKind kind = DatasetKind::synthetic;
  std::string data_dir;        ///< where the official files lie (searched in it and one directory below)
  bool coarse_labels = false;  ///< CIFAR-100: the 20 coarse labels instead of the 100 fine ones
  std::int64_t synthetic_train = 4096, synthetic_test = 1024;  ///< sizes of the built-in set
  /// Keep so many records: the first, or of a set sorted by class at equal distances; 0 = all.
  std::int64_t limit_train = 0, limit_test = 0;
  std::uint64_t seed = 0;  ///< of the built-in set
};

/// The training and test parts; both have the same shape and classes.
struct Dataset {
  ImageSet train, test;
};

struct TextDataset {
  TextSet train, test;
};

/// Reads a set of images by its official file names, compressed or not.
/// Throws Error(data) naming file, reason and cure: missing, truncated, over-long or mislabelled files,
/// labels out of range.
Dataset load_dataset(const DatasetOptions& options);
/// The same for texts. Also refused: what is not UTF-8 (with line and byte), rows with a wrong number of
/// fields (with line), classes that are unknown, empty sets.
TextDataset load_text_dataset(const DatasetOptions& options);

}  // namespace cos2p
