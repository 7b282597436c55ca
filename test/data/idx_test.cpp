#include <cstdlib>
#include <fstream>

#include "data/data_test_files.hpp"

using namespace cos2p;
using namespace data_test;

namespace {

Dataset load(const std::string& directory, DatasetKind kind = DatasetKind::mnist) {
  return load_dataset(dataset_options(kind, directory));
}

void check_train_part(const ImageSet& set) {
  BOOST_TEST_REQUIRE(set.size() == 30);
  BOOST_TEST(set.height == 4);
  BOOST_TEST(set.width == 6);
  BOOST_TEST(set.channels == 1);
  BOOST_TEST(set.classes == 10);
  BOOST_TEST(set.labels[13] == 3);
  for (int p = 0; p < 24; ++p) BOOST_TEST(set.image(17)[static_cast<std::size_t>(p)] == pixel_value(17, p));
}

}  // namespace

BOOST_AUTO_TEST_CASE(plain_idx_files_are_read_and_named) {
  const TemporaryDirectory dir;
  write_idx_set(dir.str());
  const Dataset data = load(dir.str());
  check_train_part(data.train);
  BOOST_TEST(data.test.size() == 20);
  BOOST_TEST(data.train.name == "mnist");
  BOOST_TEST_REQUIRE(data.train.files.size() == 2U);
  BOOST_TEST(data.train.files[0] == dir / "train-images-idx3-ubyte");
  BOOST_TEST(data.test.files[1] == dir / "t10k-labels-idx1-ubyte");
}

BOOST_AUTO_TEST_CASE(compressed_idx_files_are_read_with_either_spelling) {
  const TemporaryDirectory dir;
  write_gzip(dir / "train-images.idx3-ubyte.gz", idx_images(30, 4, 6));
  write_file(dir / "train-labels.idx1-ubyte", idx_labels(30));
  write_gzip(dir / "t10k-images-idx3-ubyte.gz", idx_images(20, 4, 6));
  write_gzip(dir / "t10k-labels-idx1-ubyte.gz", idx_labels(20));
  check_train_part(load(dir.str(), DatasetKind::fashion_mnist).train);
}

BOOST_AUTO_TEST_CASE(a_file_of_several_gzip_streams_is_one_file) {
  const TemporaryDirectory dir;
  write_idx_set(dir.str());
  const Bytes whole = idx_images(30, 4, 6);
  const auto middle = whole.begin() + 100;
  write_gzip(dir / "first.gz", Bytes(whole.begin(), middle));
  write_gzip(dir / "second.gz", Bytes(middle, whole.end()));
  Bytes both = read_file(dir / "first.gz");
  const Bytes second = read_file(dir / "second.gz");
  both.insert(both.end(), second.begin(), second.end());
  fs::remove(dir / "train-images-idx3-ubyte");
  write_file(dir / "train-images-idx3-ubyte.gz", both);
  check_train_part(load(dir.str()).train);
}

BOOST_AUTO_TEST_CASE(limits_keep_the_first_records) {
  const TemporaryDirectory dir;
  write_idx_set(dir.str());
  DatasetOptions options = dataset_options(DatasetKind::mnist, dir.str());
  options.limit_train = 7;
  options.limit_test = 1000;
  const Dataset data = load_dataset(options);
  BOOST_TEST(data.train.size() == 7);
  BOOST_TEST(data.train.pixels.size() == 7U * 24U);
  BOOST_TEST(data.test.size() == 20);
  options.limit_train = -3;
  check_error(ExitCode::usage, {"--limit-train -3"}, [&] { load_dataset(options); });
}

BOOST_AUTO_TEST_CASE(the_set_is_found_one_directory_below) {
  const TemporaryDirectory dir;
  fs::create_directories(dir / "raw");
  write_idx_set(dir / "raw");
  check_train_part(load(dir.str()).train);
}

