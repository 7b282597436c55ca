// Files that are not whole checkpoints: each is refused with its reason, none ever crashes the reader.
#include <fmt/format.h>
#include <hdf5.h>

#include <boost/test/unit_test.hpp>
#include <cmath>
#include <filesystem>

#include "checkpoint/sample.hpp"
#include "cos2p/support/error.hpp"
#include "cos2p/support/random.hpp"

using namespace cos2p;
using namespace cos2p::test;

/// HDF5 itself loses some memory over a damaged group; the leak sanitizer is to watch ours.
extern "C" const char*
__lsan_default_suppressions() {  // NOLINT(bugprone-reserved-identifier): the sanitizer's name
  return "leak:libhdf5\n";
}

namespace {

void refused(const std::string& path, const std::string& text) {
  BOOST_CHECK_EXCEPTION(read_checkpoint(path), Error, [&](const Error& error) {
    const std::string what = error.what();
    BOOST_TEST_MESSAGE(what);
    const bool good = error.code() == ExitCode::checkpoint && what.find(text) != std::string::npos &&
                      what.find(path) != std::string::npos;
    if (!good) BOOST_TEST_ERROR("unexpected message: " << what << "; expected in it: " << text);
    return good;
  });
}

/// Opens a checkpoint with plain HDF5, as somebody else's program would.
class Editor {
 public:
  explicit Editor(const std::string& path) : file_(H5Fopen(path.c_str(), H5F_ACC_RDWR, H5P_DEFAULT)) {
    BOOST_REQUIRE(file_ >= 0);
  }
  ~Editor() { H5Fclose(file_); }
  Editor(const Editor&) = delete;
  Editor& operator=(const Editor&) = delete;
  Editor(Editor&&) = delete;
  Editor& operator=(Editor&&) = delete;
  void set_int(const char* object, const char* name, int value) {
    const hid_t id = H5Oopen(file_, object, H5P_DEFAULT);
    H5Adelete(id, name);
    const hid_t space = H5Screate(H5S_SCALAR);
    const hid_t attribute = H5Acreate2(id, name, H5T_STD_I32LE, space, H5P_DEFAULT, H5P_DEFAULT);
    BOOST_REQUIRE(H5Awrite(attribute, H5T_NATIVE_INT, &value) >= 0);
    H5Aclose(attribute);
    H5Sclose(space);
    H5Oclose(id);
  }
  void remove_attribute(const std::string& object, const char* name) {
    BOOST_REQUIRE(H5Adelete_by_name(file_, object.c_str(), name, H5P_DEFAULT) >= 0);
  }
  void replace_dataset(const char* name, std::initializer_list<hsize_t> shape, hid_t type) {
    remove(name);
    const hid_t space = H5Screate_simple(static_cast<int>(shape.size()), shape.begin(), nullptr);
    const hid_t dataset = H5Dcreate2(file_, name, type, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    BOOST_REQUIRE(dataset >= 0);
    H5Dclose(dataset);
    H5Sclose(space);
  }
  void remove(const char* name) { BOOST_REQUIRE(H5Ldelete(file_, name, H5P_DEFAULT) >= 0); }

 private:
  hid_t file_;
};

struct Written {
  Written() : checkpoint(make_checkpoint(0)), path(write_checkpoint(directory.path(), checkpoint)) {}
  TemporaryDirectory directory;
  Checkpoint checkpoint;
  std::string path;
};

}  // namespace

BOOST_AUTO_TEST_CASE(what_is_no_checkpoint_is_refused_in_words) {
  const TemporaryDirectory directory;
  refused(directory / "missing.h5", "cannot be opened (No such file or directory)");
  refused(directory.path(), "holds no checkpoint");
  refused("/dev/zero", "not a regular file");
  write_bytes(directory / "empty.h5", "");
  refused(directory / "empty.h5", "is cut (only 0 bytes are left)");
  write_bytes(directory / "text.h5", "round,loss\n1,2.3\n");
  refused(directory / "text.h5", "is not a checkpoint (not an HDF5 file)");
  write_bytes(directory / "signature.h5", "\x89HDF\r\n\x1a\n");
  refused(directory / "signature.h5", "damaged or not complete");
  std::filesystem::create_symlink("nowhere.h5", directory / "latest");
  refused(directory / "latest", "cannot be opened (No such file or directory)");
}

BOOST_AUTO_TEST_CASE(another_program_s_hdf5_file_is_refused) {
  const TemporaryDirectory directory;
  const std::string path = directory / "images.h5";
  H5Fclose(H5Fcreate(path.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT));
  refused(path, "is not a checkpoint of cos2p");
}

BOOST_AUTO_TEST_CASE(another_schema_version_is_refused) {
  const Written written;
  Editor(written.path).set_int("/", "schema_version", 7);
  refused(written.path, "has schema version 7 (this program reads versions 2 to 6)");
}

BOOST_AUTO_TEST_CASE(version_2_knew_no_balance_of_widths_no_members_no_merges_no_energy_and_no_free_memory) {
  const Written written;
  const auto forget = [&](std::size_t client) {
    Editor(written.path).remove_attribute(fmt::format("/clients/{:04}", client), "width_balance");
  };
  forget(1);
  refused(written.path, "width_balance");
  for (std::size_t c = 0; c < written.checkpoint.clients.size(); ++c) {
    if (c != 1) forget(c);
  }
  Editor(written.path).remove("/history/members");
  Editor(written.path).remove("/history/merges");
  Editor(written.path).set_int("/", "schema_version", 2);
  const Checkpoint read = read_checkpoint(written.path);
  BOOST_REQUIRE(read.clients.size() == written.checkpoint.clients.size());
  for (const ClientRecord& client : read.clients)
    BOOST_TEST((client.assignment.width_balance == WidthBalance::even));
  BOOST_REQUIRE(!read.history.clients.empty());
  for (const ClientRow& row : read.history.clients) {
    BOOST_TEST(std::isnan(row.report.energy_j));
    BOOST_TEST(row.report.free_memory == 0);
  }
}

BOOST_AUTO_TEST_CASE(a_tensor_of_another_shape_is_refused_with_both_shapes) {
  const Written written;
  Editor(written.path).replace_dataset("/model/block_01/attention/qkv.weight", {2, 3, 4, 16}, H5T_IEEE_F32LE);
  refused(
      written.path,
      "segment block_01/attention: tensor qkv.weight has shape (2, 3, 4, 16), its model needs (4, 3, 4, 16)");
}

BOOST_AUTO_TEST_CASE(what_does_not_fit_together_is_refused) {
  const auto edited = [](const std::string& text, auto edit) {
    const Written written;
    {
      Editor editor(written.path);
      edit(editor);
    }
    refused(written.path, text);
  };
  edited("cannot open /segments", [](Editor& e) { e.remove("/segments"); });
  edited("cannot open /model/block_02/exit_head", [](Editor& e) { e.remove("/model/block_02/exit_head"); });
  edited("/segments is not a table", [](Editor& e) { e.replace_dataset("/segments", {7}, H5T_STD_I32LE); });
  edited("/model says 2000000000 blocks", [](Editor& e) { e.set_int("/model", "blocks", 2000000000); });
  edited("heads", [](Editor& e) { e.set_int("/model", "heads", 0); });
  edited("has shape (3), its model needs (4)",
         [](Editor& e) { e.replace_dataset("/clients/0000/masks/block_00/heads", {3}, H5T_STD_U8LE); });
  edited("is assigned 9 blocks", [](Editor& e) { e.set_int("/clients/0001", "kept_blocks", 9); });
  edited("/clients/0000 is assigned 1 frozen of 1 blocks",
         [](Editor& e) { e.set_int("/clients/0000", "frozen_blocks", 1); });
  edited("rolling -1, which cannot be", [](Editor& e) { e.set_int("/clients/0001", "rolling", -1); });
  edited("rolling 9, which cannot be", [](Editor& e) { e.set_int("/clients/0001", "rolling", 9); });
  edited("/clients/0001: rounds -1 cannot be", [](Editor& e) { e.set_int("/clients/0001", "rounds", -1); });
  edited("rounds 2147483647 cannot be", [](Editor& e) { e.set_int("/clients/0001", "rounds", 2147483647); });
  edited("/state: round -3 cannot be", [](Editor& e) { e.set_int("/state", "round", -3); });
  edited("client_round -1 cannot be",
         [](Editor& e) { e.set_int("/state/pending/000000", "client_round", -1); });
  edited("/state/open_since_s no times",
         [](Editor& e) { e.replace_dataset("/state/open_since_s", {0}, H5T_IEEE_F64LE); });
  edited("segment 99 is not in 0..8", [](Editor& e) { e.set_int("/state/pending/000000", "segment", 99); });
  edited("client -1 is not in 0..2", [](Editor& e) { e.set_int("/state/in_flight/000001", "client", -1); });
  edited("/state/class_deltas/000001 has 3 values",
         [](Editor& e) { e.replace_dataset("/state/class_deltas/000001/values", {3}, H5T_IEEE_F32LE); });
  edited("/state/velocity/000002 has 3 values",
         [](Editor& e) { e.replace_dataset("/state/velocity/000002", {3}, H5T_IEEE_F32LE); });
  edited("/state/pending/000001 has 3 values",
         [](Editor& e) { e.replace_dataset("/state/pending/000001/values", {3}, H5T_IEEE_F32LE); });
  edited("open_since_s has 2 entries, expected 9",
         [](Editor& e) { e.replace_dataset("/state/open_since_s", {2}, H5T_IEEE_F64LE); });
  edited("is not a text", [](Editor& e) { e.set_int("/meta", "run_id", 7); });
}

BOOST_AUTO_TEST_CASE(a_file_cut_anywhere_is_refused) {
  const Written written;
  const std::string whole = read_bytes(written.path);
  const std::string cut = written.directory / "cut.h5";
  Rng rng(2);
  for (std::size_t trial = 0; trial < 150; ++trial) {
    const std::size_t size = trial < 40   ? 16 * trial
                             : trial < 50 ? whole.size() - 1 - (trial - 40)
                                          : rng.below(whole.size());
    write_bytes(cut, whole.substr(0, size));
    refused(cut, size < 8 ? "is cut" : "damaged or not complete");
  }
  write_bytes(cut, whole);
  BOOST_TEST((bytes_of(read_checkpoint(cut)) == bytes_of(written.checkpoint)));
}

BOOST_AUTO_TEST_CASE(a_flipped_weight_is_refused_and_named) {
  const Written written;
  std::string bytes = read_bytes(written.path);
  // block_01/feed_forward/fc2.weight, found by its own values.
  const SegmentTable table(written.checkpoint.model);
  const Segment& segment = table[table.feed_forward(1)];
  const TensorSpec* tensor = nullptr;
  for (const TensorSpec& spec : segment.tensors) {
    if (spec.name == "fc2.weight") tensor = &spec;
  }
  BOOST_REQUIRE(tensor != nullptr);
  const float* values =
      written.checkpoint.values[static_cast<std::size_t>(segment.id.value())].data() + tensor->offset;
  const auto position = bytes.find(std::string(reinterpret_cast<const char*>(values), 64));
  BOOST_REQUIRE(position != std::string::npos);
  bytes[position + 17] = static_cast<char>(bytes[position + 17] ^ 4);
  write_bytes(written.path, bytes);
  refused(written.path, "the values of /model/block_01/feed_forward/fc2.weight do not have the checksum");
}

BOOST_AUTO_TEST_CASE(a_flipped_byte_anywhere_is_refused_or_without_effect) {
  const Written written;
  const std::string whole = read_bytes(written.path), expected = bytes_of(written.checkpoint);
  const std::string path = written.directory / "flipped.h5";
  Rng rng(3);
  int refusals = 0;
  for (int trial = 0; trial < 400; ++trial) {
    std::string bytes = whole;
    const std::size_t position = rng.below(bytes.size());
    bytes[position] = static_cast<char>(bytes[position] ^ static_cast<char>(1 + rng.below(255)));
    write_bytes(path, bytes);
    try {
      const bool equal = bytes_of(read_checkpoint(path)) == expected;
      if (!equal) BOOST_TEST_ERROR("byte " << position << " changes what is read, and nobody notices");
    } catch (const Error& error) {
      BOOST_TEST((error.code() == ExitCode::checkpoint));
      ++refusals;
    }
  }
  BOOST_TEST(refusals > 200);  // the rest hits bytes that mean nothing
}
