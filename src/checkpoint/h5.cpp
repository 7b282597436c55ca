#include "h5.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "h5_types.hpp"

namespace cos2p::h5 {
namespace {

std::mutex& library_mutex() {
  static std::mutex mutex;
  return mutex;
}

/// H5Ewalk2 callback: keeps the text of the first entry, which is the innermost.
herr_t keep_innermost(unsigned n, const H5E_error2_t* entry, void* out) {
  if (n == 0 && entry->desc != nullptr) *static_cast<std::string*>(out) = entry->desc;
  return 0;
}

/// H5Aiterate2 callback: collects the names.
herr_t keep_name(hid_t, const char* name, const H5A_info_t*, void* out) {
  static_cast<std::vector<std::string>*>(out)->emplace_back(name);
  return 0;
}

/// HDF5's innermost reason; of a failed system call only the system's words ("No space left on device").
std::string innermost_reason() {
  std::string text;
  H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, keep_innermost, &text);
  const std::string mark = "error message = '";
  const auto begin = text.find(mark);
  if (begin != std::string::npos) {
    const auto end = text.find('\'', begin + mark.size());
    return text.substr(begin + mark.size(), end == std::string::npos ? end : end - begin - mark.size());
  }
  return text.empty() ? "HDF5 gives no reason" : "HDF5: " + text;
}

/// Makes `fd` lead to memory instead of the file. Only HDF5's few cached metadata are still to come.
void turn_into_sink(int fd) {
  int sink = memfd_create("cos2p-abandoned-checkpoint", MFD_CLOEXEC);
  if (sink < 0) sink = ::open("/dev/null", O_RDWR | O_CLOEXEC);
  if (sink < 0) return;
  ::dup2(sink, fd);
  ::close(sink);
}

/// Opening and creating take the same driver and limits.
Handle file_access() {
  Handle access(H5Pcreate(H5P_FILE_ACCESS), H5Pclose);
  H5Pset_fapl_sec2(access.get());
  H5Pset_fclose_degree(access.get(), H5F_CLOSE_STRONG);
  H5Pset_libver_bounds(access.get(), H5F_LIBVER_V18, H5F_LIBVER_LATEST);
  // Every write goes to the file at once, so that its failure shows in the call that wrote and not in a
  // close.
  H5Pset_sieve_buf_size(access.get(), 0);
  // Some cluster file systems have no locks; a checkpoint needs none, since it is complete when it gets its
  // name.
#if H5_VERSION_GE(1, 12, 1) || (H5_VERSION_GE(1, 10, 7) && !H5_VERSION_GE(1, 11, 0))
  H5Pset_file_locking(access.get(), false, true);
#endif
  return access;
}

/// The bytes of a new file without any content.
std::vector<char> empty_image(Context& context) {
  const Handle access = file_access();
  H5Pset_fapl_core(access.get(), 64, false);
  const Handle file(H5Fcreate("cos2p-empty.h5", H5F_ACC_TRUNC, H5P_DEFAULT, access.get()), H5Fclose);
  if (file.get() < 0 || H5Fflush(file.get(), H5F_SCOPE_GLOBAL) < 0) context.failed("create", "/");
  // Not H5Fget_file_image: HDF5 1.10 changes a byte of that copy without its checksum.
  void* memory = nullptr;
  hsize_t size = 0;
  if (H5Fget_vfd_handle(file.get(), access.get(), &memory) < 0 || H5Fget_filesize(file.get(), &size) < 0) {
    context.failed("create", "/");
  }
  const char* bytes = *static_cast<const char* const*>(memory);
  return {bytes, bytes + size};
}

/// Creates `path` with these bytes. Throws Error(environment) with the system's reason.
void write_image(const std::string& path, const std::vector<char>& image) {
  const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  int error = fd < 0 ? errno : 0;
  for (std::size_t done = 0; error == 0 && done < image.size();) {
    const ssize_t step = ::write(fd, image.data() + done, image.size() - done);
    if (step > 0) {
      done += static_cast<std::size_t>(step);
    } else if (step < 0 && errno != EINTR) {
      error = errno;
    }
  }
  if (fd >= 0 && ::close(fd) != 0 && error == 0) error = errno;
  if (error != 0) {
    fail(ExitCode::environment, "cannot create checkpoint '{}' ({}), free space or choose another --output",
         path, std::strerror(error));
  }
}

/// For writing: all metadata stay in memory until the flush, so that no write of theirs can fail before.
Handle file_access_for_writing() {
  Handle access = file_access();
  H5AC_cache_config_t cache{};
  cache.version = H5AC__CURR_CACHE_CONFIG_VERSION;
  H5Pget_mdc_config(access.get(), &cache);
  cache.evictions_enabled = false;
  cache.incr_mode = H5C_incr__off;
  cache.flash_incr_mode = H5C_flash_incr__off;
  cache.decr_mode = H5C_decr__off;
  H5Pset_mdc_config(access.get(), &cache);
  return access;
}

constexpr unsigned kCompactAttributes = 256;  // up to so many, attributes lie in the object's own header

}  // namespace