BOOST_AUTO_TEST_CASE(of_several_sets_below_the_one_of_that_name_is_taken_or_none) {
  const TemporaryDirectory dir;
  for (const char* name : {"Fashion_MNIST", "MNIST"}) {
    fs::create_directories(dir / name);
    write_idx_set(dir / name);
  }
  BOOST_TEST(load(dir.str()).train.files[0] == dir / "MNIST/train-images-idx3-ubyte");
  BOOST_TEST(load(dir.str(), DatasetKind::fashion_mnist).train.files[0] ==
             dir / "Fashion_MNIST/train-images-idx3-ubyte");
  // Another set's directory is never taken for this one, though its files have the same names.
  fs::remove_all(dir / "MNIST");
  check_error(ExitCode::data, {"mnist files are missing"}, [&] { load(dir.str()); });
  for (const char* name : {"a", "b"}) {
    fs::create_directories(dir / name);
    write_idx_set(dir / name);
  }
  check_error(ExitCode::data, {"more than one mnist set", dir / "a", dir / "b"}, [&] { load(dir.str()); });
}

BOOST_AUTO_TEST_CASE(missing_files_say_what_was_looked_for_where_and_the_cure) {
  const TemporaryDirectory dir;
  check_error(ExitCode::data,
              {"mnist files are missing", dir.str(), "just below", "train-images-idx3-ubyte[.gz]",
               "t10k-labels-idx1-ubyte[.gz]", "datasets/download.sh mnist --dir", "--data-dir"},
              [&] { load(dir.str()); });
  check_error(ExitCode::data, {dir / "nowhere", "not a directory"}, [&] { load(dir / "nowhere"); });
  check_error(ExitCode::usage, {"--data-dir is missing", "mnist"}, [&] { load(""); });
  write_idx_set(dir.str());
  fs::remove(dir / "t10k-labels-idx1-ubyte");
  check_error(ExitCode::data, {"incomplete", dir.str(), "t10k-labels-idx1-ubyte[.gz]"},
              [&] { load(dir.str()); });
}

BOOST_AUTO_TEST_CASE(cut_and_over_long_files_are_refused_with_their_sizes) {
  const TemporaryDirectory dir;
  write_idx_set(dir.str());
  const std::string path = dir / "train-images-idx3-ubyte";
  Bytes bytes = idx_images(30, 4, 6);
  bytes.pop_back();
  write_file(path, bytes);
  check_error(ExitCode::data, {path, "truncated", "735 of the 736 bytes", "datasets/download.sh mnist"},
              [&] { load(dir.str()); });
  bytes.resize(738);
  write_file(path, bytes);
  check_error(ExitCode::data, {path, "over-long", "738 bytes, 2 more"}, [&] { load(dir.str()); });
  bytes.resize(9);
  write_file(path, bytes);
  check_error(ExitCode::data, {path, "truncated", "ends after 9 bytes"}, [&] { load(dir.str()); });
  write_file(path, {});
  check_error(ExitCode::data, {path, "truncated", "ends after 0 bytes"}, [&] { load(dir.str()); });
}

BOOST_AUTO_TEST_CASE(damaged_gzip_files_are_refused) {
  const TemporaryDirectory dir;
  write_idx_set(dir.str());
  fs::remove(dir / "train-images-idx3-ubyte");
  const std::string path = dir / "train-images-idx3-ubyte.gz";
  write_gzip(path, idx_images(30, 4, 6));
  const Bytes good = read_file(path);

  Bytes bytes(good.begin(), good.end() - 12);
  write_file(path, bytes);
  check_error(ExitCode::data, {path, "truncated", "compressed data end after"}, [&] { load(dir.str()); });
  bytes = good;
  bytes[bytes.size() - 6] ^= 0xff;  // the checksum
  write_file(path, bytes);
  check_error(ExitCode::data, {path, "corrupt", "incorrect data check"}, [&] { load(dir.str()); });
  bytes = good;
  bytes.push_back('x');
  write_file(path, bytes);
  check_error(ExitCode::data, {path, "over-long", "foreign bytes"}, [&] { load(dir.str()); });
  write_file(path, idx_images(30, 4, 6));
  check_error(ExitCode::data, {path, "not compressed with gzip"}, [&] { load(dir.str()); });
  Bytes longer = idx_images(30, 4, 6);
  longer.push_back(0);
  write_gzip(path, longer);
  check_error(ExitCode::data, {path, "over-long", "after the 736 announced"}, [&] { load(dir.str()); });
  longer.resize(700);
  write_gzip(path, longer);
  check_error(ExitCode::data, {path, "truncated", "36 are missing"}, [&] { load(dir.str()); });
}

