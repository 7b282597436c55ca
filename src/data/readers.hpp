// Private to the data room: one function per file format, and what they share.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "cos2p/data/dataset.hpp"

namespace cos2p::data {

Dataset read_idx(const DatasetOptions& options);    ///< mnist, fashion-mnist
Dataset read_cifar(const DatasetOptions& options);  ///< cifar-10, cifar-100
Dataset read_hdf5(const DatasetOptions& options);
Dataset make_synthetic(const DatasetOptions& options);
TextDataset read_csv_texts(const DatasetOptions& options);   ///< ag-news, 20-newsgroups
TextDataset read_glue_texts(const DatasetOptions& options);  ///< glue, sst-2

/// No image of a supported set is larger; a header that says so is wrong.
constexpr std::int64_t largest_side = 8192;

/// The entries of `directory` that are directories, sorted by name, so that a search has the same result
/// everywhere.
std::vector<std::string> subdirectories(const std::string& directory);

/// The path of the first of `names`, plain or with ".gz", that is a file in `directory`; empty where there is
/// none.
std::string find_file(const std::string& directory, const std::vector<std::string>& names);

/// The directory that holds the set: `data_dir` itself or the one directory below it for which `holds` is
/// true. Several below: those whose name is the set's, else Error(data) naming them; empty where there is
/// none.
std::string find_set_directory(const DatasetOptions& options,
                               const std::function<bool(const std::string&)>& holds);

/// Throws Error(data): nothing of the set was found; says which `names` were looked for, where, and how to
/// get them.
[[noreturn]] void fail_not_found(const DatasetOptions& options, const std::string& directory,
                                 const std::string& names);

/// Throws Error(data) where there is a single class.
void check_classes(int classes, const std::string& name);
/// The same for classes that are counted by the labels themselves (from 0), and where the largest label
/// cannot be one of them: most classes up to it have no sample. `first` is what the file calls class 0.
void check_counted_classes(const std::vector<std::int32_t>& labels, const std::string& where, int first = 0);
/// Throws Error(data) where a label is not in [0, classes); `where` names the file.
void check_labels(const std::vector<std::int32_t>& labels, int classes, const std::string& where);

}  // namespace cos2p::data
