// Labelled sentences in tab-separated values, plain and compressed.
// Input: a byte of forms, then train.tsv and dev.tsv with a byte ff between them (which is in no UTF-8).
#include "fuzz/data_sets.hpp"

using namespace cos2p;
using namespace cos2p::fuzz;

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  keep_quiet();
  static const Directory directory;
  static MaybeCompressed train(directory, "train.tsv"), test(directory, "dev.tsv");

  Input input(data, size);
  const std::uint8_t forms = input.byte();
  const Bytes train_bytes = input.until(0xff);
  train.place(forms & 3U, train_bytes);
  test.place((forms >> 2) & 3U, (forms & 16U) != 0 ? input.rest() : train_bytes);
  DatasetOptions options;
  options.kind = (forms & 32U) != 0 ? DatasetKind::sst_2 : DatasetKind::glue;
  options.data_dir = directory.path();
  read_or_refused({ExitCode::data}, [&] { check_texts(load_text_dataset(options)); });
  return 0;
}
