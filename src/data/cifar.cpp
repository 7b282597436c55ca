// The binary version of CIFAR: records of one label byte (CIFAR-100: coarse, then fine) and the planes R, G,
// B of 32x32 bytes each. The files have no header; what can be checked is the record length, the labels, and
// that a set of which one file has its official number of records has it in the others too.
#include <spdlog/spdlog.h>

#include "cos2p/support/error.hpp"
#include "data_file.hpp"
#include "readers.hpp"

namespace cos2p::data {
namespace {

constexpr int side = 32, channels = 3;
constexpr std::size_t plane = std::size_t{side} * side;
constexpr std::uint64_t largest_records = 1'000'000;  // per file; the official ones have up to 50,000
constexpr int coarse_classes = 20, fine_classes = 100, cifar_10_classes = 10;

struct Member {
  std::string name;
  std::int64_t official_records;
  bool test;
};

std::vector<Member> members(DatasetKind kind) {
  if (kind == DatasetKind::cifar_100) return {{"train.bin", 50000, false}, {"test.bin", 10000, true}};
  std::vector<Member> result;
  for (int i = 1; i <= 5; ++i) result.push_back({fmt::format("data_batch_{}.bin", i), 10000, false});
  result.push_back({"test_batch.bin", 10000, true});
  return result;
}

/// Appends the records of a file to `set`, planes turned into interleaved channels; returns their number.
std::int64_t read_records(const std::string& path, const std::string& cure, const DatasetOptions& options,
                          ImageSet& set) {
  const bool hundred = options.kind == DatasetKind::cifar_100;
  const std::size_t label_bytes = hundred ? 2 : 1, record = label_bytes + channels * plane;
  const std::vector<std::uint8_t> content = DataFile(path, cure).read_all(largest_records * record);
  const std::size_t count = content.size() / record, rest = content.size() % record;
  if (content.empty()) fail(ExitCode::data, "{} is empty (0 bytes), {}", path, cure);
  if (count == 0 || rest != 0) {
    fail(ExitCode::data,
         "{} is truncated or over-long ({} bytes are {} records of {} bytes and {} bytes more), {}", path,
         content.size(), count, record, rest, cure);
  }
  std::vector<std::int32_t> first,
      second;  // the first and, for CIFAR-100, the second label byte of each record
  set.pixels.reserve(set.pixels.size() + count * channels * plane);
  for (std::size_t i = 0; i < count; ++i) {
    const std::uint8_t* bytes = content.data() + i * record;
    first.push_back(bytes[0]);
    if (hundred) second.push_back(bytes[1]);
    for (std::size_t p = 0; p < plane; ++p) {
      for (std::size_t c = 0; c < channels; ++c) set.pixels.push_back(bytes[label_bytes + c * plane + p]);
    }
  }
  check_labels(first, hundred ? coarse_classes : cifar_10_classes,
               path + (hundred ? " (coarse labels)" : ""));
  check_labels(second, fine_classes, path + " (fine labels)");
  const auto& labels = hundred && !options.coarse_labels ? second : first;
  set.labels.insert(set.labels.end(), labels.begin(), labels.end());
  set.files.push_back(path);
  return static_cast<std::int64_t>(count);
}

struct ReadFile {
  std::string path;
  std::int64_t records, official_records;
};

/// A file cut at the end of a record looks whole; its sisters give it away.
void check_record_counts(const std::vector<ReadFile>& files, const std::string& cure) {
  const ReadFile *official = nullptr, *other = nullptr;
  for (const ReadFile& file : files) (file.records == file.official_records ? official : other) = &file;
  if (other == nullptr) return;
  if (official != nullptr) {
    fail(ExitCode::data, "{} is {} ({} records, the official file has {}, and {} has its official {}), {}",
         other->path, other->records < other->official_records ? "truncated" : "over-long", other->records,
         other->official_records, official->path, official->records, cure);
  }
  spdlog::warn("data: {} has {} records, the official file has {}: this is a set of its own or a cut one",
               other->path, other->records, other->official_records);
}

}  // namespace

Dataset read_cifar(const DatasetOptions& options) {
  const std::vector<Member> wanted = members(options.kind);
  const bool hundred = options.kind == DatasetKind::cifar_100;
  const std::string directory = find_set_directory(options, [&](const std::string& d) {
    for (const Member& member : wanted) {
      if (!find_file(d, {member.name}).empty()) return true;
    }
    return false;
  });
  const std::string train_names =
      hundred ? "train.bin[.gz]" : "data_batch_1.bin[.gz] to data_batch_5.bin[.gz]";
  const std::string test_name = wanted.back().name + "[.gz]";
  if (directory.empty())
    fail_not_found(options, "", train_names + " and " + test_name + " of the binary version");
  const std::string cure =
      fmt::format("remove it and get the set again with datasets/download.sh {} --dir {}",
                  to_string(options.kind), directory);

  Dataset dataset;
  for (ImageSet* set : {&dataset.train, &dataset.test}) {
    set->name = to_string(options.kind);
    set->height = set->width = side;
    set->channels = channels;
    set->classes = !hundred ? cifar_10_classes : options.coarse_labels ? coarse_classes : fine_classes;
  }
  std::vector<ReadFile> files;
  std::string absent;
  for (const Member& member : wanted) {
    const std::string path = find_file(directory, {member.name});
    if (path.empty()) {
      absent += (absent.empty() ? "" : ", ") + member.name;
      continue;
    }
    const std::int64_t records =
        read_records(path, cure, options, member.test ? dataset.test : dataset.train);
    files.push_back({path, records, member.official_records});
  }
  if (dataset.train.size() == 0) fail_not_found(options, directory, train_names);
  if (dataset.test.size() == 0) fail_not_found(options, directory, test_name);
  check_record_counts(files, cure);
  if (!absent.empty())
    spdlog::warn("data: {} lacks {}; training goes on with the batches that are there", directory, absent);
  return dataset;
}

}  // namespace cos2p::data
