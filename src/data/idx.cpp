// IDX, the format of MNIST and its relatives: two zero bytes, the element type (8 = unsigned byte), the
// number of dimensions, each dimension as a big-endian 32-bit number, then the elements.
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <set>
#include <system_error>
#include <utility>

#include "cos2p/support/error.hpp"
#include "data_file.hpp"
#include "readers.hpp"

namespace cos2p::data {
namespace {

constexpr int least_classes = 10;
constexpr std::uint32_t image_magic = 0x00000803, label_magic = 0x00000801;

const char* const train_part = "train";
const char* const test_part = "t10k";

std::vector<std::string> image_names(const std::string& part) {
  return {part + "-images-idx3-ubyte", part + "-images.idx3-ubyte"};
}
std::vector<std::string> label_names(const std::string& part) {
  return {part + "-labels-idx1-ubyte", part + "-labels.idx1-ubyte"};
}

/// What stands before "train-images-idx3-ubyte" in a directory: nothing, or the set's name as in EMNIST's
/// "emnist-letters-train-images-idx3-ubyte.gz", whose other part is called "test". In the order of the names.
std::vector<std::string> prefixes(const std::string& directory) {
  std::set<std::string> found;
  std::error_code error;
  for (std::filesystem::directory_iterator i(directory, error), end; !error && i != end; i.increment(error)) {
    const std::string name = i->path().filename().string();
    for (const std::string& expected : image_names(train_part)) {
      const std::size_t at = name.rfind(expected);
      if (at == std::string::npos) continue;
      const std::string rest = name.substr(at + expected.size());
      if (rest.empty() || rest == ".gz") found.insert(name.substr(0, at));
    }
  }
  return {found.begin(), found.end()};
}

/// A set's directory, and what stands before the official names there. `--data-dir` may name both at once
/// (DIR/emnist-letters): EMNIST's sets come in one directory.
struct Place {
  std::string directory, prefix;
};

Place find_place(const DatasetOptions& options) {
  const std::filesystem::path path(options.data_dir);
  std::error_code error;
  if (!path.filename().empty() && !std::filesystem::exists(path, error)) {
    const std::string directory = path.has_parent_path() ? path.parent_path().string() : ".";
    for (const std::string& prefix : prefixes(directory)) {
      if (prefix == path.filename().string() + '-') return {directory, prefix};
    }
  }
  const std::string directory = find_set_directory(options, [](const std::string& d) {
    for (const char* part : {train_part, test_part}) {
      if (!find_file(d, image_names(part)).empty() || !find_file(d, label_names(part)).empty()) return true;
    }
    return !prefixes(d).empty();
  });
  const std::vector<std::string> known = prefixes(directory);
  if (known.empty() || known.front().empty()) return {directory, ""};
  if (known.size() > 1) {
    const std::string first = known.front().substr(0, known.front().find_last_not_of('-') + 1);
    fail(ExitCode::data,
         "{} holds more than one set for --dataset {} ({}*), name one, for example: --data-dir {}", directory,
         to_string(options.kind), fmt::join(known, "*, "),
         (std::filesystem::path(directory) / first).string());
  }
  return {directory, known.front()};
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
                       : found >> 16 == 0 ? "its elements or dimensions are others, unsigned bytes are read"
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
  const Place place = find_place(options);
  if (place.directory.empty()) {
    fail_not_found(
        options, "",
        "train-images-idx3-ubyte[.gz], train-labels-idx1-ubyte[.gz], t10k-images-idx3-ubyte[.gz] and "
        "t10k-labels-idx1-ubyte[.gz]");
  }
  std::string test = place.prefix + test_part;
  if (!place.prefix.empty() && find_file(place.directory, image_names(test)).empty())
    test = place.prefix + "test";
  Dataset dataset{read_part(options, place.directory, place.prefix + train_part),
                  read_part(options, place.directory, test)};
  check_counted_classes(dataset.train.labels, dataset.train.files[1]);
  check_labels(dataset.test.labels, dataset.train.classes, dataset.test.files[1]);
  dataset.test.classes = dataset.train.classes;
  return dataset;
}

}  // namespace cos2p::data
