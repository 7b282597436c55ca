// CSV as AG News has it and TSV as GLUE has it: what is read, and in which words the rest is refused.
#include <spdlog/spdlog.h>

#include "cos2p/data/samples.hpp"
#include "cos2p/support/random.hpp"
#include "data/data_test_files.hpp"

using namespace cos2p;
using namespace data_test;
using Strings = std::vector<std::string>;

namespace {

Bytes bytes_of(const std::string& text) {
  return Bytes(text.begin(), text.end());
}

/// A directory with two CSV files.
struct CsvSet {
  CsvSet(const std::string& train, const std::string& test) {
    write_file(dir / "train.csv", bytes_of(train));
    write_file(dir / "test.csv", bytes_of(test));
  }
  TextDataset load() const { return load_text_dataset(dataset_options(DatasetKind::ag_news, dir.str())); }
  void refused(const std::vector<std::string>& parts) const {
    check_error(ExitCode::data, parts, [this] { load(); });
  }
  TemporaryDirectory dir;
};

struct GlueSet {
  GlueSet(const std::string& train, const std::string& dev) {
    write_file(dir / "train.tsv", bytes_of(train));
    write_file(dir / "dev.tsv", bytes_of(dev));
  }
  TextDataset load() const { return load_text_dataset(dataset_options(DatasetKind::glue, dir.str())); }
  void refused(const std::vector<std::string>& parts) const {
    check_error(ExitCode::data, parts, [this] { load(); });
  }
  TemporaryDirectory dir;
};

const std::string kGoodCsv = "1,a,b\n2,c,d\n";
const std::string kGoodTsv = "sentence\tlabel\ngood\t1\nbad\t0\n";

template <typename T>
void check_equal(const std::vector<T>& a, const std::vector<T>& b) {
  BOOST_TEST(a == b, boost::test_tools::per_element());
}

}  // namespace

BOOST_AUTO_TEST_CASE(csv_is_read_with_its_quoting) {
  const CsvSet set(
      "\"3\",\"Wall St. \"\"Bears\"\"\",\"two\nlines, and a comma\"\r\n1,plain \"quote\" inside,\"\"\n4,,end",
      "\xef\xbb\xbf\"2\",\"x\",\"y\"\n\n\n");
  const TextDataset data = set.load();
  check_equal(data.train.texts,
              {"Wall St. \"Bears\" two\nlines, and a comma", "plain \"quote\" inside ", " end"});
  check_equal(data.train.labels, {2, 0, 3});
  check_equal(data.test.texts, {"x y"});
  check_equal(data.test.labels, {1});
  BOOST_TEST(data.train.classes == 4);
  BOOST_TEST(data.test.classes == 4);
  BOOST_TEST(data.train.name == "ag-news");
}

BOOST_AUTO_TEST_CASE(csv_has_line_breaks_as_backslash_n_and_more_than_one_class) {
  const CsvSet set("1,\"one\\ntwo\"\n2,\"a\\\\b\"\n", kGoodCsv);
  check_equal(set.load().train.texts, {"one\ntwo", "a\\\\b"});
  // Where backslashes stand before other letters more often, they are the authors' own.
  const CsvSet paths("1,\"C:\\new\"\n2,\"C:\\dos \\TeX\"\n", kGoodCsv);
  BOOST_TEST(paths.load().train.texts[0] == "C:\\new");
  CsvSet("2,a,b\n2,c,d\n", kGoodCsv).refused({"train.csv has a single class"});
}

BOOST_AUTO_TEST_CASE(csv_with_a_header_or_other_numbers_of_fields_is_read) {
  const CsvSet headed("Class Index,Title,Description\n1,a,b\n2,c,d\n", kGoodCsv);
  check_equal(headed.load().train.texts, {"a b", "c d"});
  const CsvSet two("\"1\",\"a\"\n\"2\",\"b\"\n", "\"2\",\"c\"\n");
  check_equal(two.load().train.texts, {"a", "b"});
}

