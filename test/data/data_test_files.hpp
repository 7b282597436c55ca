// Small files in the official formats, written into a directory of the test's own.
#pragma once

#include <unistd.h>
#include <zlib.h>

#include <boost/test/unit_test.hpp>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "cos2p/data/dataset.hpp"
#include "cos2p/support/error.hpp"

namespace data_test {

namespace fs = std::filesystem;
using Bytes = std::vector<std::uint8_t>;

/// A fresh, empty directory below the working directory of the test; removed at the end.
class TemporaryDirectory {
 public:
  TemporaryDirectory() {
    static int count = 0;
    path_ = fs::current_path() / ("data_test_" + std::to_string(getpid()) + "_" + std::to_string(count++));
    fs::remove_all(path_);
    fs::create_directories(path_);
  }
  ~TemporaryDirectory() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  std::string str() const { return path_.string(); }
  std::string operator/(const std::string& name) const { return (path_ / name).string(); }

 private:
  fs::path path_;
};

inline void write_file(const std::string& path, const Bytes& bytes) {
  std::ofstream file(path, std::ios::binary);
  file.write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  file.close();
  BOOST_TEST_REQUIRE(file.good());
}

inline Bytes read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return Bytes(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
}

inline void write_gzip(const std::string& path, const Bytes& bytes) {
  gzFile file = gzopen(path.c_str(), "wb");
  BOOST_TEST_REQUIRE(file != nullptr);
  BOOST_TEST_REQUIRE(gzwrite(file, bytes.data(), static_cast<unsigned>(bytes.size())) ==
                     static_cast<int>(bytes.size()));
  BOOST_TEST_REQUIRE(gzclose(file) == Z_OK);
}

inline void append_number(Bytes& bytes, std::uint32_t value) {
  for (const int shift : {24, 16, 8, 0}) bytes.push_back(static_cast<std::uint8_t>(value >> shift));
}

/// Pixel p of image i is (i * 7 + p) mod 256, so that every reader can be checked without storing images.
inline std::uint8_t pixel_value(std::int64_t image, std::int64_t position) {
  return static_cast<std::uint8_t>((image * 7 + position) & 255);
}

inline Bytes idx_images(std::uint32_t count, std::uint32_t height, std::uint32_t width) {
  Bytes bytes;
  for (const std::uint32_t v : {0x803U, count, height, width}) append_number(bytes, v);
  for (std::int64_t i = 0; i < count; ++i) {
    for (std::int64_t p = 0; p < std::int64_t{height} * width; ++p) bytes.push_back(pixel_value(i, p));
  }
  return bytes;
}

/// Labels 0, 1, ..., 9, 0, ...
inline Bytes idx_labels(std::uint32_t count) {
  Bytes bytes;
  append_number(bytes, 0x801);
  append_number(bytes, count);
  for (std::uint32_t i = 0; i < count; ++i) bytes.push_back(static_cast<std::uint8_t>(i % 10));
  return bytes;
}

/// Records with the label bytes (i % 10) or, for CIFAR-100, (i % 20, i % 100); plane byte j is pixel_value(i,
/// j).
inline Bytes cifar_records(int count, bool hundred) {
  Bytes bytes;
  for (int i = 0; i < count; ++i) {
    bytes.push_back(static_cast<std::uint8_t>(i % (hundred ? 20 : 10)));
    if (hundred) bytes.push_back(static_cast<std::uint8_t>(i % 100));
    for (int j = 0; j < 3072; ++j) bytes.push_back(pixel_value(i, j));
  }
  return bytes;
}

inline void write_idx_set(const std::string& directory) {
  write_file(directory + "/train-images-idx3-ubyte", idx_images(30, 4, 6));
  write_file(directory + "/train-labels-idx1-ubyte", idx_labels(30));
  write_file(directory + "/t10k-images-idx3-ubyte", idx_images(20, 4, 6));
  write_file(directory + "/t10k-labels-idx1-ubyte", idx_labels(20));
}

inline cos2p::DatasetOptions dataset_options(cos2p::DatasetKind kind, const std::string& directory) {
  cos2p::DatasetOptions options;
  options.kind = kind;
  options.data_dir = directory;
  return options;
}

/// Checks that `call` throws an Error with this code whose text holds every one of `parts`.
template <typename Call>
void check_error(cos2p::ExitCode code, const std::vector<std::string>& parts, const Call& call) {
  try {
    call();
    BOOST_ERROR("no error was thrown");
  } catch (const cos2p::Error& error) {
    const std::string text = error.what();
    BOOST_TEST_CONTEXT("message: " << text) {
      BOOST_TEST(static_cast<int>(error.code()) == static_cast<int>(code));
      for (const std::string& part : parts) {
        BOOST_TEST_CONTEXT("expected part: " << part) {
          BOOST_TEST((text.find(part) != std::string::npos));
        }
      }
    }
  }
}

}  // namespace data_test
