// Private to the data room: a file read front to back, plain or compressed with gzip.
#pragma once

#include <zlib.h>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

namespace cos2p::data {

/// Every failure is an Error(data) that names the file, the figures and the cure.
/// A header is never believed before `expect_size`: no memory is taken for bytes that the file cannot hold.
class DataFile {
 public:
  /// Opens `path`; ".gz" in the name says that it is compressed. `cure` ends each message ("get it again with
  /// ...").
  DataFile(std::string path, std::string cure);
  ~DataFile();
  DataFile(const DataFile&) = delete;
  DataFile& operator=(const DataFile&) = delete;

  const std::string& path() const { return path_; }
  const std::string& cure() const { return cure_; }

  /// Checks that the (uncompressed) content can be `size` bytes: exactly for a plain file, by the best
  /// possible ratio for a compressed one, whose true size is known only at its end. `announced` says who
  /// claims that size.
  void expect_size(std::uint64_t size, const std::string& announced) const;
  /// Exactly `size` bytes, else the file is truncated.
  void read(void* out, std::size_t size);
  /// Checks that nothing follows.
  void expect_end();
  /// All the (uncompressed) content, at most `limit` bytes, else the file is over-long.
  std::vector<std::uint8_t> read_all(std::uint64_t limit);

 private:
  struct Closer {
    void operator()(std::FILE* file) const { std::fclose(file); }
  };
  std::size_t read_some(void* out, std::size_t size);  // less than `size` only at the end
  std::size_t read_plain(void* out, std::size_t size);
  std::size_t inflate_some(void* out, std::size_t size);
  bool next_member();

  std::string path_, cure_;
  std::unique_ptr<std::FILE, Closer> file_;
  std::uint64_t file_size_ = 0, delivered_ = 0;
  bool compressed_ = false, member_ended_ = false;
  z_stream stream_{};
  std::vector<std::uint8_t> input_;
};

}  // namespace cos2p::data