std::string to_string(const Shape& shape) {
  std::string text = "(";
  for (std::size_t i = 0; i < shape.size(); ++i) text += (i == 0 ? "" : ", ") + std::to_string(shape[i]);
  return text + ")";
}

Session::Session() : lock_(library_mutex()) {
  // A file whose closing failed (a full disk) stays in the library's tables, and its handler at the program's
  // end would close it once more and crash. Everything of ours is closed by then. Counts only before the
  // first call.
  H5dont_atexit();
  H5open();
  H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);
}

Context::~Context() {
  if (file_size_limit_) ::setrlimit(RLIMIT_FSIZE, &*file_size_limit_);
}

void Context::give_up_writing() {
  if (fd_ < 0) return;
  turn_into_sink(fd_);
  // A limit on the size of files (ulimit -f) would hold for the sink, too.
  rlimit limit{};
  if (file_size_limit_ || ::getrlimit(RLIMIT_FSIZE, &limit) != 0) return;
  file_size_limit_ = limit;
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_FSIZE, &limit);
}

void Context::failed(const char* action, const std::string& path) {
  const std::string reason = innermost_reason();
  if (writing_) {
    give_up_writing();
    fail(ExitCode::environment, "cannot {} {} of checkpoint '{}' ({}), free space or choose another --output",
         action, path, file_, reason);
  }
  fail(ExitCode::checkpoint,
       "checkpoint '{}' is damaged or not complete (cannot {} {}; {}), use the checkpoint before it or start "
       "anew",
       file_, action, path, reason);
}

void Context::refuse(const std::string& reason) const {
  fail(ExitCode::checkpoint, "checkpoint '{}' cannot be used ({}), use another checkpoint or start anew",
       file_, reason);
}

Handle make_type(Kind kind, std::size_t text_width, bool in_file) {
  hid_t type = H5I_INVALID_HID;
  switch (kind) {
    case Kind::uint8:
      type = in_file ? H5T_STD_U8LE : H5T_NATIVE_UINT8;
      break;
    case Kind::int32:
      type = in_file ? H5T_STD_I32LE : H5T_NATIVE_INT32;
      break;
    case Kind::int64:
      type = in_file ? H5T_STD_I64LE : H5T_NATIVE_INT64;
      break;
    case Kind::uint64:
      type = in_file ? H5T_STD_U64LE : H5T_NATIVE_UINT64;
      break;
    case Kind::float32:
      type = in_file ? H5T_IEEE_F32LE : H5T_NATIVE_FLOAT;
      break;
    case Kind::float64:
      type = in_file ? H5T_IEEE_F64LE : H5T_NATIVE_DOUBLE;
      break;
    case Kind::text:
      type = H5T_C_S1;
      break;
  }
  Handle copy(H5Tcopy(type), H5Tclose);
  if (kind == Kind::text) {
    H5Tset_size(copy.get(), text_width);
    H5Tset_strpad(copy.get(), H5T_STR_NULLTERM);
    H5Tset_cset(copy.get(), H5T_CSET_UTF8);
  }
  return copy;
}

// ---- attributes

void Object::set_texts(const std::string& name, const std::vector<std::string>& values) {
  COS2P_ASSERT(!values.empty());
  std::size_t width = 1;  // with the zero at the end
  for (const auto& value : values) width = std::max(width, value.size() + 1);
  std::vector<char> packed(width * values.size(), '\0');
  for (std::size_t i = 0; i < values.size(); ++i)
    std::copy(values[i].begin(), values[i].end(), packed.data() + i * width);
  const hsize_t size = values.size();
  const Handle type = make_type(Kind::text, width, true);
  const Handle space(H5Screate_simple(1, &size, nullptr), H5Sclose);
  const Handle attribute(H5Acreate2(id(), name.c_str(), type.get(), space.get(), H5P_DEFAULT, H5P_DEFAULT),
                         H5Aclose);
  if (attribute.get() < 0 || H5Awrite(attribute.get(), type.get(), packed.data()) < 0)
    context_->failed("write", attribute_path(name));
}

