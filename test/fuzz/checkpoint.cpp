// Checkpoints whose content was changed by somebody who knows HDF5: paths that are missing, of other types
// and shapes, numbers that cannot be. Damaged files are the target `hdf5_bytes`. What is read is also
// inspected, and a server goes on with it. Input: a byte for the checkpoint that is changed, one for the
// policy of the run that goes on, then changes.
#include "fuzz/hdf5.hpp"
#include "fuzz/small_run.hpp"

using namespace cos2p;
using namespace cos2p::fuzz;

namespace {

/// A checkpoint as a file, and the paths in it.
struct Original {
  explicit Original(SmallModel kind) {
    const Directory directory;
    const std::string path = directory.path() + "/whole.h5";
    write_checkpoint_file(path, small_checkpoint(kind));
    const NamedFile file(path);
    bytes = file.read();
    const Owned opened(H5Fopen(path.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT), H5Fclose);
    objects.emplace_back("/");
    H5Ovisit(opened.get(), H5_INDEX_NAME, H5_ITER_INC, keep_path, &objects);
  }
  static herr_t keep_path(hid_t, const char* name, const H5O_info_t*, void* out) {
    if (std::strcmp(name, ".") != 0)
      static_cast<std::vector<std::string>*>(out)->push_back("/" + std::string(name));
    return 0;
  }
  Bytes bytes;
  std::vector<std::string> objects;
};

herr_t keep_name(hid_t, const char* name, const H5A_info_t*, void* out) {
  static_cast<std::vector<std::string>*>(out)->emplace_back(name);
  return 0;
}

/// The name of one of an object's attributes; empty where it has none.
std::string any_attribute(hid_t object, Input& input) {
  std::vector<std::string> names;
  hsize_t from = 0;
  H5Aiterate2(object, H5_INDEX_NAME, H5_ITER_INC, &from, keep_name, &names);
  return names.empty() ? "" : names[input.choice(names.size())];
}

void replace_attribute(hid_t object, const std::string& name, Input& input) {
  H5Adelete(object, name.c_str());
  const std::size_t how = input.choice(4);
  if (how < 2) {
    const std::int64_t number =
        how == 0 ? static_cast<std::int8_t>(input.byte()) : input.number<std::int64_t>();
    const hid_t type = input.choice(2) == 0 ? H5T_STD_I32LE : H5T_STD_I64LE;
    const Owned space(H5Screate(H5S_SCALAR), H5Sclose);
    const Owned made(H5Acreate2(object, name.c_str(), type, space.get(), H5P_DEFAULT, H5P_DEFAULT), H5Aclose);
    H5Awrite(made.get(), H5T_NATIVE_INT64, &number);
    return;
  }
  const Owned type = any_type(input);
  const std::vector<hsize_t> shape = any_shape(input);
  for (const hsize_t extent : shape) {
    if (extent > 64) return;
  }
  const Owned space = any_space(shape);
  const Owned made(H5Acreate2(object, name.c_str(), type.get(), space.get(), H5P_DEFAULT, H5P_DEFAULT),
                   H5Aclose);
  if (made.get() < 0 || H5Tis_variable_str(type.get()) > 0) return;
  std::size_t bytes = H5Tget_size(type.get());
  for (const hsize_t extent : shape) bytes *= static_cast<std::size_t>(extent);
  if (bytes > (1U << 16)) return;
  Bytes content = input.part();
  content.resize(bytes + 1);
  H5Awrite(made.get(), type.get(), content.data());
}

/// Values of these types are pointers while they are in memory.
bool holds_pointers(hid_t type) {
  if (H5Tget_class(type) != H5T_COMPOUND)
    return H5Tdetect_class(type, H5T_VLEN) > 0 || H5Tis_variable_str(type) > 0;
  for (int i = 0; i < H5Tget_nmembers(type); ++i) {
    const Owned member(H5Tget_member_type(type, static_cast<unsigned>(i)), H5Tclose);
    if (holds_pointers(member.get())) return true;
  }
  return false;
}

/// Other values in a dataset, in the type and shape that it has; with or without a checksum that does not
/// match.
void change_values(hid_t dataset, Input& input) {
  const Owned type(H5Dget_type(dataset), H5Tclose);
  const Owned space(H5Dget_space(dataset), H5Sclose);
  const hssize_t points = H5Sget_simple_extent_npoints(space.get());
  if (points <= 0 || holds_pointers(type.get())) return;
  Bytes content(static_cast<std::size_t>(points) * H5Tget_size(type.get()));
  if (H5Dread(dataset, type.get(), H5S_ALL, H5S_ALL, H5P_DEFAULT, content.data()) < 0) return;
  const std::size_t changes = 1 + input.choice(4);
  for (std::size_t i = 0; i < changes; ++i) {
    const std::size_t at = input.number<std::uint16_t>() % content.size();
    const Bytes bytes = input.take(std::min<std::size_t>(1 + input.choice(8), content.size() - at));
    std::copy(bytes.begin(), bytes.end(), content.begin() + static_cast<std::ptrdiff_t>(at));
  }
  H5Dwrite(dataset, type.get(), H5S_ALL, H5S_ALL, H5P_DEFAULT, content.data());
  if (input.choice(4) != 0) H5Adelete(dataset, "xxh3_64");
}

void change(hid_t file, const std::vector<std::string>& objects, Input& input) {
  const std::string& path = objects[input.number<std::uint16_t>() % objects.size()];
  const std::size_t what = input.choice(10);
  if (what == 0) {
    H5Ldelete(file, path.c_str(), H5P_DEFAULT);
    return;
  }
  if (what == 1) {  // something else in its place
    const std::string& other = objects[input.number<std::uint16_t>() % objects.size()];
    if (H5Ldelete(file, path.c_str(), H5P_DEFAULT) < 0) return;
    if (input.choice(2) == 0) {
      H5Lcreate_hard(file, other.c_str(), file, path.c_str(), H5P_DEFAULT, H5P_DEFAULT);
    } else {
      H5Lcreate_soft(other.c_str(), file, path.c_str(), H5P_DEFAULT, H5P_DEFAULT);
    }
    return;
  }
  if (what == 2) {
    if (H5Ldelete(file, path.c_str(), H5P_DEFAULT) >= 0) make_any_dataset(file, path, input);
    return;
  }
  if (what == 3) {
    const Owned group(H5Gcreate2(file, (path + "/000001").c_str(), H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT),
                      H5Gclose);
    return;
  }
  const Owned object(H5Oopen(file, path.c_str(), H5P_DEFAULT), H5Oclose);
  if (object.get() < 0) return;
  if (what < 6 && H5Iget_type(object.get()) == H5I_DATASET) {
    change_values(object.get(), input);
    return;
  }
  const std::string name = any_attribute(object.get(), input);
  if (name.empty()) return;
  if (what == 9) {
    H5Adelete(object.get(), name.c_str());
  } else {
    replace_attribute(object.get(), name, input);
  }
}

}  // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  keep_quiet();
  no_error_stack();
  static const Original originals[kSmallModels] = {Original(SmallModel::images), Original(SmallModel::texts),
                                                   Original(SmallModel::linear)};
  static const Directory directory;
  static const NamedFile memory(directory.path() + "/fuzz.h5");
  Input input(data, size);
  const std::uint8_t choices = input.byte();
  const PolicyOptions policy = small_policy(input.byte());
  const Original& original = originals[choices % kSmallModels];
  memory.write(original.bytes);
  {
    const Owned file(H5Fopen(memory.path().c_str(), H5F_ACC_RDWR, H5P_DEFAULT), H5Fclose);
    if (file.get() < 0) found("HDF5 cannot open a checkpoint");
    while (!input.empty()) change(file.get(), original.objects, input);
  }
  Checkpoint checkpoint;
  if (!read_or_refused({ExitCode::checkpoint}, [&] { checkpoint = read_checkpoint(memory.path()); }))
    return 0;
  inspect_text(checkpoint, "fuzz.h5");
  inspect_json(checkpoint, "fuzz.h5");
  read_or_refused({ExitCode::checkpoint}, [&] {
    require_model(checkpoint, small_model(static_cast<SmallModel>(choices % kSmallModels)), "fuzz.h5");
  });
  read_or_refused({ExitCode::checkpoint}, [&] {
    SmallRun run(SmallModel::images, policy, checkpoint);
    run.core->tick(checkpoint.state.time_s + 1);
    for (int client = 0; client < 3; ++client) run.core->handle(small_report(client, 5).message(), 1000);
    run.core->snapshot(1001);
  });
  return 0;
}
