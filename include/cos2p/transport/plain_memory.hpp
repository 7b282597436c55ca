#pragma once

#include "cos2p/transport/channel.hpp"

namespace cos2p {

/// RemoteMemory over memory of this process. Throws Error(internal) for accesses past its end.
class PlainMemory final : public RemoteMemory {
 public:
  explicit PlainMemory(Span<std::byte> memory) : memory_(memory) {}
  void put(const void* source, std::size_t bytes, std::size_t offset) override;
  void get(void* target, std::size_t bytes, std::size_t offset) override;
  void flush() override;

 private:
  Span<std::byte> memory_;
};

}  // namespace cos2p
