// Configuration files as each subcommand takes them: every option's own reader and what contradicts what.
// Input: a byte for the subcommand, then the file.
#include "cos2p/config/run_options.hpp"
#include "fuzz/support.hpp"

using namespace cos2p;
using namespace cos2p::fuzz;

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  keep_quiet();
  Input input(data, size);
  constexpr std::size_t kSubcommands = static_cast<std::size_t>(Subcommand::replay) + 1;
  const auto subcommand = static_cast<Subcommand>(input.choice(kSubcommands));
  const std::string text = text_of(input.rest());
  CommandLine command;
  if (!read_or_refused({ExitCode::usage}, [&] { command = parse_options(subcommand, text); })) return 0;
  // What is in effect is written down in each run's directory and checkpoints, and read again by a resume.
  if (subcommand != Subcommand::train && subcommand != Subcommand::simulate &&
      subcommand != Subcommand::compare)
    return 0;
  const CommandLine again = parse_options(subcommand, to_toml(command.in_effect));
  if (again.in_effect != command.in_effect)
    found("the options in effect are others when they are read again");
  return 0;
}
