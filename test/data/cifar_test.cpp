#include "data/data_test_files.hpp"

using namespace cos2p;
using namespace data_test;

namespace {

Dataset load(const std::string& directory, DatasetKind kind) {
  return load_dataset(dataset_options(kind, directory));
}

void write_cifar_10(const std::string& directory) {
  write_file(directory + "/data_batch_1.bin", cifar_records(12, false));
  write_gzip(directory + "/data_batch_4.bin.gz", cifar_records(15, false));
  write_file(directory + "/test_batch.bin", cifar_records(11, false));
}

void write_cifar_100(const std::string& directory) {
  write_file(directory + "/train.bin", cifar_records(120, true));
  write_file(directory + "/test.bin", cifar_records(30, true));
}

}  // namespace

BOOST_AUTO_TEST_CASE(the_batches_that_are_there_are_read_in_order) {
  const TemporaryDirectory dir;
  write_cifar_10(dir.str());
  const Dataset data = load(dir.str(), DatasetKind::cifar_10);
  BOOST_TEST_REQUIRE(data.train.size() == 27);
  BOOST_TEST(data.test.size() == 11);
  BOOST_TEST(data.train.classes == 10);
  BOOST_TEST(data.train.height == 32);
  BOOST_TEST(data.train.channels == 3);
  BOOST_TEST_REQUIRE(data.train.files.size() == 2U);
  BOOST_TEST(data.train.files[1] == dir / "data_batch_4.bin.gz");
  BOOST_TEST(data.train.labels[12 + 13] == 3);
}

BOOST_AUTO_TEST_CASE(planes_become_interleaved_channels) {
  const TemporaryDirectory dir;
  write_cifar_10(dir.str());
  const ImageSet set = load(dir.str(), DatasetKind::cifar_10).train;
  for (const int y : {0, 5, 31}) {
    for (const int x : {0, 17, 31}) {
      for (int c = 0; c < 3; ++c) {
        BOOST_TEST(set.image(9)[static_cast<std::size_t>((y * 32 + x) * 3 + c)] ==
                   pixel_value(9, c * 1024 + y * 32 + x));
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(cifar_100_has_fine_or_coarse_labels) {
  const TemporaryDirectory dir;
  fs::create_directories(dir / "cifar-100-binary");
  write_cifar_100(dir / "cifar-100-binary");
  DatasetOptions options = dataset_options(DatasetKind::cifar_100, dir.str());
  const Dataset fine = load_dataset(options);
  options.coarse_labels = true;
  const Dataset coarse = load_dataset(options);
  BOOST_TEST(fine.train.classes == 100);
  BOOST_TEST(fine.train.labels[57] == 57);
  BOOST_TEST(coarse.train.classes == 20);
  BOOST_TEST(coarse.train.labels[57] == 17);
  BOOST_TEST(coarse.test.classes == 20);
  BOOST_TEST((fine.train.pixels == coarse.train.pixels));
  BOOST_TEST(fine.train.image(57)[3] == pixel_value(57, 1));
}

BOOST_AUTO_TEST_CASE(missing_cifar_files_are_named) {
  const TemporaryDirectory dir;
  check_error(ExitCode::data,
              {"cifar-10 files are missing", "data_batch_1.bin[.gz]", "test_batch.bin[.gz]", "binary version",
               "datasets/download.sh cifar-10"},
              [&] { load(dir.str(), DatasetKind::cifar_10); });
  write_cifar_10(dir.str());
  fs::remove(dir / "test_batch.bin");
  check_error(ExitCode::data, {"incomplete", "test_batch.bin"},
              [&] { load(dir.str(), DatasetKind::cifar_10); });
  write_cifar_100(dir.str());
  fs::remove(dir / "train.bin");
  check_error(ExitCode::data, {"incomplete", "train.bin"}, [&] { load(dir.str(), DatasetKind::cifar_100); });
}

BOOST_AUTO_TEST_CASE(cifar_files_of_broken_records_are_refused) {
  const TemporaryDirectory dir;
  write_cifar_10(dir.str());
  const std::string path = dir / "data_batch_1.bin";
  Bytes bytes = cifar_records(12, false);
  bytes.pop_back();
  write_file(path, bytes);
  check_error(ExitCode::data,
              {path, "truncated or over-long", "11 records of 3073 bytes and 3072 bytes more"},
              [&] { load(dir.str(), DatasetKind::cifar_10); });
  write_file(path, {});
  check_error(ExitCode::data, {path, "is empty (0 bytes)"}, [&] { load(dir.str(), DatasetKind::cifar_10); });
  write_cifar_100(dir.str());
  write_file(dir / "test.bin", cifar_records(3, false));
  check_error(ExitCode::data, {dir / "test.bin", "of 3074 bytes"},
              [&] { load(dir.str(), DatasetKind::cifar_100); });
}

BOOST_AUTO_TEST_CASE(cifar_labels_out_of_range_are_refused) {
  const TemporaryDirectory dir;
  write_cifar_10(dir.str());
  Bytes bytes = cifar_records(12, false);
  bytes[3073 * 7] = 10;
  write_file(dir / "data_batch_1.bin", bytes);
  check_error(ExitCode::data, {dir / "data_batch_1.bin", "record 7 is labelled 10", "0 to 9"},
              [&] { load(dir.str(), DatasetKind::cifar_10); });
  write_cifar_100(dir.str());
  bytes = cifar_records(30, true);
  bytes[3074 * 2] = 20;
  write_file(dir / "test.bin", bytes);
  check_error(ExitCode::data, {dir / "test.bin", "coarse labels", "record 2 is labelled 20", "0 to 19"},
              [&] { load(dir.str(), DatasetKind::cifar_100); });
  bytes[3074 * 2] = 0;
  bytes[3074 * 3 + 1] = 100;
  write_file(dir / "test.bin", bytes);
  check_error(ExitCode::data, {"fine labels", "record 3 is labelled 100", "0 to 99"},
              [&] { load(dir.str(), DatasetKind::cifar_100); });
}

BOOST_AUTO_TEST_CASE(a_file_cut_at_a_record_is_betrayed_by_its_official_sisters) {
  const TemporaryDirectory dir;
  write_file(dir / "data_batch_1.bin", cifar_records(5000, false));
  write_gzip(dir / "test_batch.bin.gz", cifar_records(10000, false));
  check_error(ExitCode::data,
              {dir / "data_batch_1.bin", "truncated", "5000 records, the official file has 10000"},
              [&] { load(dir.str(), DatasetKind::cifar_10); });
}

BOOST_AUTO_TEST_CASE(damaged_gzip_batches_are_refused) {
  const TemporaryDirectory dir;
  write_cifar_10(dir.str());
  const std::string path = dir / "data_batch_4.bin.gz";
  Bytes bytes = read_file(path);
  bytes.resize(bytes.size() / 2);
  write_file(path, bytes);
  check_error(ExitCode::data, {path, "truncated"}, [&] { load(dir.str(), DatasetKind::cifar_10); });
}
