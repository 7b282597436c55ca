#pragma once

#include <hdf5.h>
#include <sys/resource.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "cos2p/support/error.hpp"
#include "cos2p/support/narrow.hpp"

/// A small layer over the HDF5 C library: handles that close themselves, errors that name file, path and
/// reason. Reading throws Error(checkpoint), writing throws Error(environment). Destructors never throw.
namespace cos2p::h5 {

using Shape = std::vector<std::int64_t>;
std::string to_string(const Shape& shape);  ///< "(4, 3, 16, 64)"

/// Held while HDF5 is used: one thread at a time (not every build of HDF5 is thread-safe). HDF5 prints
/// nothing itself from here on; turned on again, its printing would also report at exit the memory that it
/// loses over a damaged root group.
class Session {
 public:
  Session();

 private:
  std::unique_lock<std::mutex> lock_;
};

/// Owns one HDF5 identifier.
class Handle {
 public:
  using Close = herr_t (*)(hid_t);
  Handle() = default;
  Handle(hid_t id, Close close) : id_(id), close_(close) {}
  Handle(Handle&& other) noexcept { swap(other); }
  Handle& operator=(Handle&& other) noexcept {
    Handle gone(std::move(other));
    swap(gone);
    return *this;
  }
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;
  ~Handle() {
    if (id_ >= 0) close_(id_);
  }
  hid_t get() const { return id_; }
  hid_t release() { return std::exchange(id_, -1); }

 private:
  void swap(Handle& other) noexcept {
    std::swap(id_, other.id_);
    std::swap(close_, other.close_);
  }
  hid_t id_ = -1;
  Close close_ = nullptr;
};

/// What an operation needs to know of its file to explain a failure, and to survive it.
class Context {
 public:
  Context(std::string file, bool writing) : file_(std::move(file)), writing_(writing) {}
  ~Context();
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;
  Context(Context&&) = delete;
  Context& operator=(Context&&) = delete;
  const std::string& file() const { return file_; }
  /// Turns HDF5's descriptor into a sink: a library that can still "write" closes its objects cleanly, where
  /// one that meets the full disk again in each close would leave them open, and crash at exit.
  void give_up_writing();
  /// Throws for a failed HDF5 call, with HDF5's innermost reason; while writing it gives up the writing.
  [[noreturn]] void failed(const char* action, const std::string& path);
  /// Throws Error(checkpoint): what the file holds is not what it should.
  [[noreturn]] void refuse(const std::string& reason) const;
  void set_descriptor(int fd) { fd_ = fd; }
  int descriptor() const { return fd_; }

 private:
  std::string file_;
  bool writing_;
  int fd_ = -1;
  std::optional<rlimit> file_size_limit_;  ///< to restore, once the file is closed
};

enum class Kind { uint8, int32, int64, uint64, float32, float64, text };
template <typename T>
constexpr Kind kind_of();
template <>
constexpr Kind kind_of<std::uint8_t>() {
  return Kind::uint8;
}
template <>
constexpr Kind kind_of<std::int32_t>() {
  return Kind::int32;
}
template <>
constexpr Kind kind_of<std::int64_t>() {
  return Kind::int64;
}
template <>
constexpr Kind kind_of<std::uint64_t>() {
  return Kind::uint64;
}
template <>
constexpr Kind kind_of<float>() {
  return Kind::float32;
}
template <>
constexpr Kind kind_of<double>() {
  return Kind::float64;
}

/// A group or a dataset: something that carries attributes.
class Object {
 public:
  Object(std::shared_ptr<Context> context, Handle id, std::string path)
      : context_(std::move(context)), id_(std::move(id)), path_(std::move(path)) {}
  const std::string& path() const { return path_; }
  Context& context() const { return *context_; }
  hid_t id() const { return id_.get(); }

  void set_text(const std::string& name, const std::string& value);
  void set_texts(const std::string& name,
                 const std::vector<std::string>& values);  ///< `values` must not be empty
  template <typename T>
  void set(const std::string& name, T value) {
    set_numbers(name, kind_of<T>(), nullptr, &value);
  }
  template <typename T>
  void set_array(const std::string& name, const std::vector<T>& values) {  ///< `values` must not be empty
    const auto size = static_cast<hsize_t>(values.size());
    set_numbers(name, kind_of<T>(), &size, values.data());
  }

  bool has_attribute(const std::string& name) const;
  std::vector<std::string> attribute_names() const;
  std::string get_text(const std::string& name) const;
  template <typename T>
  T get(const std::string& name) const {
    T value{};
    get_numbers(name, kind_of<T>(), 1, &value);
    return value;
  }
  template <typename T>
  std::vector<T> get_array(const std::string& name) const {
    std::vector<T> values(attribute_size(name));
    get_numbers(name, kind_of<T>(), values.size(), values.data());
    return values;
  }

