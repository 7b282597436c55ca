// Configuration files by themselves: what the options make of them is the target `options`.
// Input: the file.
#include "toml.hpp"

#include <sstream>

#include "fuzz/support.hpp"

using namespace cos2p;
using namespace cos2p::fuzz;

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::vector<config::TomlEntry> entries;
  const bool read = read_or_refused({ExitCode::usage}, [&] {
    std::istringstream stream(std::string(reinterpret_cast<const char*>(data), size));
    entries = config::read_toml(stream, "fuzz.toml");
  });
  if (!read) return 0;
  // As texts the values come back as they are.
  std::string text;
  for (const config::TomlEntry& entry : entries) {
    config::Values quoted;
    for (const std::string& value : entry.values) quoted.push_back(config::toml_string(value));
    text += entry.name + " = " + (entry.array ? config::toml_array(quoted) : quoted.front()) + "\n";
  }
  std::istringstream stream(text);
  const std::vector<config::TomlEntry> again = config::read_toml(stream, "again.toml");
  if (again.size() != entries.size()) found("written and read, there is another number of entries");
  for (std::size_t i = 0; i < again.size(); ++i) {
    if (again[i].name != entries[i].name || again[i].values != entries[i].values)
      found("written and read, a value is another one: " + entries[i].name);
  }
  return 0;
}
