#include "data_file.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <system_error>
#include <utility>

#include "cos2p/support/error.hpp"

namespace cos2p::data {
namespace {

constexpr std::size_t input_size = std::size_t{1} << 16;
constexpr int gzip_window = 15 + 16;  // zlib's way to say: gzip header and trailer, any window
// DEFLATE codes at most 258 bytes in two bits; a claim beyond that is false, however well the content
// compresses.
constexpr std::uint64_t best_ratio = 1032;

bool ends_with(const std::string& text, const std::string& end) {
  return text.size() >= end.size() && text.compare(text.size() - end.size(), end.size(), end) == 0;
}

}  // namespace

DataFile::DataFile(std::string path, std::string cure)
    : path_(std::move(path)), cure_(std::move(cure)), compressed_(ends_with(path_, ".gz")) {
  std::error_code error;
  if (!std::filesystem::is_regular_file(path_, error)) {
    fail(ExitCode::data, "{} cannot be read ({}), correct its path", path_,
         error ? error.message() : "it is not a file");
  }
  file_size_ = std::filesystem::file_size(path_, error);
  if (!error) file_.reset(std::fopen(path_.c_str(), "rb"));
  if (!file_) {
    fail(ExitCode::data, "{} cannot be read ({}), check its permissions", path_,
         error ? error.message() : std::strerror(errno));
  }
  if (compressed_) {
    input_.resize(input_size);
    stream_.avail_in = static_cast<uInt>(read_plain(input_.data(), input_size));
    stream_.next_in = input_.data();
    if (stream_.avail_in < 2 || input_[0] != 0x1f || input_[1] != 0x8b) {
      fail(ExitCode::data, "{} is not compressed with gzip (it does not begin with the bytes 1f 8b), {}",
           path_, cure_);
    }
    COS2P_ASSERT(inflateInit2(&stream_, gzip_window) == Z_OK);
  }
}

DataFile::~DataFile() {
  if (compressed_) inflateEnd(&stream_);
}

void DataFile::expect_size(std::uint64_t size, const std::string& announced) const {
  if (compressed_) {
    if (size / best_ratio > file_size_) {
      fail(ExitCode::data,
           "{} is truncated or its header is wrong ({} bytes announced by {}, more than {} compressed bytes "
           "can hold), {}",
           path_, size, announced, file_size_, cure_);
    }
  } else if (file_size_ < size) {
    fail(ExitCode::data, "{} is truncated ({} of the {} bytes announced by {}), {}", path_, file_size_, size,
         announced, cure_);
  } else if (file_size_ > size) {
    fail(ExitCode::data, "{} is over-long ({} bytes, {} more than announced by {}), {}", path_, file_size_,
         file_size_ - size, announced, cure_);
  }
}

void DataFile::read(void* out, std::size_t size) {
  const std::size_t got = read_some(out, size);
  if (got < size) {
    fail(ExitCode::data, "{} is truncated (it ends after {} bytes, {} are missing), {}", path_, delivered_,
         size - got, cure_);
  }
}

void DataFile::expect_end() {
  std::uint8_t byte = 0;
  const std::uint64_t size = delivered_;
  if (read_some(&byte, 1) != 0) {
    fail(ExitCode::data, "{} is over-long (bytes follow after the {} announced by its header), {}", path_,
         size, cure_);
  }
}

std::vector<std::uint8_t> DataFile::read_all(std::uint64_t limit) {
  if (!compressed_ && file_size_ > limit) {
    fail(ExitCode::data, "{} is over-long ({} bytes, at most {} are possible), {}", path_, file_size_, limit,
         cure_);
  }
  std::vector<std::uint8_t> content(compressed_ ? 0 : static_cast<std::size_t>(file_size_));
  if (!compressed_) {
    read(content.data(), content.size());
    return content;
  }
  while (true) {
    const std::size_t before = content.size(), step = std::max(input_size, before / 2);
    content.resize(before + step);
    const std::size_t got = read_some(content.data() + before, step);
    content.resize(before + got);
    if (content.size() > limit) {
      fail(ExitCode::data, "{} is over-long (more than the {} bytes that are possible), {}", path_, limit,
           cure_);
    }
    if (got < step) return content;
  }
}

std::size_t DataFile::read_some(void* out, std::size_t size) {
  const std::size_t got = compressed_ ? inflate_some(out, size) : read_plain(out, size);
  delivered_ += got;
  return got;
}

std::size_t DataFile::read_plain(void* out, std::size_t size) {
  const std::size_t got = std::fread(out, 1, size, file_.get());
  if (got < size && std::ferror(file_.get()) != 0) {
    fail(ExitCode::data, "{} cannot be read ({}), check the disk", path_, std::strerror(errno));
  }
  return got;
}

std::size_t DataFile::inflate_some(void* out, std::size_t size) {
  std::size_t done = 0;
  while (done < size) {
    if (member_ended_ && !next_member()) break;
    if (stream_.avail_in == 0) {
      stream_.avail_in = static_cast<uInt>(read_plain(input_.data(), input_size));
      stream_.next_in = input_.data();
      if (stream_.avail_in == 0) {
        fail(ExitCode::data, "{} is truncated (its compressed data end after {} uncompressed bytes), {}",
             path_, delivered_ + done, cure_);
      }
    }
    const std::size_t step = std::min<std::size_t>(size - done, 1U << 30);
    stream_.next_out = static_cast<std::uint8_t*>(out) + done;
    stream_.avail_out = static_cast<uInt>(step);
    const int status = inflate(&stream_, Z_NO_FLUSH);
    done += step - stream_.avail_out;
    if (status == Z_STREAM_END) {
      member_ended_ = true;
    } else if (status != Z_OK && status != Z_BUF_ERROR) {
      fail(ExitCode::data, "{} is corrupt ({}, after {} uncompressed bytes), {}", path_,
           stream_.msg != nullptr ? stream_.msg : "gzip data error", delivered_ + done, cure_);
    }
  }
  return done;
}

/// A gzip file may be several streams one after the other; anything else behind a stream is foreign.
bool DataFile::next_member() {
  if (stream_.avail_in == 0) {
    stream_.avail_in = static_cast<uInt>(read_plain(input_.data(), input_size));
    stream_.next_in = input_.data();
    if (stream_.avail_in == 0) return false;
  }
  if (*stream_.next_in != 0x1f) {
    fail(ExitCode::data, "{} is over-long (foreign bytes follow its compressed data), {}", path_, cure_);
  }
  COS2P_ASSERT(inflateReset(&stream_) == Z_OK);
  member_ended_ = false;
  return true;
}

}  // namespace cos2p::data
