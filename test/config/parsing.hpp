#pragma once

#include <cstdlib>
#include <fstream>
#include <string>
#include <vector>

#include "cos2p/config/run_options.hpp"
#include "cos2p/support/error.hpp"
#include "option_table.hpp"

namespace cos2p::testing {

inline CommandLine parse(const std::vector<std::string>& words) {
  std::vector<const char*> argv{"cos2p"};
  for (const std::string& word : words) argv.push_back(word.c_str());
  bool finished = false;
  return parse_command_line(static_cast<int>(argv.size()), argv.data(), finished);
}

/// The message with which a command line is refused; "" where it is not, or with another code than 2.
inline std::string refusal(const std::vector<std::string>& words) {
  try {
    parse(words);
  } catch (const Error& error) {
    return error.code() == ExitCode::usage ? error.what() : "";
  }
  return "";
}

inline bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

/// A file in the test's own directory, gone with the object.
class TextFile {
 public:
  TextFile(std::string path, const std::string& text) : path_(std::move(path)) {
    std::ofstream(path_) << text;
  }
  ~TextFile() { std::remove(path_.c_str()); }
  TextFile(const TextFile&) = delete;
  TextFile& operator=(const TextFile&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

/// An environment variable, as long as the object lives.
class Environment {
 public:
  Environment(std::string name, const std::string& value) : name_(std::move(name)) {
    setenv(name_.c_str(), value.c_str(), 1);
  }
  ~Environment() { unsetenv(name_.c_str()); }
  Environment(const Environment&) = delete;
  Environment& operator=(const Environment&) = delete;

 private:
  std::string name_;
};

/// Clears what the caller of the tests has set.
struct NoCos2pVariables {
  NoCos2pVariables() {
    for (const config::OptionSpec& spec : config::option_table()) unsetenv(spec.environment_name().c_str());
  }
};

}  // namespace cos2p::testing
