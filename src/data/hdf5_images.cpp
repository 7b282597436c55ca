// People's own images: a file (or a group of it) with /images, N x H x W x C or N x H x W unsigned bytes, and
// /labels, N integers from 0.
#include <fmt/ranges.h>
#include <hdf5.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <system_error>
#include <utility>

#include "cos2p/support/error.hpp"
#include "readers.hpp"

namespace fs = std::filesystem;

namespace cos2p::data {
namespace {

constexpr const char* cure = "write it as datasets/README.md describes";
constexpr std::uint64_t most_channels = 64, most_images = std::uint64_t{1} << 31;
constexpr std::uint64_t best_ratio = 1032;  // of HDF5's deflate filter

/// HDF5 prints its error stack by itself; our messages say it in words.
class SilentErrors {
 public:
  SilentErrors() {
    H5Eget_auto2(H5E_DEFAULT, &function_, &data_);
    H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);
  }
  ~SilentErrors() { H5Eset_auto2(H5E_DEFAULT, function_, data_); }
  SilentErrors(const SilentErrors&) = delete;
  SilentErrors& operator=(const SilentErrors&) = delete;

 private:
  H5E_auto2_t function_ = nullptr;
  void* data_ = nullptr;
};

/// Owns one HDF5 identifier.
class Handle {
 public:
  Handle(hid_t id, herr_t (*close)(hid_t)) : id_(id), close_(close) {}
  ~Handle() {
    if (id_ >= 0) close_(id_);
  }
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;
  bool valid() const { return id_ >= 0; }
  hid_t id() const { return id_; }

 private:
  hid_t id_;
  herr_t (*close_)(hid_t);
};

/// One opened dataset with what its checks need; `label` names file and path in messages.
struct Table {
  Table(hid_t file, const std::string& path, std::string name)
      : label(std::move(name)),
        dataset(H5Dopen2(file, path.c_str(), H5P_DEFAULT), H5Dclose),
        space(dataset.valid() ? H5Dget_space(dataset.id()) : -1, H5Sclose),
        type(dataset.valid() ? H5Dget_type(dataset.id()) : -1, H5Tclose) {
    if (!dataset.valid()) fail(ExitCode::data, "{} is missing (there is no such dataset), {}", label, cure);
    const int rank = H5Sget_simple_extent_ndims(space.id());
    if (rank > 0 && rank <= 4) {
      shape.resize(static_cast<std::size_t>(rank));
      H5Sget_simple_extent_dims(space.id(), shape.data(), nullptr);
    }
  }
  std::string shape_text() const {
    return shape.empty() ? "no array of 1 to 4 dimensions" : fmt::format("{}", fmt::join(shape, " x "));
  }

