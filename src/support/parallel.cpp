#include "cos2p/support/parallel.hpp"

#include <exception>
#ifdef __SANITIZE_THREAD__
#include <sanitizer/tsan_interface.h>
#endif

namespace cos2p {
namespace {

// The thread sanitizer does not see how OpenMP's threads begin and end: it is told.
#ifdef __SANITIZE_THREAD__
char region_begins, region_ends;
void before_region() {
  __tsan_release(&region_begins);
}
void in_region() {
  __tsan_acquire(&region_begins);
}
void at_end_of_thread() {
  __tsan_release(&region_ends);
}
void after_region() {
  __tsan_acquire(&region_ends);
}
#else
void before_region() {}
void in_region() {}
void at_end_of_thread() {}
void after_region() {}
#endif

}  // namespace
}  // namespace cos2p

#ifdef __SANITIZE_THREAD__
// What the compiler hands to a region's threads is written after before_region: their reading of it in
// parallel_for itself is no race. What the bodies do is looked at.
extern "C" const char* __tsan_default_suppressions() {  // NOLINT(bugprone-reserved-identifier)
  return "race_top:cos2p::parallel_for\n";
}
#endif

namespace cos2p {

void parallel_for(std::int64_t count, int threads, const std::function<void(std::int64_t)>& body) {
  if (threads <= 1 || count <= 1) {
    for (std::int64_t i = 0; i < count; ++i) body(i);
    return;
  }
  std::exception_ptr error;
  before_region();
#pragma omp parallel num_threads(threads)
  {
    in_region();
#pragma omp for schedule(dynamic, 1) nowait
    for (std::int64_t i = 0; i < count; ++i) {
      try {
        body(i);
      } catch (...) {
#pragma omp critical(cos2p_parallel_error)
        if (!error) error = std::current_exception();
      }
    }
    at_end_of_thread();
  }
  after_region();
  if (error) std::rethrow_exception(error);
}

}  // namespace cos2p