BOOST_AUTO_TEST_CASE(a_list_of_classes_says_how_many_there_are) {
  const CsvSet set(kGoodCsv, kGoodCsv);
  BOOST_TEST(set.load().train.classes == 2);
  write_file(set.dir / "classes.txt", bytes_of("World\nSports\nBusiness\nSci/Tech\n"));
  BOOST_TEST(set.load().train.classes == 4);
  write_file(set.dir / "test.csv", bytes_of("1,a,b\n5,c,d\n"));
  set.refused({"test.csv, line 2", "class 5 is unknown", "the list of classes has 1 to 4"});
  write_file(set.dir / "classes.txt", bytes_of("World\n"));
  set.refused({"classes.txt names 1 classes"});
}

BOOST_AUTO_TEST_CASE(compressed_files_are_read_and_cut_ones_refused) {
  const CsvSet set(kGoodCsv, kGoodCsv);
  std::string many;
  for (int i = 0; i < 2000; ++i)
    many += std::to_string(1 + i % 2) + ",title,\"text " + std::to_string(i * i) + "\"\n";
  fs::remove(set.dir / "train.csv");
  write_gzip(set.dir / "train.csv.gz", bytes_of(many));
  BOOST_TEST(set.load().train.size() == 2000);
  Bytes bytes = read_file(set.dir / "train.csv.gz");
  bytes.resize(bytes.size() / 2);
  write_file(set.dir / "train.csv.gz", bytes);
  set.refused({"train.csv.gz is truncated"});
}

BOOST_AUTO_TEST_CASE(wrong_csv_is_refused_with_its_place) {
  CsvSet("1,a,b\n2,c\n", kGoodCsv).refused({"train.csv, line 2", "2 fields (3 are expected)"});
  CsvSet("1,\"a\n\n\",b\n2,c,d,e\n", kGoodCsv).refused({"train.csv, line 4", "4 fields (3 are expected)"});
  CsvSet("1,a,b\n\n2,c,d\n", kGoodCsv).refused({"train.csv, line 2", "1 fields (3 are expected)"});
  CsvSet("text\n", kGoodCsv).refused({"train.csv, line 1", "1 fields"});
  CsvSet("1,\"a\" b,c\n", kGoodCsv).refused({"train.csv, line 1", "after the closing quote"});
  CsvSet("1,a,b\n2,\"never closed\n3,c,d\n", kGoodCsv).refused({"train.csv, line 2", "never closed"});
  CsvSet("1,a,b\nsport,c,d\n", kGoodCsv).refused({"train.csv, line 2", "'sport' is no class"});
  CsvSet("0,a,b\n", kGoodCsv).refused({"line 1", "'0' is no class"});
  CsvSet("1,a,b\n-1,c,d\n", kGoodCsv).refused({"line 2", "'-1' is no class"});
  CsvSet("1,a,b\n999999,c,d\n", kGoodCsv).refused({"line 2", "class 999999 is unknown", "at most 1000"});
  CsvSet(kGoodCsv, "1,a,b\n3,c,d\n").refused({"test.csv, line 2", "class 3 is unknown", "the training part"});
  CsvSet("", kGoodCsv).refused({"train.csv is empty"});
  CsvSet(kGoodCsv, "\n\n").refused({"test.csv is empty"});
}

BOOST_AUTO_TEST_CASE(what_is_not_utf_8_is_refused_with_line_and_byte) {
  CsvSet("1,a,b\n2,caf\xe9,d\n", kGoodCsv)
      .refused(
          {"train.csv is not UTF-8", "line 2, byte 6 of the line, byte 12 of the file", "0xe9", "iconv"});
  GlueSet(kGoodTsv, "sentence\tlabel\nab\xc3\t1\n").refused({"dev.tsv is not UTF-8", "line 2, byte 3"});
  // An overlong form and a surrogate are none either.
  CsvSet("1,\xc0\xaf,b\n", kGoodCsv).refused({"not UTF-8", "byte 3 of the line"});
  CsvSet("1,\xed\xa0\x80,b\n", kGoodCsv).refused({"not UTF-8", "byte 3 of the line"});
}

