// The file with which somebody joins a run.
// Input: the file.
#include <sys/stat.h>

#include "cos2p/transport/join.hpp"
#include "fuzz/support.hpp"

using namespace cos2p;
using namespace cos2p::fuzz;

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const MemoryFile file;
  static const bool mine = ::fchmod(file.descriptor(), 0600) == 0;
  if (!mine) found("a file cannot be kept from others");
  file.write({data, size});
  read_or_refused({ExitCode::usage}, [&] {
    const JoinKey key = read_join_key(file.path());
    if (key.hosts.empty() || key.port < 1 || key.port > 65535) found("a key that leads nowhere");
  });
  return 0;
}
