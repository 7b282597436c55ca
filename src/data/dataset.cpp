#include "cos2p/data/dataset.hpp"

#include <fmt/ranges.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <filesystem>
#include <system_error>
#include <utility>

#include "cos2p/support/error.hpp"
#include "cos2p/support/narrow.hpp"
#include "readers.hpp"

namespace fs = std::filesystem;

namespace cos2p {
namespace data {
namespace {

constexpr std::array<std::pair<DatasetKind, const char*>, 10> kind_names = {
    {{DatasetKind::fashion_mnist, "fashion-mnist"},
     {DatasetKind::mnist, "mnist"},
     {DatasetKind::cifar_10, "cifar-10"},
     {DatasetKind::cifar_100, "cifar-100"},
     {DatasetKind::hdf5, "hdf5"},
     {DatasetKind::synthetic, "synthetic"},
     {DatasetKind::ag_news, "ag-news"},
     {DatasetKind::newsgroups_20, "20-newsgroups"},
     {DatasetKind::glue, "glue"},
     {DatasetKind::sst_2, "sst-2"}}};

/// "Fashion_MNIST" -> "fashionmnist": people spell their directories in many ways.
std::string letters_and_digits(const std::string& text) {
  std::string result;
  for (const char c : text) {
    if (std::isalnum(static_cast<unsigned char>(c)) != 0) {
      result += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    }
  }
  return result;
}

/// The set whose name a directory bears; `hdf5` for none. MNIST and its relatives share their files' names.
DatasetKind kind_by_name(const std::string& directory) {
  const std::string name = letters_and_digits(fs::path(directory).filename().string());
  const auto contains = [&](const char* part) { return name.find(part) != std::string::npos; };
  if (contains("fashion")) return DatasetKind::fashion_mnist;
  if (contains("cifar100")) return DatasetKind::cifar_100;
  if (contains("cifar10")) return DatasetKind::cifar_10;
  if (name.compare(0, 5, "mnist") == 0) return DatasetKind::mnist;
  if (contains("newsgroups")) return DatasetKind::newsgroups_20;
  if (contains("agnews")) return DatasetKind::ag_news;
  if (contains("sst2")) return DatasetKind::sst_2;
  return DatasetKind::hdf5;
}

/// The kinds that are a format, whose sets lie in directories of any name.
bool any_directory(DatasetKind kind) {
  return kind == DatasetKind::hdf5 || kind == DatasetKind::ag_news || kind == DatasetKind::glue;
}

int classes_among(const LabelledSet& set, const std::vector<std::int64_t>& rows) {
  std::vector<bool> seen(static_cast<std::size_t>(set.classes));
  for (const std::int64_t row : rows)
    seen[static_cast<std::size_t>(set.labels[static_cast<std::size_t>(row)])] = true;
  return static_cast<int>(std::count(seen.begin(), seen.end(), true));
}

/// The rows that a limit keeps, in their order: the first ones; or, where the set is sorted by class so that
/// these are of a few classes alone, as many at equal distances. Empty where all are kept.
std::vector<std::int64_t> rows_to_keep(const LabelledSet& set, std::int64_t limit, const char* option) {
  if (limit < 0) {
    fail(ExitCode::usage, "{} {} is not possible (it is negative), give 0 for all or a positive number",
         option, limit);
  }
  if (limit == 0 || limit >= set.size()) return {};
  std::vector<std::int64_t> first(static_cast<std::size_t>(limit)), spread(first.size());
  for (std::int64_t i = 0; i < limit; ++i) {
    first[static_cast<std::size_t>(i)] = i;
    spread[static_cast<std::size_t>(i)] = i * set.size() / limit;
  }
  const int in_first = classes_among(set, first), in_spread = classes_among(set, spread);
  // Of an unsorted set a few rows lack a class now and then by chance, ten for each class hardly ever.
  if (in_first >= in_spread || (limit < 10 * std::int64_t{set.classes} && 2 * in_first > in_spread))
    return first;
  spdlog::warn(
      "data: {} {} takes rows at equal distances (the first {} have {} of {} classes: the set is sorted by "
      "class), these have {}",
      option, limit, limit, in_first, set.classes, in_spread);
  return spread;
}

void keep_labels(LabelledSet& set, const std::vector<std::int64_t>& rows) {
  for (std::size_t i = 0; i < rows.size(); ++i) set.labels[i] = set.labels[static_cast<std::size_t>(rows[i])];
  set.labels.resize(rows.size());
}

void keep(ImageSet& set, std::int64_t limit, const char* option) {
  const std::vector<std::int64_t> rows = rows_to_keep(set, limit, option);
  if (rows.empty()) return;
  const std::int64_t bytes = set.image_bytes();
  // Rows are in order, so that none is overwritten before it is moved.
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const auto from = set.pixels.begin() + rows[i] * bytes;
    const auto to = set.pixels.begin() + static_cast<std::int64_t>(i) * bytes;
    if (from != to) std::copy(from, from + bytes, to);
  }
  set.pixels.resize(rows.size() * static_cast<std::size_t>(bytes));
  set.pixels.shrink_to_fit();
  keep_labels(set, rows);
}

void keep(TextSet& set, std::int64_t limit, const char* option) {
  const std::vector<std::int64_t> rows = rows_to_keep(set, limit, option);
  if (rows.empty()) return;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    if (rows[i] != static_cast<std::int64_t>(i))
      set.texts[i] = std::move(set.texts[static_cast<std::size_t>(rows[i])]);
  }
  set.texts.resize(rows.size());
  keep_labels(set, rows);
}

/// The model learns nothing about a class without samples; a label that is wrong looks like many of them.
void warn_of_empty_classes(const LabelledSet& train) {
  std::vector<std::int64_t> samples(static_cast<std::size_t>(train.classes));
  for (const std::int32_t label : train.labels) ++samples[static_cast<std::size_t>(label)];
  const auto empty = std::count(samples.begin(), samples.end(), 0);
  if (empty == 0) return;
  const auto first = std::find(samples.begin(), samples.end(), 0) - samples.begin();
  spdlog::warn(
      "data: {} of {} classes have no training sample (class {}{}), the model learns nothing about {}", empty,
      train.classes, first, empty > 1 ? ", ..." : "", empty > 1 ? "them" : "it");
}

void require_data_dir(const DatasetOptions& options) {
  if (options.kind != DatasetKind::synthetic && options.data_dir.empty()) {
    fail(ExitCode::usage,
         "--data-dir is missing (--dataset {} is read from files), name the directory that holds them",
         to_string(options.kind));
  }
}

void log_files(const LabelledSet& train, const LabelledSet& test) {
  for (const LabelledSet* part : {&train, &test}) {
    for (const std::string& file : part->files) spdlog::info("data: read {}", file);
  }
}

void check_same_shape(const Dataset& dataset) {
  const ImageSet &a = dataset.train, &b = dataset.test;
  if (a.height != b.height || a.width != b.width || a.channels != b.channels) {
    fail(ExitCode::data,
         "the training and the test images differ in shape ({}x{}x{} in {}, {}x{}x{} in {}), give two parts "
         "of the same set",
         a.height, a.width, a.channels, a.files.front(), b.height, b.width, b.channels, b.files.front());
  }
}

Dataset read(const DatasetOptions& options) {
  switch (options.kind) {
    case DatasetKind::fashion_mnist:
    case DatasetKind::mnist:
      return read_idx(options);
    case DatasetKind::cifar_10:
    case DatasetKind::cifar_100:
      return read_cifar(options);
    case DatasetKind::hdf5:
      return read_hdf5(options);
    case DatasetKind::synthetic:
      return make_synthetic(options);
    case DatasetKind::ag_news:
    case DatasetKind::newsgroups_20:
    case DatasetKind::glue:
    case DatasetKind::sst_2:
      break;
  }
  COS2P_ASSERT(!"texts asked for as images");
  return {};
}

}  // namespace