BOOST_AUTO_TEST_CASE(glue_is_read_without_quoting) {
  const GlueSet set("sentence\tlabel\n\"half a quote\t1\r\nit 's , fine \t0\n",
                    "index\tlabel\tsentence\n7\t1\tother order\n");
  const TextDataset data = set.load();
  check_equal(data.train.texts, {"\"half a quote", "it 's , fine "});
  check_equal(data.train.labels, {1, 0});
  check_equal(data.test.texts, {"other order"});
  BOOST_TEST(data.train.classes == 2);
}

BOOST_AUTO_TEST_CASE(cola_has_no_header) {
  const GlueSet set("gj04\t1\t\tOur friends won't buy this analysis.\ngj04\t0\t*\tThey drank the pub.\n",
                    "gj04\t1\t\tThe sailors rode the breeze.\n");
  const TextDataset data = set.load();
  check_equal(data.train.texts, {"Our friends won't buy this analysis.", "They drank the pub."});
  check_equal(data.train.labels, {1, 0});
}

BOOST_AUTO_TEST_CASE(wrong_tsv_is_refused_with_its_place) {
  GlueSet("sentence\tlabel\ngood\t1\nno label\n", kGoodTsv)
      .refused({"train.tsv, line 3", "1 fields (2 are expected)"});
  GlueSet("sentence\tlabel\na\tb\t1\n", kGoodTsv).refused({"train.tsv, line 2", "3 fields (2 are expected)"});
  GlueSet("sentence\tlabel\ngood\tpositive\n", kGoodTsv).refused({"line 2", "'positive' is no label"});
  GlueSet("sentence\tlabel\ngood\t0.5\n", kGoodTsv).refused({"line 2", "'0.5' is no label"});
  GlueSet(kGoodTsv, "sentence\tlabel\ngood\t2\n").refused({"dev.tsv, line 2", "class 2 is unknown"});
  GlueSet("index\tsentence1\tsentence2\tlabel2\tx\n", kGoodTsv)
      .refused({"train.tsv", "pairs of texts", "'sentence1'"});
  GlueSet("question\tsentence\tlabel\nwhat?\tthat\t1\n", kGoodTsv)
      .refused({"train.tsv", "pairs of texts", "'question'"});
  GlueSet("text\tclass\ngood\t1\n", kGoodTsv)
      .refused({"train.tsv", "no columns 'sentence' and 'label'", "text, class"});
  GlueSet("sentence\tlabel\ngood\t" + std::string(5000, 'x') + "\a\n", kGoodTsv)
      .refused({"line 2", "'" + std::string(60, 'x') + "...' is no label"});
  std::string gaps = "sentence\tlabel\n";
  for (int i = 0; i < 900; ++i) gaps += "word\t" + std::to_string(i % 2) + "\n";
  GlueSet(gaps + "word\t900\n", kGoodTsv).refused({"record 900 is labelled 900", "898 have no sample"});
  GlueSet("sentence\tlabel\n", kGoodTsv).refused({"train.tsv is empty"});
  GlueSet("", kGoodTsv).refused({"train.tsv is empty"});
}

BOOST_AUTO_TEST_CASE(missing_text_files_are_named) {
  const CsvSet set(kGoodCsv, kGoodCsv);
  fs::remove(set.dir / "test.csv");
  set.refused({"ag-news files are incomplete", "test.csv", "datasets/README.md"});
  fs::remove(set.dir / "train.csv");
  set.refused({"ag-news files are missing", "train.csv and test.csv"});
}

