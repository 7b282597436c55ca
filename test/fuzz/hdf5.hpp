// Files of HDF5 as somebody else's program would write them: the targets build and change them through the
// library, so that what they hold is anything and its structure is right.
#pragma once

#include <hdf5.h>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "fuzz/support.hpp"

/// HDF5 itself loses some memory over a damaged group; the leak sanitizer is to watch ours.
extern "C" inline const char*
__lsan_default_suppressions() {  // NOLINT(bugprone-reserved-identifier): the sanitizer's name
  return "leak:libhdf5\n";
}

namespace cos2p::fuzz {

/// Owns one identifier of HDF5.
class Owned {
 public:
  Owned(hid_t id, herr_t (*close)(hid_t)) : id_(id), close_(close) {}
  Owned(Owned&& other) noexcept : id_(std::exchange(other.id_, -1)), close_(other.close_) {}
  Owned(const Owned&) = delete;
  Owned& operator=(const Owned&) = delete;
  Owned& operator=(Owned&&) = delete;
  ~Owned() {
    if (id_ >= 0) close_(id_);
  }
  hid_t get() const { return id_; }

 private:
  hid_t id_;
  herr_t (*close_)(hid_t);
};

inline void no_error_stack() {
  H5dont_atexit();
  H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);
}

/// A type of the file; numbers mostly.
inline Owned any_type(Input& input) {
  switch (input.choice(12)) {
    case 0:
      return {H5Tcopy(H5T_STD_U8LE), H5Tclose};
    case 1:
      return {H5Tcopy(H5T_STD_I32LE), H5Tclose};
    case 2:
      return {H5Tcopy(H5T_STD_I64LE), H5Tclose};
    case 3:
      return {H5Tcopy(H5T_STD_U64BE), H5Tclose};
    case 4:
      return {H5Tcopy(H5T_IEEE_F32LE), H5Tclose};
    case 5:
      return {H5Tcopy(H5T_IEEE_F64LE), H5Tclose};
    case 6:
      return {H5Tcopy(H5T_STD_I8LE), H5Tclose};
    case 7: {
      Owned text(H5Tcopy(H5T_C_S1), H5Tclose);
      H5Tset_size(text.get(), 1 + input.choice(64));
      return text;
    }
    case 8: {
      Owned text(H5Tcopy(H5T_C_S1), H5Tclose);
      H5Tset_size(text.get(), H5T_VARIABLE);
      return text;
    }
    case 9: {
      Owned row(H5Tcreate(H5T_COMPOUND, 12), H5Tclose);
      H5Tinsert(row.get(), "round", 0, H5T_STD_I32LE);
      H5Tinsert(row.get(), "time_s", 4, H5T_IEEE_F64LE);
      return row;
    }
    case 10: {
      // An integer of an odd precision.
      Owned odd(H5Tcopy(H5T_STD_U16LE), H5Tclose);
      H5Tset_precision(odd.get(), 1 + input.choice(16));
      return odd;
    }
    default: {
      Owned list(H5Tenum_create(H5T_STD_U8LE), H5Tclose);
      const std::uint8_t value = 1;
      H5Tenum_insert(list.get(), "one", &value);
      return list;
    }
  }
}

/// Up to five axes, mostly short; now and then one that no memory holds.
inline std::vector<hsize_t> any_shape(Input& input) {
  std::vector<hsize_t> shape(input.choice(6));
  for (hsize_t& extent : shape) {
    const std::uint8_t choice = input.byte();
    extent = choice < 250 ? choice % 12 : input.number<std::uint64_t>() >> (choice - 246) * 5;
  }
  return shape;
}

inline Owned any_space(const std::vector<hsize_t>& shape) {
  if (shape.empty()) return {H5Screate(H5S_SCALAR), H5Sclose};
  return {H5Screate_simple(static_cast<int>(shape.size()), shape.data(), nullptr), H5Sclose};
}

/// A dataset of any type, shape, layout and filter, whose first bytes are written where its content is small.
inline void make_any_dataset(hid_t where, const std::string& name, Input& input) {
  const Owned type = any_type(input);
  const std::vector<hsize_t> shape = any_shape(input);
  const Owned space = any_space(shape);
  const Owned creation(H5Pcreate(H5P_DATASET_CREATE), H5Pclose);
  const std::size_t layout = input.choice(4);
  if (layout == 1) H5Pset_layout(creation.get(), H5D_COMPACT);
  if (layout >= 2 && !shape.empty()) {
    std::vector<hsize_t> chunk;
    for (const hsize_t extent : shape) chunk.push_back(std::clamp<hsize_t>(extent / 2, 1, 16));
    H5Pset_chunk(creation.get(), static_cast<int>(chunk.size()), chunk.data());
    const std::size_t filter = input.choice(4);
    if (filter == 1) H5Pset_deflate(creation.get(), 1);
    if (filter == 2) H5Pset_fletcher32(creation.get());
    if (filter == 3) H5Pset_shuffle(creation.get());
  }
  const Owned dataset(
      H5Dcreate2(where, name.c_str(), type.get(), space.get(), H5P_DEFAULT, creation.get(), H5P_DEFAULT),
      H5Dclose);
  if (dataset.get() < 0 || H5Tis_variable_str(type.get()) > 0) return;
  std::size_t bytes = H5Tget_size(type.get());
  for (const hsize_t extent : shape) {
    if (extent > 4096 || bytes > 4096) return;
    bytes *= static_cast<std::size_t>(extent);
  }
  if (bytes == 0 || bytes > (1U << 16)) return;
  Bytes content = input.part();
  content.resize(bytes, 1);
  H5Dwrite(dataset.get(), type.get(), H5S_ALL, H5S_ALL, H5P_DEFAULT, content.data());
}

}  // namespace cos2p::fuzz
