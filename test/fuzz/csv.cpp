// Labelled texts in CSV, with and without a list of classes, plain and compressed.
// Input: a byte of forms, then train.csv, test.csv and classes.txt with a byte ff between them (which is in
// no UTF-8).
#include "fuzz/data_sets.hpp"

using namespace cos2p;
using namespace cos2p::fuzz;

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  keep_quiet();
  static const Directory directory;
  static MaybeCompressed train(directory, "train.csv"), test(directory, "test.csv"),
      classes(directory, "classes.txt");

  Input input(data, size);
  const std::uint8_t forms = input.byte();
  const Bytes train_bytes = input.until(0xff);
  train.place(forms & 3U, train_bytes);
  // The same file twice passes more often.
  test.place((forms >> 2) & 3U, (forms & 16U) != 0 ? input.until(0xff) : train_bytes);
  classes.place((forms & 32U) != 0 ? 0 : 3, input.rest());
  DatasetOptions options;
  options.kind = (forms & 64U) != 0 ? DatasetKind::newsgroups_20 : DatasetKind::ag_news;
  options.data_dir = directory.path();
  read_or_refused({ExitCode::data}, [&] { check_texts(load_text_dataset(options)); });
  return 0;
}