void Object::set_text(const std::string& name, const std::string& value) {
  const std::size_t width = value.size() + 1;
  std::string padded = value;
  padded.resize(width, '\0');
  const Handle type = make_type(Kind::text, width, true);
  const Handle space(H5Screate(H5S_SCALAR), H5Sclose);
  const Handle attribute(H5Acreate2(id(), name.c_str(), type.get(), space.get(), H5P_DEFAULT, H5P_DEFAULT),
                         H5Aclose);
  if (attribute.get() < 0 || H5Awrite(attribute.get(), type.get(), padded.data()) < 0)
    context_->failed("write", attribute_path(name));
}

void Object::set_numbers(const std::string& name, Kind kind, const hsize_t* size, const void* values) {
  COS2P_ASSERT(size == nullptr || *size > 0);
  const Handle file_type = make_type(kind, 0, true);
  const Handle memory_type = make_type(kind, 0, false);
  const Handle space(size == nullptr ? H5Screate(H5S_SCALAR) : H5Screate_simple(1, size, nullptr), H5Sclose);
  const Handle attribute(
      H5Acreate2(id(), name.c_str(), file_type.get(), space.get(), H5P_DEFAULT, H5P_DEFAULT), H5Aclose);
  if (attribute.get() < 0 || H5Awrite(attribute.get(), memory_type.get(), values) < 0) {
    context_->failed("write", attribute_path(name));
  }
}

bool Object::has_attribute(const std::string& name) const {
  return H5Aexists(id(), name.c_str()) > 0;
}

Handle Object::open_attribute(const std::string& name) const {
  Handle attribute(H5Aopen(id(), name.c_str(), H5P_DEFAULT), H5Aclose);
  if (attribute.get() < 0) context_->failed("open", attribute_path(name));
  return attribute;
}

std::vector<std::string> Object::attribute_names() const {
  std::vector<std::string> names;
  hsize_t from = 0;
  if (H5Aiterate2(id(), H5_INDEX_NAME, H5_ITER_INC, &from, keep_name, &names) < 0) {
    context_->failed("read the attributes of", path_);
  }
  return names;
}

std::size_t Object::attribute_size(const std::string& name) const {
  const Handle attribute = open_attribute(name);
  const Handle space(H5Aget_space(attribute.get()), H5Sclose);
  const hssize_t points = H5Sget_simple_extent_npoints(space.get());
  if (points < 0) context_->failed("read", attribute_path(name));
  return static_cast<std::size_t>(points);
}

void Object::get_numbers(const std::string& name, Kind kind, std::size_t size, void* values) const {
  const std::size_t found = attribute_size(name);
  if (found != size) {
    context_->refuse(fmt::format("{} has {} values, expected {}", attribute_path(name), found, size));
  }
  const Handle attribute = open_attribute(name);
  const Handle type = make_type(kind, 0, false);
  if (H5Aread(attribute.get(), type.get(), values) < 0) context_->failed("read", attribute_path(name));
}

std::string Object::get_text(const std::string& name) const {
  const Handle attribute = open_attribute(name);
  const Handle type(H5Aget_type(attribute.get()), H5Tclose);
  if (H5Tget_class(type.get()) != H5T_STRING || attribute_size(name) != 1) {
    context_->refuse(attribute_path(name) + " is not a text");
  }
  if (H5Tis_variable_str(type.get()) >
      0) {  // as h5py writes it, should somebody have corrected a text by hand
    char* text = nullptr;
    if (H5Aread(attribute.get(), type.get(), &text) < 0) context_->failed("read", attribute_path(name));
    std::string value = text == nullptr ? "" : text;
    H5free_memory(text);
    return value;
  }
  std::string value(H5Tget_size(type.get()), '\0');
  if (H5Aread(attribute.get(), type.get(), value.data()) < 0) context_->failed("read", attribute_path(name));
  value.resize(std::strlen(value.c_str()));
  return value;
}

// ---- groups

