// What the fuzz targets share: inputs taken apart, files in memory, and the property that each of them
// checks.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <string>
#include <type_traits>
#include <vector>

#include "cos2p/support/error.hpp"
#include "cos2p/support/span.hpp"

/// libFuzzer's entry; replay_main.cpp calls it too.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace cos2p::fuzz {

using Bytes = std::vector<std::uint8_t>;

/// Takes an input apart from its front. Behind its end everything is zero or empty, so that each input means
/// something.
class Input {
 public:
  Input(const std::uint8_t* data, std::size_t size) : data_(data), size_(size) {}
  bool empty() const { return size_ == 0; }
  std::size_t size() const { return size_; }
  std::uint8_t byte() { return number<std::uint8_t>(); }
  /// In [0, limit), from one byte.
  std::size_t choice(std::size_t limit) { return byte() % limit; }
  /// Little endian.
  template <typename T>
  T number() {
    static_assert(std::is_trivially_copyable_v<T>);
    T value{};
    const std::size_t bytes = size_ < sizeof(T) ? size_ : sizeof(T);
    if (bytes > 0) std::memcpy(static_cast<void*>(&value), data_, bytes);
    skip(bytes);
    return value;
  }
  /// The next bytes, as many as there are.
  Bytes take(std::size_t bytes);
  /// Two bytes say how many.
  Bytes part() { return take(number<std::uint16_t>()); }
  /// Up to the next such byte, which is skipped.
  Bytes until(std::uint8_t end);
  Bytes rest() { return take(size_); }

 private:
  void skip(std::size_t bytes) {
    data_ += bytes;
    size_ -= bytes;
  }
  const std::uint8_t* data_;
  std::size_t size_;
};

std::string text_of(const Bytes& bytes);

/// A file in memory whose path a reader can open.
class MemoryFile {
 public:
  MemoryFile();
  virtual ~MemoryFile();
  MemoryFile(const MemoryFile&) = delete;
  MemoryFile& operator=(const MemoryFile&) = delete;
  void write(Span<const std::uint8_t> bytes) const;  ///< in place of what was in it
  void write(const std::string& text) const;
  Bytes read() const;
  const std::string& path() const { return path_; }
  int descriptor() const { return fd_; }

 protected:
  MemoryFile(int fd, std::string path);

 private:
  int fd_;
  std::string path_;
};

/// A directory of links to files in memory, for readers that look for names; removed at the end.
class Directory {
 public:
  Directory();
  ~Directory();
  Directory(const Directory&) = delete;
  Directory& operator=(const Directory&) = delete;
  void link(const std::string& name, const std::string& target) const;  ///< in place of what it led to
  void unlink(const std::string& name) const;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

/// A file with a name, for HDF5, which resolves paths. In memory where temporary files lie there.
class NamedFile : public MemoryFile {
 public:
  explicit NamedFile(const std::string& path);
  ~NamedFile() override;
};

/// A file that a reader takes plain or compressed, under NAME or NAME.gz of a directory.
class MaybeCompressed {
 public:
  MaybeCompressed(const Directory& directory, std::string name)
      : directory_(directory), name_(std::move(name)) {}
  /// `form`: 0 the bytes as they are, 1 compressed here, so that what lies behind the compression is reached,
  /// 2 the bytes as a compressed file, 3 no file at all.
  void place(std::size_t form, const Bytes& bytes);
  static constexpr std::size_t kForms = 4;

 private:
  const Directory& directory_;
  std::string name_;
  MemoryFile file_;
  std::string linked_;  ///< the name under which it can be found now
};
Bytes gzip(const Bytes& bytes);

/// Ends the program: a target's property does not hold.
[[noreturn]] void found(const std::string& what);

/// The property of all readers: `read` comes back, or throws an Error with one of these codes and something
/// to say. Any other exception goes through to the fuzzer, which reports it.
template <typename Read>
bool read_or_refused(std::initializer_list<ExitCode> codes, const Read& read) {
  try {
    read();
    return true;
  } catch (const Error& error) {
    for (const ExitCode code : codes) {
      if (error.code() == code && error.what()[0] != '\0') return false;
    }
    found(fmt::format("refused with exit code {}: {}", static_cast<int>(error.code()), error.what()));
  }
}

/// Nothing is logged while inputs are read.
void keep_quiet();

}  // namespace cos2p::fuzz
