// People's own images in HDF5: whole files with anything in them. Damaged files are the target `hdf5_bytes`.
// Input: four datasets, each a byte (whether, and whether as the format wants it) and what it is made of.
#include "fuzz/data_sets.hpp"
#include "fuzz/hdf5.hpp"

using namespace cos2p;
using namespace cos2p::fuzz;

namespace {

/// Images or labels much as they should be: few images, any bytes.
void make_good_dataset(hid_t file, const std::string& name, bool images, Input& input) {
  const hsize_t count = 1 + input.choice(6);
  std::vector<hsize_t> shape{count};
  if (images) {
    for (int axis = 0; axis < 3; ++axis) shape.push_back(1 + input.choice(5));
    if (input.choice(4) == 0) shape.pop_back();
  }
  const Owned space = any_space(shape);
  const hid_t type = images ? H5T_STD_U8LE : input.choice(2) == 0 ? H5T_STD_I64LE : H5T_STD_U8LE;
  const Owned dataset(
      H5Dcreate2(file, name.c_str(), type, space.get(), H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT), H5Dclose);
  std::size_t elements = 1;
  for (const hsize_t extent : shape) elements *= static_cast<std::size_t>(extent);
  Bytes content = input.take(elements);
  content.resize(elements);
  H5Dwrite(dataset.get(), H5T_NATIVE_UINT8, H5S_ALL, H5S_ALL, H5P_DEFAULT, content.data());
}

}  // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  keep_quiet();
  no_error_stack();
  static const Directory directory;
  static const NamedFile memory(directory.path() + "/fuzz.h5");
  Input input(data, size);
  {
    memory.write(std::string());
    const Owned file(H5Fcreate(memory.path().c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT), H5Fclose);
    if (file.get() < 0) found("HDF5 cannot create a file");
    const std::uint8_t links = input.byte();
    const Owned train(H5Gcreate2(file.get(), "/train", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT), H5Gclose);
    for (const char* name : {"/train/images", "/train/labels"}) {
      const std::size_t how = input.choice(8);
      if (how == 0) continue;
      if (how < 4) {
        make_any_dataset(file.get(), name, input);
      } else {
        make_good_dataset(file.get(), name, name[7] == 'i', input);
      }
    }
    if ((links & 1U) != 0) {
      H5Lcreate_soft("/train", file.get(), "/test", H5P_DEFAULT, H5P_DEFAULT);
    } else if ((links & 2U) != 0) {
      H5Lcreate_hard(file.get(), "/train", file.get(), "/test", H5P_DEFAULT, H5P_DEFAULT);
    } else {
      const Owned test(H5Gcreate2(file.get(), "/test", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT), H5Gclose);
      for (const char* name : {"/test/images", "/test/labels"}) {
        if ((links & 4U) != 0) {
          make_any_dataset(file.get(), name, input);
        } else {
          make_good_dataset(file.get(), name, name[6] == 'i', input);
        }
      }
    }
  }
  DatasetOptions options;
  options.kind = DatasetKind::hdf5;
  options.data_dir = memory.path();
  read_or_refused({ExitCode::data}, [&] { check_images(load_dataset(options)); });
  return 0;
}