 protected:
  std::string attribute_path(const std::string& name) const { return path_ + " attribute " + name; }
  Handle open_attribute(const std::string& name) const;
  std::size_t attribute_size(const std::string& name) const;
  void set_numbers(const std::string& name, Kind kind, const hsize_t* size, const void* values);
  void get_numbers(const std::string& name, Kind kind, std::size_t size, void* values) const;

  std::shared_ptr<Context> context_;
  Handle id_;
  std::string path_;
};

class Dataset : public Object {
 public:
  using Object::Object;
  Shape shape() const;
  /// Reads all elements and checks the stored checksum, where there is one. `out` holds as many as shape()
  /// says.
  template <typename T>
  void read(T* out) const {
    read_raw(kind_of<T>(), sizeof(T), out);
  }
  /// Refuses a dataset whose shape announces more than what is stored of it can be: before memory is
  /// taken for them.
  void refuse_unstored(std::int64_t elements, std::int64_t element_bytes) const;

 private:
  void read_raw(Kind kind, std::size_t element, void* out) const;
};

/// One column of a table: a member of a C++ struct, and its name in the file.
struct Column {
  const char* name;
  std::size_t offset;
  Kind kind;
  std::size_t width = 0;  ///< bytes of a Kind::text member, its closing zero among them
};

class Group : public Object {
 public:
  using Object::Object;
  bool has(const std::string& name) const;
  std::int64_t links() const;  ///< groups and datasets directly in it
  Group create_group(const std::string& name);
  Group open_group(const std::string& name) const;
  Dataset open_dataset(const std::string& name) const;

  template <typename T>
  Dataset write_array(const std::string& name, const Shape& shape, const T* data) {
    return write_raw(name, shape, kind_of<T>(), sizeof(T), data);
  }
  template <typename T>
  Dataset write_array(const std::string& name, const std::vector<T>& values) {
    return write_array(name, {narrow<std::int64_t>(values.size())}, values.data());
  }
  template <typename T>
  std::vector<T> read_array(const std::string& name) const {  ///< one axis, any length
    const Dataset dataset = open_dataset(name);
    const Shape shape = dataset.shape();
    if (shape.size() != 1) {
      context_->refuse("dataset " + dataset.path() + " has shape " + to_string(shape) +
                       " where one axis is expected");
    }
    dataset.refuse_unstored(shape[0], static_cast<std::int64_t>(sizeof(T)));
    std::vector<T> values(static_cast<std::size_t>(shape[0]));
    dataset.read(values.data());
    return values;
  }

  /// A table that others can append to: one chunked, unlimited axis of rows, each chunk with its Fletcher-32
  /// checksum.
  template <typename Row>
  Dataset write_table(const std::string& name, const std::vector<Column>& columns,
                      const std::vector<Row>& rows) {
    return write_rows(name, columns, sizeof(Row), rows.size(), rows.data());
  }
  template <typename Row>
  std::vector<Row> read_table(const std::string& name, const std::vector<Column>& columns) const {
    const Dataset dataset = open_dataset(name);
    std::vector<Row> rows(table_rows(dataset, columns));
    read_rows(dataset, columns, sizeof(Row), rows.data());
    return rows;
  }

 private:
  std::string child(const std::string& name) const { return (path_ == "/" ? path_ : path_ + "/") + name; }
  Dataset write_raw(const std::string& name, const Shape& shape, Kind kind, std::size_t element,
                    const void* data);
  Dataset write_rows(const std::string& name, const std::vector<Column>& columns, std::size_t row,
                     std::size_t rows, const void* data);
  std::size_t table_rows(const Dataset& dataset, const std::vector<Column>& columns) const;
  void refuse_missing_chunks(const Dataset& dataset) const;
  void read_rows(const Dataset& dataset, const std::vector<Column>& columns, std::size_t row,
                 void* out) const;
};

/// An open file. Metadata is written in the format of HDF5 1.8, whose structures carry checksums and which
/// every tool reads.
class File {
 public:
  static File create(const std::string& path);
  static File open(const std::string& path);
  Group root() const;
  /// Everything to the disk, then closed. Throws Error(environment); the file is then worth nothing.
  void sync_and_close();

 private:
  File(std::shared_ptr<Context> context, Handle id) : context_(std::move(context)), id_(std::move(id)) {}
  [[noreturn]] void abandon(const char* action, int error);

  std::shared_ptr<Context> context_;
  Handle id_;  // closed before the context goes
};

}  // namespace cos2p::h5
