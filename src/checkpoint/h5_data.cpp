#include <algorithm>
#include <limits>

#include "cos2p/support/hash.hpp"
#include "h5.hpp"
#include "h5_types.hpp"

namespace cos2p::h5 {
namespace {

constexpr const char* kChecksum = "xxh3_64";
/// Up to so many bytes an array lies in its object's header: one write less, and HDF5's own checksum covers
/// it.
constexpr std::size_t kCompactBytes = 4096;
constexpr std::size_t kChunkRows = 4096;

std::int64_t elements(const Shape& shape) {
  std::int64_t count = 1;
  for (const std::int64_t extent : shape) count *= extent;
  return count;
}

Handle table_type(const std::vector<Column>& columns, std::size_t row, bool in_file) {
  if (!in_file) {
    Handle type(H5Tcreate(H5T_COMPOUND, row), H5Tclose);
    for (const auto& column : columns) {
      H5Tinsert(type.get(), column.name, column.offset, make_type(column.kind, column.width, false).get());
    }
    return type;
  }
  std::size_t size = 0;
  for (const auto& column : columns) size += H5Tget_size(make_type(column.kind, column.width, true).get());
  Handle type(H5Tcreate(H5T_COMPOUND, size), H5Tclose);
  std::size_t offset = 0;
  for (const auto& column : columns) {
    const Handle member = make_type(column.kind, column.width, true);
    H5Tinsert(type.get(), column.name, offset, member.get());
    offset += H5Tget_size(member.get());
  }
  return type;
}

}  // namespace

Shape Dataset::shape() const {
  const Handle space(H5Dget_space(id()), H5Sclose);
  const int rank = H5Sget_simple_extent_ndims(space.get());
  if (rank < 0) context_->failed("read the shape of", path_);
  std::vector<hsize_t> extents(static_cast<std::size_t>(rank));
  if (rank > 0) H5Sget_simple_extent_dims(space.get(), extents.data(), nullptr);
  return Shape(extents.begin(), extents.end());
}

void Dataset::refuse_unstored(std::int64_t elements, std::int64_t element_bytes) const {
  constexpr std::int64_t best_ratio = 1032;  // of DEFLATE
  const auto stored = static_cast<std::int64_t>(H5Dget_storage_size(id()));
  if (elements / best_ratio > stored / element_bytes) {
    context_->refuse(fmt::format("dataset {} announces {} elements of {} bytes and has {} bytes stored",
                                 path_, elements, element_bytes, stored));
  }
}

void Dataset::read_raw(Kind kind, std::size_t element, void* out) const {
  const std::int64_t count = elements(shape());
  if (count == 0) return;
  const Handle type = make_type(kind, 0, false);
  if (H5Dread(id(), type.get(), H5S_ALL, H5S_ALL, H5P_DEFAULT, out) < 0) context_->failed("read", path_);
  if (!has_attribute(kChecksum)) return;
  if (get<std::uint64_t>(kChecksum) != hash64(out, static_cast<std::size_t>(count) * element)) {
    fail(ExitCode::checkpoint,
         "checkpoint '{}' is damaged (the values of {} do not have the checksum that is stored with them), "
         "use the checkpoint before "
         "it or start anew",
         context_->file(), path_);
  }
}

Dataset Group::write_raw(const std::string& name, const Shape& shape, Kind kind, std::size_t element,
                         const void* data) {
  const std::vector<hsize_t> extents(shape.begin(), shape.end());
  const std::size_t bytes = static_cast<std::size_t>(elements(shape)) * element;
  const Handle file_type = make_type(kind, 0, true);
  const Handle memory_type = make_type(kind, 0, false);
  const Handle space(H5Screate_simple(narrow<int>(extents.size()), extents.data(), nullptr), H5Sclose);
  const Handle creation(H5Pcreate(H5P_DATASET_CREATE), H5Pclose);
  H5Pset_fill_time(creation.get(), H5D_FILL_TIME_NEVER);
  H5Pset_layout(creation.get(), bytes <= kCompactBytes ? H5D_COMPACT : H5D_CONTIGUOUS);
  Handle id(H5Dcreate2(this->id(), name.c_str(), file_type.get(), space.get(), H5P_DEFAULT, creation.get(),
                       H5P_DEFAULT),
            H5Dclose);
  if (id.get() < 0) context_->failed("write", child(name));
  Dataset dataset(context_, std::move(id), child(name));
  if (bytes == 0) return dataset;
  if (H5Dwrite(dataset.id(), memory_type.get(), H5S_ALL, H5S_ALL, H5P_DEFAULT, data) < 0)
    context_->failed("write", child(name));
  if (bytes > kCompactBytes) dataset.set<std::uint64_t>(kChecksum, hash64(data, bytes));
  return dataset;
}

Dataset Group::write_rows(const std::string& name, const std::vector<Column>& columns, std::size_t row,
                          std::size_t rows, const void* data) {
  const hsize_t extent = rows, unlimited = H5S_UNLIMITED;
  const hsize_t chunk = std::clamp<std::size_t>(rows, 16, kChunkRows);
  const Handle file_type = table_type(columns, row, true);
  const Handle memory_type = table_type(columns, row, false);
  const Handle space(H5Screate_simple(1, &extent, &unlimited), H5Sclose);
  const Handle creation(H5Pcreate(H5P_DATASET_CREATE), H5Pclose);
  H5Pset_chunk(creation.get(), 1, &chunk);
  H5Pset_fletcher32(creation.get());
  const Handle access(H5Pcreate(H5P_DATASET_ACCESS), H5Pclose);
  H5Pset_chunk_cache(access.get(), 0, 0, 1);  // a chunk is written in H5Dwrite, not in some later close
  Handle id(H5Dcreate2(this->id(), name.c_str(), file_type.get(), space.get(), H5P_DEFAULT, creation.get(),
                       access.get()),
            H5Dclose);
  if (id.get() < 0) context_->failed("write", child(name));
  Dataset dataset(context_, std::move(id), child(name));
  if (rows > 0 && H5Dwrite(dataset.id(), memory_type.get(), H5S_ALL, H5S_ALL, H5P_DEFAULT, data) < 0) {
    context_->failed("write", child(name));
  }
  return dataset;
}

std::size_t Group::table_rows(const Dataset& dataset, const std::vector<Column>& columns) const {
  const Handle type(H5Dget_type(dataset.id()), H5Tclose);
  const Shape shape = dataset.shape();
  if (H5Tget_class(type.get()) != H5T_COMPOUND || shape.size() != 1) {
    context_->refuse(dataset.path() + " is not a table");
  }
  for (const auto& column : columns) {
    if (H5Tget_member_index(type.get(), column.name) < 0) {
      context_->refuse("table " + dataset.path() + " has no column " + column.name);
    }
  }
  dataset.refuse_unstored(shape[0], static_cast<std::int64_t>(H5Tget_size(type.get())));
  return static_cast<std::size_t>(shape[0]);
}

/// HDF5 reads rows that its index does not find as fill values, and the index has no checksum.
void Group::refuse_missing_chunks(const Dataset& dataset) const {
  const Handle creation(H5Dget_create_plist(dataset.id()), H5Pclose);
  hsize_t chunk = 0;
  if (H5Pget_layout(creation.get()) != H5D_CHUNKED || H5Pget_chunk(creation.get(), 1, &chunk) != 1 ||
      chunk == 0)
    return;
  const auto rows = static_cast<hsize_t>(elements(dataset.shape()));
  for (hsize_t first = 0; first < rows; first += chunk) {
    unsigned filters = 0;
    haddr_t address = HADDR_UNDEF;
    hsize_t bytes = 0;
    if (H5Dget_chunk_info_by_coord(dataset.id(), &first, &filters, &address, &bytes) < 0 ||
        address == HADDR_UNDEF)
      context_->failed("read", dataset.path());
  }
}

void Group::read_rows(const Dataset& dataset, const std::vector<Column>& columns, std::size_t row,
                      void* out) const {
  if (elements(dataset.shape()) == 0) return;
  refuse_missing_chunks(dataset);
  const Handle type = table_type(columns, row, false);
  if (H5Dread(dataset.id(), type.get(), H5S_ALL, H5S_ALL, H5P_DEFAULT, out) < 0)
    context_->failed("read", dataset.path());
}

}  // namespace cos2p::h5
