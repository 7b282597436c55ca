#pragma once

#include <mpi.h>

#include <algorithm>
#include <cstddef>
#include <string>

#include "cos2p/transport/channel.hpp"
#include "watchdog.hpp"

namespace cos2p {

/// Largest piece of memory in one MPI call, whose counts are int.
constexpr std::size_t kLargestMpiCount = std::size_t{1} << 30;
/// Calls `piece(offset, bytes)` for pieces of at most `largest` bytes that make up `bytes`.
template <typename Piece>
void for_each_piece(std::size_t bytes, std::size_t largest, Piece piece) {
  for (std::size_t done = 0; done < bytes; done += largest) piece(done, std::min(largest, bytes - done));
}

/// A window on a {server, worker} communicator whose memory lies at the server (rank 0 of the pair). Held
/// open by lock_all for its whole life. Move-only. Not freed by the destructor: freeing waits for the other
/// side.
class RmaWindow {
 public:
  RmaWindow() = default;
  /// Memory of the window's own, `bytes` at the server and 0 at the worker. Collective.
  static RmaWindow allocate(MPI_Comm pair, std::size_t bytes);
  /// Over memory that exists (empty at the worker). Collective.
  static RmaWindow create(MPI_Comm pair, Span<std::byte> memory);
  RmaWindow(RmaWindow&& other) noexcept;
  RmaWindow& operator=(RmaWindow&& other) noexcept;
  RmaWindow(const RmaWindow&) = delete;
  RmaWindow& operator=(const RmaWindow&) = delete;
  ~RmaWindow() = default;

  MPI_Win handle() const { return window_; }
  std::byte* local() const { return local_; }  ///< the server's memory (allocate() only)
  std::string component() const;               ///< "osc/sm", "osc/rdma", "osc/pt2pt" as far as MPI lets on
  void free();                                 ///< collective

 private:
  void open();
  MPI_Win window_ = MPI_WIN_NULL;
  std::byte* local_ = nullptr;
};

/// The server's memory, `bytes` from `base` on, through a window.
class RmaMemory final : public RemoteMemory {
 public:
  RmaMemory(MPI_Win window, std::size_t base, std::size_t bytes, Watchdog& watchdog, double limit_s)
      : window_(window), base_(base), bytes_(bytes), watchdog_(watchdog), limit_s_(limit_s) {}
  void put(const void* source, std::size_t bytes, std::size_t offset) override;
  void get(void* target, std::size_t bytes, std::size_t offset) override;
  void flush() override;
  void flush_local() override;
  void get_patiently(void* target, std::size_t bytes, std::size_t offset) override;
  Pace pace() const override { return pace_; }
  void set_pace(Pace pace) { pace_ = pace; }

 private:
  void check_bounds(std::size_t bytes, std::size_t offset) const;
  MPI_Win window_;
  std::size_t base_, bytes_;
  Watchdog& watchdog_;
  double limit_s_;
  Pace pace_;
};

}  // namespace cos2p
