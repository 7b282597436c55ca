// Images and labels in IDX, plain and compressed.
// Input: a byte of forms (images, labels, the test part), the images' file with its length in front, the
// labels' file.
#include "cos2p/data/samples.hpp"
#include "fuzz/data_sets.hpp"

using namespace cos2p;
using namespace cos2p::fuzz;

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  keep_quiet();
  static const Directory directory;
  static MaybeCompressed images(directory, "train-images-idx3-ubyte");
  static MaybeCompressed labels(directory, "train-labels-idx1-ubyte");
  static MaybeCompressed test_images(directory, "t10k-images-idx3-ubyte");
  static MaybeCompressed test_labels(directory, "t10k-labels-idx1-ubyte");
  static const Bytes good_images{0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0, 2, 1, 2, 3, 4, 5, 6, 7, 8};
  static const Bytes good_labels{0, 0, 8, 1, 0, 0, 0, 2, 9, 0};

  Input input(data, size);
  const std::uint8_t forms = input.byte();
  const Bytes image_bytes = input.part(), label_bytes = input.rest();
  images.place(forms & 3U, image_bytes);
  labels.place((forms >> 2) & 3U, label_bytes);
  const bool other = (forms & 16U) != 0;
  test_images.place(0, other ? image_bytes : good_images);
  test_labels.place(0, other ? label_bytes : good_labels);
  DatasetOptions options;
  options.kind = (forms & 32U) != 0 ? DatasetKind::mnist : DatasetKind::fashion_mnist;
  options.data_dir = directory.path();
  read_or_refused({ExitCode::data}, [&] { check_images(load_dataset(options)); });
  return 0;
}
