// HDF5 files that are damaged byte by byte, as checkpoints and as images. Most of such damage HDF5 finds
// itself. Input: a byte (0 to 2: a checkpoint, 3: images, 4: images in an older file format, 5: the input is
// the file itself), then changes: an offset (three bytes), a length, and bytes.
#include "fuzz/data_sets.hpp"
#include "fuzz/hdf5.hpp"
#include "fuzz/small_run.hpp"

using namespace cos2p;
using namespace cos2p::fuzz;

namespace {

Bytes whole_checkpoint(SmallModel kind) {
  const Directory directory;
  const std::string path = directory.path() + "/whole.h5";
  write_checkpoint_file(path, small_checkpoint(kind));
  return NamedFile(path).read();
}

Bytes whole_images(bool old_format) {
  const Directory directory;
  const NamedFile memory(directory.path() + "/images.h5");
  {
    const Owned access(H5Pcreate(H5P_FILE_ACCESS), H5Pclose);
    if (!old_format) H5Pset_libver_bounds(access.get(), H5F_LIBVER_V18, H5F_LIBVER_LATEST);
    const Owned file(H5Fcreate(memory.path().c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, access.get()), H5Fclose);
    for (const std::string group : {"/train", "/test"}) {
      const Owned made(H5Gcreate2(file.get(), group.c_str(), H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT),
                       H5Gclose);
      for (const bool images : {true, false}) {
        const std::vector<hsize_t> shape =
            images ? std::vector<hsize_t>{4, 3, 3, 1} : std::vector<hsize_t>{4};
        const Owned space = any_space(shape);
        const Owned creation(H5Pcreate(H5P_DATASET_CREATE), H5Pclose);
        if (images) {
          const std::vector<hsize_t> chunk{2, 3, 3, 1};
          H5Pset_chunk(creation.get(), 4, chunk.data());
          H5Pset_deflate(creation.get(), 1);
        }
        const Owned dataset(H5Dcreate2(made.get(), images ? "images" : "labels", H5T_STD_U8LE, space.get(),
                                       H5P_DEFAULT, creation.get(), H5P_DEFAULT),
                            H5Dclose);
        Bytes content(images ? 36 : 4, 1);
        content[0] = 0;
        H5Dwrite(dataset.get(), H5T_NATIVE_UINT8, H5S_ALL, H5S_ALL, H5P_DEFAULT, content.data());
      }
    }
  }
  return memory.read();
}

void damage(Bytes& bytes, Input& input) {
  const std::size_t at = (input.byte() + 256U * input.number<std::uint16_t>()) % (bytes.size() + 1);
  const std::size_t length = input.choice(17);
  if (length == 16) {
    bytes.resize(at);
    return;
  }
  const Bytes other = input.take(std::min(length, bytes.size() - at));
  std::copy(other.begin(), other.end(), bytes.begin() + static_cast<std::ptrdiff_t>(at));
}

}  // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  keep_quiet();
  no_error_stack();
  static const Bytes originals[] = {whole_checkpoint(SmallModel::images), whole_checkpoint(SmallModel::texts),
                                    whole_checkpoint(SmallModel::linear), whole_images(false),
                                    whole_images(true)};
  static const Directory directory;
  static const NamedFile memory(directory.path() + "/fuzz.h5");
  Input input(data, size);
  const std::size_t choice = input.choice(6);
  Bytes bytes;
  if (choice == 5) {
    bytes = input.rest();
  } else {
    bytes = originals[choice];
    while (!input.empty()) damage(bytes, input);
  }
  memory.write(bytes);
  if (choice < 3 || choice == 5) {
    read_or_refused({ExitCode::checkpoint}, [&] {
      const Checkpoint checkpoint = read_checkpoint(memory.path());
      inspect_json(checkpoint, "fuzz.h5");
    });
  }
  if (choice >= 3) {
    DatasetOptions options;
    options.kind = DatasetKind::hdf5;
    options.data_dir = memory.path();
    read_or_refused({ExitCode::data}, [&] { check_images(load_dataset(options)); });
  }
  return 0;
}