  std::string label;
  Handle dataset, space, type;
  std::vector<hsize_t> shape;
};

/// Refuses sizes that the file cannot hold, before memory is taken for them.
void check_storage(const Table& table, std::uint64_t bytes, std::uint64_t file_size) {
  const Handle properties(H5Dget_create_plist(table.dataset.id()), H5Pclose);
  const bool filtered = properties.valid() && H5Pget_nfilters(properties.id()) > 0;
  const std::uint64_t stored = std::min<std::uint64_t>(H5Dget_storage_size(table.dataset.id()), file_size);
  if (bytes / (filtered ? best_ratio : 1) > stored) {
    fail(ExitCode::data, "{} is truncated ({} bytes announced by its shape {}, {} stored), {}", table.label,
         bytes, table.shape_text(), stored, cure);
  }
}

void read_images(hid_t file, const std::string& group, const std::string& path, std::uint64_t file_size,
                 ImageSet& set) {
  const Table table(file, group + "/images", path + ":" + group + "/images");
  if (H5Tget_class(table.type.id()) != H5T_INTEGER || H5Tget_size(table.type.id()) != 1 ||
      H5Tget_sign(table.type.id()) != H5T_SGN_NONE) {
    fail(ExitCode::data, "{} has the wrong type (its elements are not unsigned bytes), {}", table.label,
         cure);
  }
  std::vector<hsize_t> shape = table.shape;
  if (shape.size() == 3) shape.push_back(1);
  const bool good = shape.size() == 4 && shape[0] >= 1 && shape[0] <= most_images && shape[1] >= 1 &&
                    shape[1] <= largest_side && shape[2] >= 1 && shape[2] <= largest_side && shape[3] >= 1 &&
                    shape[3] <= most_channels;
  if (!good) {
    fail(ExitCode::data,
         "{} has the wrong shape ({}; N x H x W x C or N x H x W with sides up to {} and up to {} channels "
         "are possible), {}",
         table.label, table.shape_text(), largest_side, most_channels, cure);
  }
  const std::uint64_t bytes = shape[0] * shape[1] * shape[2] * shape[3];  // at most 2^63
  check_storage(table, bytes, file_size);
  if (shape[3] > 4 && (shape[1] == 1 || shape[1] == 3)) {
    spdlog::warn(
        "data: {} is read as images of {}x{} pixels with {} channels; if its channels stand in front (N x C "
        "x "
        "H x W), write them last (N x H x W x C)",
        table.label, shape[1], shape[2], shape[3]);
  }
  set.height = static_cast<int>(shape[1]);
  set.width = static_cast<int>(shape[2]);
  set.channels = static_cast<int>(shape[3]);
  set.pixels.resize(bytes);
  if (H5Dread(table.dataset.id(), H5T_NATIVE_UINT8, H5S_ALL, H5S_ALL, H5P_DEFAULT, set.pixels.data()) < 0) {
    fail(ExitCode::data,
         "{} cannot be read (its stored data are damaged or need a filter this HDF5 lacks), {}", table.label,
         cure);
  }
}

void read_labels(hid_t file, const std::string& group, const std::string& path, std::uint64_t file_size,
                 ImageSet& set) {
  const Table table(file, group + "/labels", path + ":" + group + "/labels");
  if (H5Tget_class(table.type.id()) != H5T_INTEGER) {
    fail(ExitCode::data, "{} has the wrong type (its elements are not integers), {}", table.label, cure);
  }
  const auto images =
      static_cast<std::uint64_t>(static_cast<std::int64_t>(set.pixels.size()) / set.image_bytes());
  const bool column = table.shape.size() == 2 && table.shape[1] == 1;  // N x 1, as some frameworks write them
  if ((table.shape.size() != 1 && !column) || table.shape[0] != images) {
    fail(ExitCode::data, "{} does not belong to its images (shape {} for {} images), {}", table.label,
         table.shape_text(), images, cure);
  }
  check_storage(table, images * H5Tget_size(table.type.id()), file_size);
  std::vector<std::int64_t> labels(images);
  if (H5Dread(table.dataset.id(), H5T_NATIVE_INT64, H5S_ALL, H5S_ALL, H5P_DEFAULT, labels.data()) < 0) {
    fail(ExitCode::data, "{} cannot be read (its stored data are damaged), {}", table.label, cure);
  }
  // Labels count the classes from 0, so there cannot be more of them than images: a wild value would ask for
  // a huge head.
  for (std::size_t i = 0; i < labels.size(); ++i) {
    if (labels[i] < 0 || static_cast<std::uint64_t>(labels[i]) >= images) {
      fail(ExitCode::data,
           "{} has a label out of range (record {} is labelled {}; classes are numbered from 0, and {} "
           "images have at most {}), {}",
           table.label, i, labels[i], images, images, cure);
    }
    set.labels.push_back(static_cast<std::int32_t>(labels[i]));
  }
  set.classes = 1 + *std::max_element(set.labels.begin(), set.labels.end());
}

ImageSet read_part(const std::string& path, const std::string& group) {
  if (::access(path.c_str(), R_OK) != 0) {
    fail(ExitCode::data, "{} cannot be read ({}), check its permissions", path, std::strerror(errno));
  }
  const Handle file(H5Fopen(path.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT), H5Fclose);
  std::error_code error;
  const std::uint64_t size = fs::file_size(path, error);
  if (!file.valid() || error) {
    fail(ExitCode::data,
         "{} cannot be opened (it is truncated, unreadable or not an HDF5 file; {} bytes), {}", path,
         error ? 0 : size, cure);
  }
  if (!group.empty() && H5Lexists(file.id(), group.c_str(), H5P_DEFAULT) <= 0) {
    fail(ExitCode::data, "{} has no group {} (one file holds both parts, as /train and /test), {}", path,
         group, cure);
  }
  ImageSet set;
  set.name = to_string(DatasetKind::hdf5);
  set.files = {path};
  read_images(file.id(), group, path, size, set);
  read_labels(file.id(), group, path, size, set);
  return set;
}

std::string find_either(const std::string& directory, const std::string& stem) {
  for (const char* ending : {".h5", ".hdf5"}) {
    const fs::path path = fs::path(directory) / (stem + ending);
    std::error_code error;
    if (fs::is_regular_file(path, error)) return path.string();
  }
  return {};
}

std::vector<std::string> hdf5_files(const std::string& directory) {
  std::vector<std::string> result;
  std::error_code error;
  for (fs::directory_iterator i(directory, error), end; !error && i != end; i.increment(error)) {
    const std::string ending = i->path().extension().string();
    std::error_code unreadable;
    if ((ending == ".h5" || ending == ".hdf5") && i->is_regular_file(unreadable))
      result.push_back(i->path().string());
  }
  std::sort(result.begin(), result.end());
  return result;
}

/// Path and group of the training and of the test part.
std::array<std::pair<std::string, std::string>, 2> find_parts(const DatasetOptions& options) {
  std::error_code error;
  if (fs::is_regular_file(options.data_dir, error))
    return {{{options.data_dir, "/train"}, {options.data_dir, "/test"}}};
  const std::string pair = find_set_directory(options, [](const std::string& d) {
    return !find_either(d, "train").empty() || !find_either(d, "test").empty();
  });
  if (!pair.empty()) {
    const std::string train = find_either(pair, "train"), test = find_either(pair, "test");
    if (train.empty()) fail_not_found(options, pair, "train.h5");
    if (test.empty()) fail_not_found(options, pair, "test.h5");
    return {{{train, ""}, {test, ""}}};
  }
  const std::string single =
      find_set_directory(options, [](const std::string& d) { return !hdf5_files(d).empty(); });
  if (single.empty())
    fail_not_found(options, "", "train.h5 and test.h5, or one .h5 file with the groups /train and /test");
  const std::vector<std::string> files = hdf5_files(single);
  if (files.size() > 1) {
    fail(ExitCode::data, "{} holds {} HDF5 files and no train.h5 ({}, ...), name one of them with --data-dir",
         single, files.size(), files.front());
  }
  return {{{files.front(), "/train"}, {files.front(), "/test"}}};
}

}  // namespace

Dataset read_hdf5(const DatasetOptions& options) {
  const SilentErrors silent;
  const auto parts = find_parts(options);
  Dataset dataset{read_part(parts[0].first, parts[0].second), read_part(parts[1].first, parts[1].second)};
  check_counted_classes(dataset.train.labels, parts[0].first + ":" + parts[0].second + "/labels");
  check_labels(dataset.test.labels, dataset.train.classes,
               parts[1].first + ":" + parts[1].second + "/labels");
  dataset.test.classes = dataset.train.classes;
  return dataset;
}

}  // namespace cos2p::data