BOOST_AUTO_TEST_CASE(the_set_is_found_by_name_below_the_directory) {
  const TemporaryDirectory dir;
  for (const std::string name : {"CoLA", "SST-2"}) {
    fs::create_directories(dir / name);
    write_file(dir / (name + "/train.tsv"), bytes_of(kGoodTsv));
    write_file(dir / (name + "/dev.tsv"), bytes_of(kGoodTsv));
  }
  const TextDataset data = load_text_dataset(dataset_options(DatasetKind::sst_2, dir.str()));
  BOOST_TEST(data.train.files[0] == dir / "SST-2/train.tsv");
  BOOST_TEST(data.train.name == "sst-2");
  check_error(ExitCode::data, {"more than one glue set", "CoLA"},
              [&] { load_text_dataset(dataset_options(DatasetKind::glue, dir.str())); });
}

BOOST_AUTO_TEST_CASE(texts_can_be_limited) {
  const CsvSet set(kGoodCsv, kGoodCsv);
  DatasetOptions options = dataset_options(DatasetKind::ag_news, set.dir.str());
  options.limit_train = 1;
  const TextDataset data = load_text_dataset(options);
  BOOST_TEST(data.train.size() == 1);
  BOOST_TEST(data.train.texts.size() == 1U);
  BOOST_TEST(data.train.classes == 2);
  BOOST_TEST(data.test.size() == 2);
}

BOOST_AUTO_TEST_CASE(damaged_text_files_never_crash) {
  spdlog::set_level(spdlog::level::warn);  // not a line for each of hundreds of files
  const CsvSet csv("\"1\",\"a \"\"b\"\"\",\"c\nd\"\n\"2\",\"e, f\",\"g\"\n", kGoodCsv);
  const GlueSet tsv(kGoodTsv, kGoodTsv);
  Rng rng(5);
  int loaded = 0, refused = 0;
  const auto attempt = [&](const std::string& path, const auto& load) {
    const Bytes good = read_file(path);
    for (int i = 0; i < 300; ++i) {
      Bytes bytes = good;
      for (std::uint64_t changes = 1 + rng.below(3); changes > 0; --changes) {
        static constexpr std::uint8_t kBytes[] = {'"', ',', '\n', '\r', '\t', '1', 'x', 0, 0xff, 0xc3};
        bytes[rng.below(bytes.size())] = kBytes[rng.below(sizeof kBytes)];
      }
      if (rng.below(4) == 0) bytes.resize(rng.below(bytes.size() + 1));
      write_file(path, bytes);
      try {
        const TextDataset data = load();
        ++loaded;
        BOOST_TEST(data.train.texts.size() == data.train.labels.size());
        for (const std::int32_t label : data.train.labels)
          BOOST_TEST((label >= 0 && label < data.train.classes));
      } catch (const Error& error) {
        ++refused;
        BOOST_TEST(static_cast<int>(error.code()) == static_cast<int>(ExitCode::data));
      }
    }
    write_file(path, good);
  };
  attempt(csv.dir / "train.csv", [&] { return csv.load(); });
  attempt(tsv.dir / "train.tsv", [&] { return tsv.load(); });
  BOOST_TEST(loaded > 50);
  BOOST_TEST(refused > 50);
}

BOOST_AUTO_TEST_CASE(samples_of_texts_are_padded_to_the_longest) {
  TextSet set;
  set.classes = 2;
  set.texts = {"a b", "", "a b a b"};
  set.labels = {0, 1, 1};
  const Vocabulary vocabulary({"[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "b"}, true, "test");
  const TextSamples samples(set, vocabulary, 5);
  BOOST_TEST(samples.size() == 3);
  BOOST_TEST(samples.share_cut() == 1.0 / 3);
  const std::vector<std::int64_t> indices{1, 0, 2};
  check_equal(samples.batch_shape(indices), {3, 5});
  std::vector<std::int32_t> out(15, 77);
  samples.fill(indices, nullptr, {reinterpret_cast<std::byte*>(out.data()), 60});
  const std::int32_t P = kPaddingId;
  check_equal(out, {2, 3, P, P, P, 2, 4, 5, 3, P, 2, 4, 5, 4, 3});
  std::vector<std::int64_t> labels(3);
  samples.fill_labels(indices, labels);
  check_equal(labels, {1, 0, 1});
  check_equal(samples.batch_shape(std::vector<std::int64_t>{1}), {1, 2});
}
