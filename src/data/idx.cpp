// IDX, the format of MNIST and its relatives: two zero bytes, the element type (8 = unsigned byte), the
// number of dimensions, each dimension as a big-endian 32-bit number, then the elements.
#include <algorithm>
#include <array>

#include "cos2p/support/error.hpp"
#include "data_file.hpp"
#include "readers.hpp"

namespace cos2p::data {
namespace {

constexpr int least_classes = 10;
constexpr std::uint32_t image_magic = 0x00000803, label_magic = 0x00000801;

std::vector<std::string> image_names(const std::string& part) {
  return {part + "-images-idx3-ubyte", part + "-images.idx3-ubyte"};
}
std::vector<std::string> label_names(const std::string& part) {
  return {part + "-labels-idx1-ubyte", part + "-labels.idx1-ubyte"};
}

std::uint32_t read_number(DataFile& file) {
  std::array<std::uint8_t, 4> b{};
  file.read(b.data(), b.size());
  return (std::uint32_t{b[0]} << 24) | (std::uint32_t{b[1]} << 16) | (std::uint32_t{b[2]} << 8) | b[3];
}

void check_magic(DataFile& file, std::uint32_t expected, const char* what) {
  const std::uint32_t found = read_number(file);
  if (found == expected) return;
  const char* reason = found == image_magic   ? "these are images"
                       : found == label_magic ? "these are labels"
                                              : "it is no IDX file of unsigned bytes";
  fail(ExitCode::data, "{} is no IDX file of {} (magic number 0x{:08x} instead of 0x{:08x}: {}), {}",
       file.path(), what, found, expected, reason, file.cure());
}

void read_images(const std::string& path, const std::string& cure, ImageSet& set) {
  DataFile file(path, cure);
  check_magic(file, image_magic, "images");
  const std::uint64_t count = read_number(file), height = read_number(file), width = read_number(file);
  if (count == 0 || height == 0 || width == 0 || height > largest_side || width > largest_side) {
    fail(ExitCode::data,
         "{} has impossible dimensions ({} images of {}x{} pixels; sides of 1 to {} are possible), {}", path,
         count, height, width, largest_side, cure);
  }
  const std::uint64_t bytes = count * height * width;  // below 2^58
  file.expect_size(16 + bytes, fmt::format("its header, {} images of {}x{}", count, height, width));
  set.height = static_cast<int>(height);
  set.width = static_cast<int>(width);
  set.channels = 1;
  set.pixels.resize(bytes);
  file.read(set.pixels.data(), bytes);
  file.expect_end();
}

void read_labels(const std::string& path, const std::string& cure, ImageSet& set) {
  DataFile file(path, cure);
  check_magic(file, label_magic, "labels");
  const std::uint64_t count = read_number(file);
  file.expect_size(8 + count, fmt::format("its header, {} labels", count));
  std::vector<std::uint8_t> bytes(count);
  file.read(bytes.data(), bytes.size());
  file.expect_end();
  set.labels.assign(bytes.begin(), bytes.end());
  // Ten, or as many as the files hold (EMNIST has up to 62).
  set.classes = least_classes;
  for (const std::int32_t label : set.labels) set.classes = std::max(set.classes, label + 1);
}

ImageSet read_part(const DatasetOptions& options, const std::string& directory, const std::string& part) {
  const std::string kind = to_string(options.kind);
  const std::string cure =
      fmt::format("remove it and get it again with datasets/download.sh {} --dir {}", kind, directory);
  const std::string images = find_file(directory, image_names(part)),
                    labels = find_file(directory, label_names(part));
  if (images.empty()) fail_not_found(options, directory, image_names(part).front() + "[.gz]");
  if (labels.empty()) fail_not_found(options, directory, label_names(part).front() + "[.gz]");
  ImageSet set;
  set.name = kind;
  set.files = {images, labels};
  read_images(images, cure, set);
  read_labels(labels, cure, set);
  const std::int64_t count = static_cast<std::int64_t>(set.pixels.size()) / set.image_bytes();
  if (count != set.size()) {
    fail(ExitCode::data, "{} does not belong to {} ({} labels for {} images), {}", labels, images, set.size(),
         count, cure);
  }
  return set;
}

}  // namespace

Dataset read_idx(const DatasetOptions& options) {
  const std::string directory = find_set_directory(options, [](const std::string& d) {
    for (const char* part : {"train", "t10k"}) {
      if (!find_file(d, image_names(part)).empty() || !find_file(d, label_names(part)).empty()) return true;
    }
    return false;
  });
  if (directory.empty()) {
    fail_not_found(
        options, "",
        "train-images-idx3-ubyte[.gz], train-labels-idx1-ubyte[.gz], t10k-images-idx3-ubyte[.gz] and "
        "t10k-labels-idx1-ubyte[.gz]");
  }
  Dataset dataset{read_part(options, directory, "train"), read_part(options, directory, "t10k")};
  check_labels(dataset.test.labels, dataset.train.classes, dataset.test.files[1]);
  dataset.test.classes = dataset.train.classes;
  return dataset;
}

}  // namespace cos2p::data