BOOST_AUTO_TEST_CASE(wrong_headers_are_refused) {
  const TemporaryDirectory dir;
  write_idx_set(dir.str());
  const std::string images = dir / "train-images-idx3-ubyte", labels = dir / "train-labels-idx1-ubyte";
  write_file(images, idx_labels(30));
  check_error(ExitCode::data, {images, "0x00000801 instead of 0x00000803", "these are labels"},
              [&] { load(dir.str()); });
  write_file(images, Bytes(736, 'x'));
  check_error(ExitCode::data, {images, "0x78787878", "no IDX file of unsigned bytes"},
              [&] { load(dir.str()); });
  write_file(images, idx_images(30, 0, 6));
  check_error(ExitCode::data, {images, "impossible dimensions", "30 images of 0x6"},
              [&] { load(dir.str()); });
  write_file(images, idx_images(0, 4, 6));
  check_error(ExitCode::data, {images, "impossible dimensions", "0 images"}, [&] { load(dir.str()); });
  write_idx_set(dir.str());
  write_file(labels, idx_images(30, 4, 6));
  check_error(ExitCode::data, {labels, "these are images"}, [&] { load(dir.str()); });
}

BOOST_AUTO_TEST_CASE(a_header_of_exabytes_takes_no_memory) {
  const TemporaryDirectory dir;
  write_idx_set(dir.str());
  Bytes bytes;
  for (const std::uint32_t v : {0x803U, 0xffffffffU, 8192U, 8192U}) append_number(bytes, v);
  write_file(dir / "train-images-idx3-ubyte", bytes);
  check_error(ExitCode::data, {"truncated", "16 of the 288230376084602896 bytes"}, [&] { load(dir.str()); });
  fs::remove(dir / "train-images-idx3-ubyte");
  write_gzip(dir / "train-images-idx3-ubyte.gz", bytes);
  check_error(ExitCode::data, {"header is wrong", "288230376084602896"}, [&] { load(dir.str()); });
}

BOOST_AUTO_TEST_CASE(mislabelled_files_are_refused) {
  const TemporaryDirectory dir;
  write_idx_set(dir.str());
  write_file(dir / "train-labels-idx1-ubyte", idx_labels(29));
  check_error(ExitCode::data, {dir / "train-labels-idx1-ubyte", "29 labels for 30 images"},
              [&] { load(dir.str()); });
  write_idx_set(dir.str());
  Bytes bytes = idx_labels(20);
  bytes[8 + 13] = 12;
  write_file(dir / "t10k-labels-idx1-ubyte", bytes);
  check_error(ExitCode::data, {dir / "t10k-labels-idx1-ubyte", "record 13 is labelled 12", "0 to 9"},
              [&] { load(dir.str()); });
  // The training part says how many classes there are (EMNIST has up to 62).
  bytes = idx_labels(30);
  bytes[8 + 21] = 18;
  write_file(dir / "train-labels-idx1-ubyte", bytes);
  const Dataset more = load(dir.str());
  BOOST_TEST(more.train.classes == 19);
  BOOST_TEST(more.test.classes == 19);
  write_idx_set(dir.str());
  write_file(dir / "t10k-images-idx3-ubyte", idx_images(20, 6, 4));
  check_error(ExitCode::data, {"differ in shape", "4x6x1", "6x4x1"}, [&] { load(dir.str()); });
}

BOOST_AUTO_TEST_CASE(a_directory_or_a_pipe_in_place_of_a_file_does_not_hang) {
  const TemporaryDirectory dir;
  write_idx_set(dir.str());
  const std::string path = dir / "train-labels-idx1-ubyte";
  fs::remove(path);
  BOOST_TEST_REQUIRE(std::system(("mkfifo '" + path + "'").c_str()) == 0);
  check_error(ExitCode::data, {path, "cannot be read"}, [&] { load(dir.str()); });
}

BOOST_AUTO_TEST_CASE(dataset_names_go_both_ways) {
  for (const char* name : {"fashion-mnist", "mnist", "cifar-10", "cifar-100", "hdf5", "synthetic"}) {
    BOOST_TEST(to_string(parse_dataset_kind(name)) == name);
  }
  check_error(ExitCode::usage,
              {"--dataset imagenet", "fashion-mnist, mnist, cifar-10, cifar-100, hdf5, synthetic"},
              [] { parse_dataset_kind("imagenet"); });
}

