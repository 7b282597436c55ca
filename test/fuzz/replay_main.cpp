// Gives files to a fuzz target, without libFuzzer: replay FILE|DIR... An exception that the target lets
// through is a failure, as it is for libFuzzer; nothing to read is one too.
#include <algorithm>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "fuzz/support.hpp"

namespace fs = std::filesystem;

namespace {

std::vector<std::string> files_of(int argc, char** argv) {
  std::vector<std::string> files;
  for (int i = 1; i < argc; ++i) {
    if (!fs::is_directory(argv[i])) {
      files.emplace_back(argv[i]);
      continue;
    }
    for (const auto& entry : fs::directory_iterator(argv[i])) files.push_back(entry.path().string());
  }
  std::sort(files.begin(), files.end());
  return files;
}

}  // namespace

int main(int argc, char** argv) {
  std::string file;
  try {
    const std::vector<std::string> files = files_of(argc, argv);
    for (const std::string& next : files) {
      file = next;
      std::fprintf(stderr, "%s\n", file.c_str());
      std::ifstream stream(file, std::ios::binary);
      const cos2p::fuzz::Bytes bytes(std::istreambuf_iterator<char>(stream), {});
      LLVMFuzzerTestOneInput(bytes.data(), bytes.size());
    }
    std::printf("%zu inputs\n", files.size());
    return files.empty() ? 1 : 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s: an exception gets out (%s)\n", file.c_str(), error.what());
    return 1;
  }
}