std::vector<std::string> subdirectories(const std::string& directory) {
  std::vector<std::string> result;
  std::error_code error;
  for (fs::directory_iterator i(directory, error), end; !error && i != end; i.increment(error)) {
    std::error_code unreadable;
    if (i->is_directory(unreadable)) result.push_back(i->path().string());
  }
  std::sort(result.begin(), result.end());
  return result;
}

std::string find_file(const std::string& directory, const std::vector<std::string>& names) {
  for (const std::string& name : names) {
    for (const char* ending : {"", ".gz"}) {
      const fs::path path = fs::path(directory) / (name + ending);
      std::error_code error;
      if (fs::exists(path, error) && !fs::is_directory(path, error)) return path.string();
    }
  }
  return {};
}

std::string find_set_directory(const DatasetOptions& options,
                               const std::function<bool(const std::string&)>& holds) {
  if (holds(options.data_dir)) {
    std::error_code error;
    const DatasetKind kind = kind_by_name(fs::canonical(options.data_dir, error).string());
    if (!any_directory(options.kind) && kind != DatasetKind::hdf5 && kind != options.kind) {
      spdlog::warn("data: {} is read as {}, but its name says {}", options.data_dir, to_string(options.kind),
                   to_string(kind));
    }
    return options.data_dir;
  }
  std::vector<std::string> all, named;
  for (const std::string& directory : subdirectories(options.data_dir)) {
    if (!holds(directory)) continue;
    // People's own images may lie in a directory of any name.
    const DatasetKind kind = options.kind == DatasetKind::hdf5 ? DatasetKind::hdf5 : kind_by_name(directory);
    if (kind == options.kind) named.push_back(directory);
    if (kind == options.kind || kind == DatasetKind::hdf5 || any_directory(options.kind))
      all.push_back(directory);
  }
  const std::vector<std::string>& found = named.empty() ? all : named;
  if (found.size() > 1) {
    fail(ExitCode::data, "--data-dir {} holds more than one {} set ({}), name one of these directories",
         options.data_dir, to_string(options.kind), fmt::join(found, ", "));
  }
  return found.empty() ? std::string() : found.front();
}

