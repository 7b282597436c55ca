#pragma once

#include <cstdint>
#include <string>

#include "cos2p/checkpoint/checkpoint.hpp"

namespace cos2p::test {

/// A checkpoint of a small model in which every field has a value of its own, NaN and infinity among them.
Checkpoint make_checkpoint(std::uint64_t seed, int round = 12);

/// Every field's bytes, one after another: two checkpoints are equal to the bit if and only if these are.
std::string bytes_of(const Checkpoint& checkpoint);

/// A directory of its own, removed at the end.
class TemporaryDirectory {
 public:
  TemporaryDirectory();
  ~TemporaryDirectory();
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  TemporaryDirectory(TemporaryDirectory&&) = delete;
  TemporaryDirectory& operator=(TemporaryDirectory&&) = delete;
  const std::string& path() const { return path_; }
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

std::string read_bytes(const std::string& path);
void write_bytes(const std::string& path, const std::string& bytes);

}  // namespace cos2p::test
