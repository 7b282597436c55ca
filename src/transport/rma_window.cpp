#include "rma_window.hpp"

#include <utility>

#include "cos2p/support/error.hpp"
#include "cos2p/support/narrow.hpp"
#include "cos2p/transport/backoff.hpp"
#include "cos2p/transport/mpi_call.hpp"

namespace cos2p {

RmaWindow RmaWindow::allocate(MPI_Comm pair, std::size_t bytes) {
  RmaWindow w;
  void* memory = nullptr;
  COS2P_MPI(MPI_Win_allocate, narrow<MPI_Aint>(bytes, "window size"), 1, MPI_INFO_NULL, pair,
            static_cast<void*>(&memory), &w.window_);
  w.local_ = static_cast<std::byte*>(memory);
  w.open();
  return w;
}

RmaWindow RmaWindow::create(MPI_Comm pair, Span<std::byte> memory) {
  RmaWindow w;
  COS2P_MPI(MPI_Win_create, memory.data(), narrow<MPI_Aint>(memory.size(), "window size"), 1, MPI_INFO_NULL,
            pair, &w.window_);
  w.open();
  return w;
}

void RmaWindow::open() {
  COS2P_MPI(MPI_Win_set_errhandler, window_, MPI_ERRORS_RETURN);
  int* model = nullptr;
  int found = 0;
  COS2P_MPI(MPI_Win_get_attr, window_, MPI_WIN_MODEL, static_cast<void*>(&model), &found);
  if (found == 0 || *model != MPI_WIN_UNIFIED) {
    fail(ExitCode::environment,
         "MPI's windows keep two copies of their memory (MPI_WIN_SEPARATE), use a machine or an MPI with "
         "MPI_WIN_UNIFIED");
  }
  COS2P_MPI(MPI_Win_lock_all, MPI_MODE_NOCHECK, window_);
}

RmaWindow::RmaWindow(RmaWindow&& other) noexcept
    : window_(std::exchange(other.window_, MPI_WIN_NULL)), local_(std::exchange(other.local_, nullptr)) {}

RmaWindow& RmaWindow::operator=(RmaWindow&& other) noexcept {
  std::swap(window_, other.window_);
  std::swap(local_, other.local_);
  return *this;
}

// Open MPI does not say which component carries a window, but each leaves hints of its own in the window's
// info.
std::string RmaWindow::component() const {
  MPI_Info info = MPI_INFO_NULL;
  COS2P_MPI(MPI_Win_get_info, window_, &info);
  const auto has = [info](const char* key) {
    char value[2] = {};
    int found = 0;
    COS2P_MPI(MPI_Info_get, info, key, 1, value, &found);
    return found != 0;
  };
  std::string name = has("blocking_fence") || has("alloc_shared_noncontig") ? "osc/sm"
                     : has("no_locks")                                      ? "osc/rdma"
                                                                            : "osc/pt2pt";
  COS2P_MPI(MPI_Info_free, &info);
  return name;
}

void RmaWindow::free() {
  if (window_ == MPI_WIN_NULL) return;
  COS2P_MPI(MPI_Win_unlock_all, window_);
  COS2P_MPI(MPI_Win_free, &window_);
  local_ = nullptr;
}

void RmaMemory::check_bounds(std::size_t bytes, std::size_t offset) const {
  if (offset > bytes_ || bytes > bytes_ - offset) {
    fail(ExitCode::internal, "Access to bytes {}+{} of a window that has {}", offset, bytes, bytes_);
  }
}

void RmaMemory::put(const void* source, std::size_t bytes, std::size_t offset) {
  check_bounds(bytes, offset);
  // Where a put is a load and a store there is nothing to wait for, and the clock would cost more than it is
  // worth.
  const Watchdog::Watch watch(pace_.flush_bytes > 0 ? &watchdog_ : nullptr, limit_s_);
  for_each_piece(bytes, kLargestMpiCount, [&](std::size_t done, std::size_t now) {
    const int count = narrow<int>(now, "count");
    COS2P_MPI(MPI_Put, static_cast<const std::byte*>(source) + done, count, MPI_BYTE, 0,
              narrow<MPI_Aint>(base_ + offset + done, "displacement"), count, MPI_BYTE, window_);
  });
}

void RmaMemory::get(void* target, std::size_t bytes, std::size_t offset) {
  check_bounds(bytes, offset);
  const Watchdog::Watch watch(&watchdog_, limit_s_);
  for_each_piece(bytes, kLargestMpiCount, [&](std::size_t done, std::size_t now) {
    const int count = narrow<int>(now, "count");
    COS2P_MPI(MPI_Get, static_cast<std::byte*>(target) + done, count, MPI_BYTE, 0,
              narrow<MPI_Aint>(base_ + offset + done, "displacement"), count, MPI_BYTE, window_);
  });
}

void RmaMemory::flush() {
  const Watchdog::Watch watch(&watchdog_, limit_s_);
  COS2P_MPI(MPI_Win_flush, 0, window_);
}

void RmaMemory::flush_local() {
  const Watchdog::Watch watch(&watchdog_, limit_s_);
  COS2P_MPI(MPI_Win_flush_local, 0, window_);
}

// A flush spins until the server answers, which sleeps while it has nothing to do: a waiting worker would
// burn its core.
void RmaMemory::get_patiently(void* target, std::size_t bytes, std::size_t offset) {
  if (pace_.flush_bytes == 0 || bytes > kLargestMpiCount) {
    get(target, bytes, offset);
    return flush();
  }
  check_bounds(bytes, offset);
  const Watchdog::Watch watch(&watchdog_, limit_s_);
  const int count = narrow<int>(bytes, "count");
  MPI_Request request = MPI_REQUEST_NULL;
  COS2P_MPI(MPI_Rget, target, count, MPI_BYTE, 0, narrow<MPI_Aint>(base_ + offset, "displacement"), count,
            MPI_BYTE, window_, &request);
  Backoff backoff;
  for (int done = 0;;) {
    COS2P_MPI(MPI_Test, &request, &done, MPI_STATUS_IGNORE);
    if (done != 0) return;
    backoff.pause();
  }
}

}  // namespace cos2p
