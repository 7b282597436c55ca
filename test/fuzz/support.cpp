#include "fuzz/support.hpp"

#include <fcntl.h>
#include <spdlog/spdlog.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>
#include <zlib.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <filesystem>

namespace cos2p::fuzz {
namespace {

void require(bool good, const char* what) {
  if (good) return;
  std::fprintf(stderr, "the fuzz target cannot work: %s (%s)\n", what, std::strerror(errno));
  std::abort();
}

}  // namespace

Bytes Input::take(std::size_t bytes) {
  const std::size_t taken = std::min(bytes, size_);
  Bytes result(data_, data_ + taken);
  skip(taken);
  return result;
}

Bytes Input::until(std::uint8_t end) {
  const auto* at = std::find(data_, data_ + size_, end);
  Bytes result = take(static_cast<std::size_t>(at - data_));
  if (size_ > 0) skip(1);
  return result;
}

std::string text_of(const Bytes& bytes) {
  return {bytes.begin(), bytes.end()};
}

MemoryFile::MemoryFile(int fd, std::string path) : fd_(fd), path_(std::move(path)) {
  require(fd_ >= 0, "a file");
}

MemoryFile::MemoryFile() : MemoryFile(::memfd_create("cos2p-fuzz", MFD_CLOEXEC), "") {
  path_ = fmt::format("/proc/self/fd/{}", fd_);
}

NamedFile::NamedFile(const std::string& path)
    : MemoryFile(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600), path) {}

NamedFile::~NamedFile() {
  ::unlink(path().c_str());
}

MemoryFile::~MemoryFile() {
  ::close(fd_);
}

void MemoryFile::write(Span<const std::uint8_t> bytes) const {
  require(::ftruncate(fd_, 0) == 0, "ftruncate");
  if (bytes.empty()) return;
  require(::pwrite(fd_, bytes.data(), bytes.size(), 0) == static_cast<ssize_t>(bytes.size()), "pwrite");
}

void MemoryFile::write(const std::string& text) const {
  write({reinterpret_cast<const std::uint8_t*>(text.data()), text.size()});
}

Bytes MemoryFile::read() const {
  const off_t size = ::lseek(fd_, 0, SEEK_END);
  require(size >= 0, "lseek");
  Bytes bytes(static_cast<std::size_t>(size));
  if (size > 0) require(::pread(fd_, bytes.data(), bytes.size(), 0) == size, "pread");
  return bytes;
}

Directory::Directory() : path_((std::filesystem::temp_directory_path() / "cos2p-fuzz-XXXXXX").string()) {
  require(::mkdtemp(path_.data()) != nullptr, "mkdtemp");
}

Directory::~Directory() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

void Directory::link(const std::string& name, const std::string& target) const {
  unlink(name);
  require(::symlink(target.c_str(), (path_ + "/" + name).c_str()) == 0, "symlink");
}

void Directory::unlink(const std::string& name) const {
  ::unlink((path_ + "/" + name).c_str());
}

void MaybeCompressed::place(std::size_t form, const Bytes& bytes) {
  const std::string name = form == 3 ? "" : form == 0 ? name_ : name_ + ".gz";
  if (name != linked_) {
    if (!linked_.empty()) directory_.unlink(linked_);
    if (!name.empty()) directory_.link(name, file_.path());
    linked_ = name;
  }
  file_.write(form == 1 ? gzip(bytes) : bytes);
}

Bytes gzip(const Bytes& bytes) {
  z_stream stream{};
  constexpr int kGzip = 15 + 16, kMemory = 1;
  require(deflateInit2(&stream, 1, Z_DEFLATED, kGzip, kMemory, Z_DEFAULT_STRATEGY) == Z_OK, "deflateInit2");
  Bytes result(deflateBound(&stream, static_cast<uLong>(bytes.size())) + 64);
  stream.next_in = const_cast<Bytef*>(bytes.data());
  stream.avail_in = static_cast<uInt>(bytes.size());
  stream.next_out = result.data();
  stream.avail_out = static_cast<uInt>(result.size());
  require(deflate(&stream, Z_FINISH) == Z_STREAM_END, "deflate");
  result.resize(stream.total_out);
  deflateEnd(&stream);
  return result;
}

void found(const std::string& what) {
  std::fprintf(stderr, "FOUND: %s\n", what.c_str());
  std::abort();
}

void keep_quiet() {
  static const bool done = [] {
    spdlog::set_level(spdlog::level::off);
    return true;
  }();
  static_cast<void>(done);
}

}  // namespace cos2p::fuzz
