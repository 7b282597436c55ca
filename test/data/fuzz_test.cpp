// Random damage to valid files: a reader either throws an Error of code `data` or returns a set that is
// consistent.
#include "cos2p/support/random.hpp"
#include "data/data_test_files.hpp"

using namespace cos2p;
using namespace data_test;

namespace {

Bytes damaged(Bytes bytes, Rng& rng) {
  const std::uint64_t changes = 1 + rng.below(4);
  for (std::uint64_t i = 0; i < changes && !bytes.empty(); ++i) {
    // Half of the changes hit the first bytes: that is where headers are.
    const std::uint64_t reach = rng.below(2) == 0 ? std::min<std::uint64_t>(bytes.size(), 20) : bytes.size();
    bytes[rng.below(reach)] = static_cast<std::uint8_t>(rng());
  }
  if (rng.below(4) == 0) bytes.resize(rng.below(bytes.size() + 1));
  if (rng.below(8) == 0) bytes.resize(bytes.size() + 1 + rng.below(40), static_cast<std::uint8_t>(rng()));
  return bytes;
}

/// Loads the set `times` times with `path` damaged; counts loads and refusals.
void damage_and_load(const TemporaryDirectory& dir, DatasetKind kind, const std::string& path, int times) {
  const Bytes good = read_file(path);
  Rng rng(2024, {good.size(), static_cast<std::uint64_t>(kind)});
  int loaded = 0, refused = 0;
  for (int i = 0; i < times; ++i) {
    write_file(path, damaged(good, rng));
    try {
      const Dataset data = load_dataset(dataset_options(kind, dir.str()));
      ++loaded;
      BOOST_TEST(data.train.pixels.size() ==
                 static_cast<std::size_t>(data.train.size() * data.train.image_bytes()));
      for (const std::int32_t label : data.train.labels)
        BOOST_TEST((label >= 0 && label < data.train.classes));
    } catch (const Error& error) {
      ++refused;
      BOOST_TEST(static_cast<int>(error.code()) == static_cast<int>(ExitCode::data));
    }
  }
  write_file(path, good);
  BOOST_TEST(loaded + refused == times);
  BOOST_TEST(refused > times / 10);
}

}  // namespace

BOOST_AUTO_TEST_CASE(damaged_idx_files_never_crash) {
  const TemporaryDirectory dir;
  write_idx_set(dir.str());
  damage_and_load(dir, DatasetKind::mnist, dir / "train-images-idx3-ubyte", 400);
  damage_and_load(dir, DatasetKind::mnist, dir / "train-labels-idx1-ubyte", 400);
}

BOOST_AUTO_TEST_CASE(damaged_gzip_files_never_crash) {
  const TemporaryDirectory dir;
  write_idx_set(dir.str());
  fs::remove(dir / "train-images-idx3-ubyte");
  write_gzip(dir / "train-images-idx3-ubyte.gz", idx_images(30, 4, 6));
  damage_and_load(dir, DatasetKind::mnist, dir / "train-images-idx3-ubyte.gz", 600);
}

BOOST_AUTO_TEST_CASE(damaged_cifar_files_never_crash) {
  const TemporaryDirectory dir;
  write_file(dir / "data_batch_1.bin", cifar_records(3, false));
  write_file(dir / "test_batch.bin", cifar_records(2, false));
  write_file(dir / "train.bin", cifar_records(3, true));
  write_file(dir / "test.bin", cifar_records(2, true));
  damage_and_load(dir, DatasetKind::cifar_10, dir / "data_batch_1.bin", 150);
  damage_and_load(dir, DatasetKind::cifar_100, dir / "train.bin", 150);
}
