// Results of single runs, which cos2p compare reads when it goes on.
// Input: the file.
#include "cos2p/checkpoint/comparison.hpp"
#include "fuzz/support.hpp"

using namespace cos2p;
using namespace cos2p::fuzz;

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  ComparedRun run;
  const std::string text(reinterpret_cast<const char*>(data), size);
  if (!read_or_refused({ExitCode::checkpoint}, [&] { run = compared_run_from_json(text, "result.json"); }))
    return 0;
  measure_target(run, 0.5);
  to_json(run);
  comparison_csv({run, run});
  comparison_markdown({run, run}, 0.5);
  return 0;
}
