// The binary version of CIFAR-10 and CIFAR-100, plain and compressed.
// Input: a byte of forms, then either the files as they are (a length in front of each but the last one) or,
// so that few bytes make whole records, for each file: how many records, their label bytes, and how many
// bytes are missing or too many.
#include "fuzz/data_sets.hpp"

using namespace cos2p;
using namespace cos2p::fuzz;

namespace {

constexpr std::size_t kPixels = 3072;

Bytes records(Input& input, std::size_t label_bytes) {
  const std::size_t count = input.choice(5);
  Bytes bytes;
  for (std::size_t i = 0; i < count; ++i) {
    for (std::size_t l = 0; l < label_bytes; ++l) bytes.push_back(input.byte());
    bytes.resize(bytes.size() + kPixels, static_cast<std::uint8_t>(i));
  }
  const auto more = static_cast<std::int8_t>(input.byte());
  if (more < 0) {
    bytes.resize(bytes.size() - std::min(bytes.size(), static_cast<std::size_t>(-more)));
  } else {
    bytes.resize(bytes.size() + static_cast<std::size_t>(more) / 64);
  }
  return bytes;
}

}  // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  keep_quiet();
  static const Directory directory;
  static MaybeCompressed first(directory, "data_batch_1.bin"), second(directory, "data_batch_2.bin"),
      test(directory, "test_batch.bin");
  static MaybeCompressed train_100(directory, "train.bin"), test_100(directory, "test.bin");

  Input input(data, size);
  const std::uint8_t forms = input.byte();
  const bool hundred = (forms & 16U) != 0, made = (forms & 32U) != 0;
  DatasetOptions options;
  options.kind = hundred ? DatasetKind::cifar_100 : DatasetKind::cifar_10;
  options.coarse_labels = (forms & 64U) != 0;
  options.data_dir = directory.path();
  const auto next = [&] { return made ? records(input, hundred ? 2 : 1) : input.part(); };
  const std::size_t train_form = forms & 3U, test_form = (forms >> 2) & 3U;
  if (hundred) {
    train_100.place(train_form, next());
    test_100.place(test_form, next());
  } else {
    first.place(train_form, next());
    second.place(test_form, next());
    test.place(train_form, next());
  }
  read_or_refused({ExitCode::data}, [&] { check_images(load_dataset(options)); });
  return 0;
}