bool Group::has(const std::string& name) const {
  return H5Lexists(id(), name.c_str(), H5P_DEFAULT) > 0;
}

std::int64_t Group::links() const {
  H5G_info_t info;
  if (H5Gget_info(id(), &info) < 0) context_->failed("read", path_);
  return static_cast<std::int64_t>(info.nlinks);
}

Group Group::create_group(const std::string& name) {
  const Handle creation(H5Pcreate(H5P_GROUP_CREATE), H5Pclose);
  H5Pset_attr_phase_change(creation.get(), kCompactAttributes, 0);
  Handle group(H5Gcreate2(id(), name.c_str(), H5P_DEFAULT, creation.get(), H5P_DEFAULT), H5Gclose);
  if (group.get() < 0) context_->failed("write", child(name));
  return {context_, std::move(group), child(name)};
}

Group Group::open_group(const std::string& name) const {
  Handle group(H5Gopen2(id(), name.c_str(), H5P_DEFAULT), H5Gclose);
  if (group.get() < 0) context_->failed("open", child(name));
  return {context_, std::move(group), child(name)};
}

Dataset Group::open_dataset(const std::string& name) const {
  Handle dataset(H5Dopen2(id(), name.c_str(), H5P_DEFAULT), H5Dclose);
  if (dataset.get() < 0) context_->failed("open", child(name));
  return {context_, std::move(dataset), child(name)};
}

// ---- files

File File::create(const std::string& path) {
  auto context = std::make_shared<Context>(path, true);
  // HDF5 writes while it creates, and on a full disk cannot tidy up a creation that fails. So it creates in
  // memory; the few bytes of an empty file are written here, and HDF5 opens that.
  write_image(path, empty_image(*context));
  // Lives until a failure is told: any close makes HDF5 forget the reason.
  const Handle access = file_access_for_writing();
  Handle file(H5Fopen(path.c_str(), H5F_ACC_RDWR, access.get()), H5Fclose);
  void* descriptor = nullptr;
  if (file.get() < 0 || H5Fget_vfd_handle(file.get(), H5P_DEFAULT, &descriptor) < 0)
    context->failed("open", "/");
  context->set_descriptor(*static_cast<const int*>(descriptor));
  return {std::move(context), std::move(file)};
}

File File::open(const std::string& path) {
  auto context = std::make_shared<Context>(path, false);
  const Handle access = file_access();
  Handle file(H5Fopen(path.c_str(), H5F_ACC_RDONLY, access.get()), H5Fclose);
  if (file.get() < 0) context->failed("open", "the file");
  return {std::move(context), std::move(file)};
}

Group File::root() const {
  Handle group(H5Gopen2(id_.get(), "/", H5P_DEFAULT), H5Gclose);
  if (group.get() < 0) context_->failed("open", "/");
  return {context_, std::move(group), "/"};
}

void File::sync_and_close() {
  // The metadata are all still in HDF5's cache, and a flush that fails half-way leaves it unusable: so their
  // space is taken first. (Where a file system cannot reserve space, the C library writes to each block
  // instead.)
  hsize_t size = 0;
  if (H5Fget_filesize(id_.get(), &size) < 0) context_->failed("measure", "/");
  int error = 0;
  do {
    error = ::posix_fallocate(context_->descriptor(), 0, narrow<off_t>(size, "file size"));
  } while (error == EINTR);
  if (error != 0 && error != EINVAL && error != EOPNOTSUPP) abandon("reserve space for", error);
  if (H5Fflush(id_.get(), H5F_SCOPE_GLOBAL) < 0) context_->failed("flush", "/");
  // HDF5 may have found shorter metadata than it first asked for: what was reserved behind its end goes back.
  if (H5Fget_filesize(id_.get(), &size) < 0) context_->failed("measure", "/");
  if (::ftruncate(context_->descriptor(), static_cast<off_t>(size)) != 0) abandon("shorten", errno);
  // Delayed allocation and network file systems tell of a full disk or quota only here.
  if (::fsync(context_->descriptor()) != 0) abandon("sync", errno);
  if (H5Fclose(id_.release()) < 0) context_->failed("close", "/");
}

void File::abandon(const char* action, int error) {
  context_->give_up_writing();
  fail(ExitCode::environment, "cannot {} checkpoint '{}' ({}), free space or choose another --output", action,
       context_->file(), std::strerror(error));
}

}  // namespace cos2p::h5