BOOST_AUTO_TEST_CASE(a_prefix_before_the_official_names_is_the_sets_own) {
  const TemporaryDirectory dir;
  const auto write_set = [&](const std::string& name) {
    write_gzip(dir / (name + "-train-images-idx3-ubyte.gz"), idx_images(30, 4, 6));
    write_gzip(dir / (name + "-train-labels-idx1-ubyte.gz"), idx_labels(30));
    write_gzip(dir / (name + "-test-images-idx3-ubyte.gz"), idx_images(20, 4, 6));
    write_gzip(dir / (name + "-test-labels-idx1-ubyte.gz"), idx_labels(20));
  };
  write_set("emnist-digits");
  const Dataset data = load(dir.str());
  check_train_part(data.train);
  BOOST_TEST(data.test.size() == 20);
  BOOST_TEST(data.test.files[0] == dir / "emnist-digits-test-images-idx3-ubyte.gz");
  write_set("emnist-letters");
  check_error(
      ExitCode::data,
      {"more than one set", "emnist-digits-*, emnist-letters-*", "--data-dir " + (dir / "emnist-digits")},
      [&] { load(dir.str()); });
  BOOST_TEST(load(dir / "emnist-letters").train.files[0] ==
             dir / "emnist-letters-train-images-idx3-ubyte.gz");
  check_error(ExitCode::data, {"files are missing", "is not a directory"},
              [&] { load(dir / "emnist-mnist"); });
  write_idx_set(dir.str());  // the official names come first
  BOOST_TEST(load(dir.str()).train.files[0] == dir / "train-images-idx3-ubyte");
}

BOOST_AUTO_TEST_CASE(a_label_far_from_all_others_is_refused) {
  const TemporaryDirectory dir;
  write_idx_set(dir.str());
  Bytes labels = idx_labels(30);
  labels[8 + 13] = 200;
  write_file(dir / "train-labels-idx1-ubyte", labels);
  check_error(
      ExitCode::data,
      {dir / "train-labels-idx1-ubyte", "record 13 is labelled 200", "190 have no sample", "correct it"},
      [&] { load(dir.str()); });
  labels[8 + 13] = 12;  // two classes without samples may be
  write_file(dir / "train-labels-idx1-ubyte", labels);
  BOOST_TEST(load(dir.str()).train.classes == 13);
  std::fill(labels.begin() + 8, labels.end(), 4);
  write_file(dir / "train-labels-idx1-ubyte", labels);
  check_error(ExitCode::data, {"has a single class"}, [&] { load(dir.str()); });
}

BOOST_AUTO_TEST_CASE(limits_of_a_sorted_set_keep_every_class) {
  const TemporaryDirectory dir;
  write_idx_set(dir.str());
  Bytes labels = idx_labels(30);
  for (std::size_t i = 0; i < 30; ++i) labels[8 + i] = static_cast<std::uint8_t>(i / 3);
  write_file(dir / "train-labels-idx1-ubyte", labels);
  DatasetOptions options = dataset_options(DatasetKind::mnist, dir.str());
  options.limit_train = 10;
  const Dataset data = load_dataset(options);
  BOOST_TEST_REQUIRE(data.train.size() == 10);
  for (int i = 0; i < 10; ++i) {
    BOOST_TEST(data.train.labels[static_cast<std::size_t>(i)] == i);
    for (int p = 0; p < 24; ++p)
      BOOST_TEST(data.train.image(i)[static_cast<std::size_t>(p)] == pixel_value(3 * i, p));
  }
}

BOOST_AUTO_TEST_CASE(what_may_not_be_looked_at_is_not_called_missing) {
  if (::geteuid() == 0) return;  // root may look at everything
  const TemporaryDirectory dir;
  fs::create_directories(dir / "below");
  fs::permissions(dir / "below", fs::perms::none);
  check_error(ExitCode::data, {dir / "below", "Permission denied", "check its permissions"},
              [&] { load(dir.str()); });
  fs::permissions(dir / "below", fs::perms::owner_all);
}
