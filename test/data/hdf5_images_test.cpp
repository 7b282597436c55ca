#include <hdf5.h>

#include <numeric>

#include "data/data_test_files.hpp"

using namespace cos2p;
using namespace data_test;

namespace {

using Shape = std::vector<hsize_t>;

/// Writes one dataset of the given memory type; `compress` makes it chunked and deflated.
void write_table(hid_t place, const char* name, hid_t type, const Shape& shape, const void* values,
                 bool compress = false) {
  const hid_t space = H5Screate_simple(static_cast<int>(shape.size()), shape.data(), nullptr);
  const hid_t properties = H5Pcreate(H5P_DATASET_CREATE);
  if (compress) {
    H5Pset_chunk(properties, static_cast<int>(shape.size()), shape.data());
    H5Pset_deflate(properties, 6);
  }
  const hid_t table = H5Dcreate2(place, name, type, space, H5P_DEFAULT, properties, H5P_DEFAULT);
  if (values != nullptr)
    BOOST_TEST_REQUIRE(H5Dwrite(table, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, values) >= 0);
  H5Dclose(table);
  H5Pclose(properties);
  H5Sclose(space);
}

Bytes image_bytes(const Shape& shape) {
  Bytes bytes(std::accumulate(shape.begin(), shape.end(), std::size_t{1}, std::multiplies<>()));
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::uint8_t>(i * 3);
  return bytes;
}

void write_part(hid_t place, const Shape& shape, std::vector<std::int32_t> labels, bool compress = false) {
  write_table(place, "images", H5T_NATIVE_UINT8, shape, image_bytes(shape).data(), compress);
  write_table(place, "labels", H5T_NATIVE_INT32, {labels.size()}, labels.data(), compress);
}

struct NewFile {
  explicit NewFile(const std::string& path)
      : id(H5Fcreate(path.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT)) {}
  ~NewFile() { H5Fclose(id); }
  NewFile(const NewFile&) = delete;
  NewFile& operator=(const NewFile&) = delete;
  hid_t id;
};

void write_pair(const TemporaryDirectory& dir) {
  write_part(NewFile(dir / "train.h5").id, {6, 5, 4, 3}, {0, 1, 2, 0, 1, 2}, true);
  write_part(NewFile(dir / "test.h5").id, {3, 5, 4, 3}, {2, 1, 0});
}

void write_single(const std::string& path) {
  const NewFile file(path);
  for (const char* part : {"train", "test"}) {
    const hid_t group = H5Gcreate2(file.id, part, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    write_part(group, {4, 2, 2}, {0, 1, 1, 0});
    H5Gclose(group);
  }
}

Dataset load(const std::string& where) {
  return load_dataset(dataset_options(DatasetKind::hdf5, where));
}

}  // namespace

BOOST_AUTO_TEST_CASE(two_files_with_colour_images_are_read) {
  const TemporaryDirectory dir;
  write_pair(dir);
  const Dataset data = load(dir.str());
  BOOST_TEST(data.train.size() == 6);
  BOOST_TEST(data.train.height == 5);
  BOOST_TEST(data.train.width == 4);
  BOOST_TEST(data.train.channels == 3);
  BOOST_TEST(data.train.classes == 3);
  BOOST_TEST(data.test.classes == 3);
  BOOST_TEST((data.train.pixels == image_bytes({6, 5, 4, 3})));
  BOOST_TEST(data.test.labels == (std::vector<std::int32_t>{2, 1, 0}), boost::test_tools::per_element());
  BOOST_TEST(data.train.files.at(0) == dir / "train.h5");
}

BOOST_AUTO_TEST_CASE(one_file_with_two_groups_is_read_by_its_name_or_from_its_directory) {
  const TemporaryDirectory dir;
  fs::create_directories(dir / "below");
  write_single(dir / "below/mine.hdf5");
  for (const std::string& where : {dir / "below/mine.hdf5", dir / "below", dir.str()}) {
    const Dataset data = load(where);
    BOOST_TEST(data.train.channels == 1);
    BOOST_TEST(data.train.classes == 2);
    BOOST_TEST(data.test.size() == 4);
  }
  write_single(dir / "below/other.h5");
  check_error(ExitCode::data, {"2 HDF5 files", "mine.hdf5", "--data-dir"}, [&] { load(dir / "below"); });
}

BOOST_AUTO_TEST_CASE(missing_hdf5_files_are_named) {
  const TemporaryDirectory dir;
  check_error(ExitCode::data,
              {"hdf5 files are missing", "train.h5 and test.h5", "/train and /test", "datasets/README.md"},
              [&] { load(dir.str()); });
  check_error(ExitCode::data, {dir / "none.h5", "not a directory"}, [&] { load(dir / "none.h5"); });
  write_pair(dir);
  fs::remove(dir / "test.h5");
  check_error(ExitCode::data, {"incomplete", "test.h5"}, [&] { load(dir.str()); });
  check_error(ExitCode::data, {"train.h5", "no group /train"}, [&] { load(dir / "train.h5"); });
}

BOOST_AUTO_TEST_CASE(cut_and_foreign_hdf5_files_are_refused) {
  const TemporaryDirectory dir;
  write_pair(dir);
  Bytes bytes = read_file(dir / "train.h5");
  bytes.resize(bytes.size() / 2);
  write_file(dir / "train.h5", bytes);
  check_error(ExitCode::data,
              {dir / "train.h5", "cannot be opened", "truncated", std::to_string(bytes.size()) + " bytes"},
              [&] { load(dir.str()); });
  write_file(dir / "train.h5", Bytes(5000, 'x'));
  check_error(ExitCode::data, {dir / "train.h5", "not an HDF5 file"}, [&] { load(dir.str()); });
}

BOOST_AUTO_TEST_CASE(hdf5_images_of_wrong_type_or_shape_are_refused) {
  const TemporaryDirectory dir;
  write_pair(dir);
  const std::vector<float> values(24);
  const std::vector<std::int32_t> labels{0, 1};
  const auto check = [&](hid_t type, const Shape& shape, const std::vector<std::string>& parts) {
    {
      const NewFile file(dir / "train.h5");
      write_table(file.id, "images", type, shape, values.data());
      write_table(file.id, "labels", H5T_NATIVE_INT32, {2}, labels.data());
    }
    check_error(ExitCode::data, parts, [&] { load(dir.str()); });
  };
  check(H5T_NATIVE_FLOAT, {2, 2, 2, 3}, {"train.h5:/images", "wrong type", "unsigned bytes"});
  check(H5T_NATIVE_INT8, {2, 2, 2, 3}, {"wrong type"});
  check(H5T_NATIVE_UINT8, {2, 12}, {"train.h5:/images", "wrong shape (2 x 12;"});
  check(H5T_NATIVE_UINT8, {2, 1, 2, 2, 3}, {"wrong shape"});
  check(H5T_NATIVE_UINT8, {2, 0, 2, 3}, {"wrong shape (2 x 0 x 2 x 3;"});
  check(H5T_NATIVE_UINT8, {3, 2, 2, 2}, {"train.h5:/labels", "shape 2 for 3 images"});
}

BOOST_AUTO_TEST_CASE(hdf5_labels_of_wrong_type_or_range_are_refused) {
  const TemporaryDirectory dir;
  write_pair(dir);
  const auto write = [&](hid_t type, const void* values) {
    const NewFile file(dir / "test.h5");
    write_table(file.id, "images", H5T_NATIVE_UINT8, {3, 5, 4, 3}, image_bytes({3, 5, 4, 3}).data());
    if (values != nullptr) write_table(file.id, "labels", type, {3}, values);
  };
  const std::vector<double> fractions{0, 1, 2};
  write(H5T_NATIVE_DOUBLE, fractions.data());
  check_error(ExitCode::data, {"test.h5:/labels", "wrong type", "integers"}, [&] { load(dir.str()); });
  for (const std::int64_t bad : {std::int64_t{-1}, std::int64_t{3}, std::int64_t{1} << 40}) {
    const std::vector<std::int64_t> labels{0, bad, 1};
    write(H5T_NATIVE_INT64, labels.data());
    check_error(ExitCode::data,
                {"test.h5:/labels", "out of range", "record 1 is labelled " + std::to_string(bad)},
                [&] { load(dir.str()); });
  }
  write(H5T_NATIVE_INT64, nullptr);
  check_error(ExitCode::data, {"test.h5:/labels", "is missing"}, [&] { load(dir.str()); });
}

BOOST_AUTO_TEST_CASE(labels_may_be_a_column) {
  const TemporaryDirectory dir;
  write_pair(dir);
  const std::vector<std::int32_t> labels{2, 1, 0};
  {
    const NewFile file(dir / "train.h5");
    write_table(file.id, "images", H5T_NATIVE_UINT8, {3, 5, 4, 3}, image_bytes({3, 5, 4, 3}).data());
    write_table(file.id, "labels", H5T_NATIVE_INT32, {3, 1}, labels.data());
  }
  BOOST_TEST(load(dir.str()).train.labels == labels, boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(a_single_class_is_refused) {
  const TemporaryDirectory dir;
  write_part(NewFile(dir / "train.h5").id, {3, 5, 4, 3}, {0, 0, 0});
  write_part(NewFile(dir / "test.h5").id, {2, 5, 4, 3}, {0, 0});
  check_error(ExitCode::data, {"train.h5:/labels has a single class"}, [&] { load(dir.str()); });
}

BOOST_AUTO_TEST_CASE(a_test_label_that_training_does_not_know_is_refused) {
  const TemporaryDirectory dir;
  write_part(NewFile(dir / "train.h5").id, {4, 2, 2}, {0, 1, 1, 0});
  write_part(NewFile(dir / "test.h5").id, {4, 2, 2}, {0, 1, 2, 0});
  check_error(ExitCode::data, {"test.h5:/labels", "record 2 is labelled 2", "0 to 1"},
              [&] { load(dir.str()); });
}

BOOST_AUTO_TEST_CASE(hdf5_shapes_beyond_the_stored_bytes_take_no_memory) {
  const TemporaryDirectory dir;
  write_pair(dir);
  for (const bool compress : {false, true}) {
    {
      const NewFile file(dir / "train.h5");
      const Shape shape{std::uint64_t{1} << 30, 8192, 8192, 64};
      const hid_t space = H5Screate_simple(4, shape.data(), nullptr);
      const hid_t properties = H5Pcreate(H5P_DATASET_CREATE);
      if (compress) {
        const Shape chunk{1, 64, 64, 1};
        H5Pset_chunk(properties, 4, chunk.data());
        H5Pset_deflate(properties, 6);
      }
      const hid_t table =
          H5Dcreate2(file.id, "images", H5T_NATIVE_UINT8, space, H5P_DEFAULT, properties, H5P_DEFAULT);
      BOOST_TEST_REQUIRE(table >= 0);
      H5Dclose(table);
      H5Pclose(properties);
      H5Sclose(space);
    }
    check_error(ExitCode::data, {"train.h5:/images", "truncated", "4611686018427387904 bytes", "0 stored"},
                [&] { load(dir.str()); });
  }
}