namespace {

/// What may not be looked at is not missing.
void refuse_unreadable(const std::string& directory) {
  std::error_code error;
  const auto refuse_denied = [&](const std::string& path) {
    if (error != std::errc::permission_denied) return;
    fail(ExitCode::data,
         "{} cannot be read ({}), check its permissions and those of the directories above it", path,
         error.message());
  };
  fs::directory_iterator i(directory, error);
  refuse_denied(directory);
  for (const fs::directory_iterator end; !error && i != end; i.increment(error)) {
    const bool is_directory = fs::is_directory(i->path(), error);
    refuse_denied(i->path().string());
    if (!is_directory) continue;
    const fs::directory_iterator below(i->path(), error);
    refuse_denied(i->path().string());
    error.clear();
  }
}

}  // namespace

void fail_not_found(const DatasetOptions& options, const std::string& directory, const std::string& names) {
  const std::string kind = to_string(options.kind);
  const std::string cure =
      any_directory(options.kind) || holds_texts(options.kind)
          ? "name the directory or the file with --data-dir (datasets/README.md describes the layout)"
          : fmt::format(
                "get them with datasets/download.sh {} --dir {}, or name their directory with --data-dir",
                kind, options.data_dir);
  refuse_unreadable(options.data_dir);
  std::error_code error;
  if (!fs::is_directory(options.data_dir, error)) {
    fail(ExitCode::data, "the {} files are missing (--data-dir {} is not a directory; looked for {}), {}",
         kind, options.data_dir, names, cure);
  }
  if (directory.empty()) {
    fail(ExitCode::data,
         "the {} files are missing (looked in {} and in the directories just below it for {}), {}", kind,
         options.data_dir, names, cure);
  }
  fail(ExitCode::data, "the {} files are incomplete (looked in {} for {}), {}", kind, directory, names, cure);
}

/// A model learns to tell classes apart.
void check_classes(int classes, const std::string& name) {
  if (classes >= 2) return;
  fail(ExitCode::data,
       "{} has a single class (every training label is the same), give a set with two classes or more", name);
}

void check_counted_classes(const std::vector<std::int32_t>& labels, const std::string& where, int first) {
  const auto largest = std::max_element(labels.begin(), labels.end());
  if (largest == labels.end()) return;
  std::vector<bool> seen(static_cast<std::size_t>(*largest) + 1);
  for (const std::int32_t label : labels) seen[static_cast<std::size_t>(label)] = true;
  const auto known = std::count(seen.begin(), seen.end(), true);
  check_classes(narrow<int>(known, "number of classes"), where);
  // Some classes may be missing; where most are, the largest label is no class of this set.
  constexpr std::int32_t least_suspicious = 10;
  if (*largest < least_suspicious || *largest < 2 * known) return;
  fail(ExitCode::data,
       "{} has a label out of range (record {} is labelled {}, and of the classes up to there {} have no "
       "sample), "
       "correct it or number the classes without gaps",
       where, largest - labels.begin(), *largest + first, *largest + 1 - known);
}

void check_labels(const std::vector<std::int32_t>& labels, int classes, const std::string& where) {
  for (std::size_t i = 0; i < labels.size(); ++i) {
    if (labels[i] < 0 || labels[i] >= classes) {
      fail(ExitCode::data,
           "{} has a label out of range (record {} is labelled {}; 0 to {} are possible), check that it is "
           "the right file",
           where, i, labels[i], classes - 1);
    }
  }
}

}  // namespace data

bool holds_texts(DatasetKind kind) {
  return kind == DatasetKind::ag_news || kind == DatasetKind::newsgroups_20 || kind == DatasetKind::glue ||
         kind == DatasetKind::sst_2;
}

std::string to_string(DatasetKind kind) {
  for (const auto& [known, name] : data::kind_names) {
    if (known == kind) return name;
  }
  return "unknown";
}

DatasetKind parse_dataset_kind(const std::string& text) {
  std::vector<std::string> names;
  for (const auto& [kind, name] : data::kind_names) {
    if (text == name) return kind;
    names.emplace_back(name);
  }
  fail(ExitCode::usage,
       "--dataset {} is unknown (it is none of the sets this program reads), choose one of {}", text,
       fmt::join(names, ", "));
}

Dataset load_dataset(const DatasetOptions& options) {
  data::require_data_dir(options);
  Dataset dataset = data::read(options);
  data::check_same_shape(dataset);
  data::check_classes(dataset.train.classes, dataset.train.name);
  data::keep(dataset.train, options.limit_train, "--limit-train");
  data::keep(dataset.test, options.limit_test, "--limit-test");
  data::warn_of_empty_classes(dataset.train);
  const ImageSet& train = dataset.train;
  spdlog::info("data: {}, {} training and {} test images of {}x{}x{}, {} classes", train.name, train.size(),
               dataset.test.size(), train.height, train.width, train.channels, train.classes);
  data::log_files(train, dataset.test);
  return dataset;
}

TextDataset load_text_dataset(const DatasetOptions& options) {
  COS2P_ASSERT(holds_texts(options.kind));
  data::require_data_dir(options);
  const bool tsv = options.kind == DatasetKind::glue || options.kind == DatasetKind::sst_2;
  TextDataset dataset = tsv ? data::read_glue_texts(options) : data::read_csv_texts(options);
  data::check_classes(dataset.train.classes, dataset.train.name);
  data::keep(dataset.train, options.limit_train, "--limit-train");
  data::keep(dataset.test, options.limit_test, "--limit-test");
  data::warn_of_empty_classes(dataset.train);
  spdlog::info("data: {}, {} training and {} test texts, {} classes", dataset.train.name,
               dataset.train.size(), dataset.test.size(), dataset.train.classes);
  data::log_files(dataset.train, dataset.test);
  return dataset;
}

}  // namespace cos2p
