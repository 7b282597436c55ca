#include "toml.hpp"

#include <cctype>
#include <iterator>
#include <map>

#include "cos2p/support/error.hpp"

namespace cos2p::config {
namespace {

constexpr std::size_t kLargestFile = 1
                                     << 20;  // a configuration is a page; a megabyte of it is some other file

bool is_name_letter(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '-' || c == '_';
}

void append_utf8(std::string& out, unsigned code) {
  const auto put = [&out](unsigned byte) { out.push_back(static_cast<char>(byte)); };
  if (code < 0x80) {
    put(code);
  } else if (code < 0x800) {
    put(0xC0 | (code >> 6));
    put(0x80 | (code & 0x3F));
  } else {
    put(0xE0 | (code >> 12));
    put(0x80 | ((code >> 6) & 0x3F));
    put(0x80 | (code & 0x3F));
  }
}

/// One pass over the text of a file.
class Reader {
 public:
  Reader(std::string text, std::string file) : text_(std::move(text)), file_(std::move(file)) {}

  std::vector<TomlEntry> entries() {
    std::vector<TomlEntry> all;
    std::map<std::string, int> lines;
    for (skip_blank_lines(); !at_end(); skip_blank_lines()) {
      TomlEntry entry = read_entry();
      const auto [first, is_new] = lines.emplace(entry.name, entry.line);
      if (!is_new) {
        line_ = entry.line;
        wrong("'" + entry.name + "' is already set in line " + std::to_string(first->second),
              "keep one of the two");
      }
      all.push_back(std::move(entry));
    }
    return all;
  }

 private:
  [[noreturn]] void wrong(const std::string& reason, const std::string& suggestion) const {
    fail(ExitCode::usage, "{}, line {}: cannot be read ({}), {}", file_, line_, reason, suggestion);
  }

  bool at_end() const { return position_ == text_.size(); }
  char peek() const { return at_end() ? '\n' : text_[position_]; }
  char take() {
    const char c = text_[position_++];
    if (c == '\n') ++line_;
    return c;
  }
  void skip_spaces() {
    while (!at_end() && (peek() == ' ' || peek() == '\t' || peek() == '\r')) ++position_;
  }
  void skip_comment() {
    if (peek() != '#') return;
    while (!at_end() && peek() != '\n') ++position_;
  }
  void skip_blank_lines() {
    for (;;) {
      skip_spaces();
      skip_comment();
      if (at_end() || peek() != '\n') return;
      take();
    }
  }

  TomlEntry read_entry() {
    if (peek() == '[') wrong("it has a [section]", "write every option as name = value, without sections");
    TomlEntry entry;
    entry.line = line_;
    while (!at_end() && is_name_letter(peek())) entry.name.push_back(take());
    skip_spaces();
    if (entry.name.empty() || peek() != '=')
      wrong("it is not of the form name = value", "write for example rounds = 20");
    take();
    skip_spaces();
    if (peek() == '[') {
      entry.array = true;
      entry.values = read_array();
    } else {
      entry.values.push_back(read_scalar());
    }
    skip_spaces();
    skip_comment();
    if (peek() != '\n')
      wrong("there is more text after the value of '" + entry.name + "'", "put texts into \"quotes\"");
    return entry;
  }

  Values read_array() {
    Values elements;
    take();
    for (;;) {
      skip_blank_lines();
      if (at_end()) wrong("an array is not closed", "add the missing ]");
      if (peek() == ']') break;
      elements.push_back(read_scalar());
      skip_blank_lines();
      if (peek() == ',') {
        take();
      } else if (!at_end() && peek() != ']') {
        wrong("an element of an array is followed by neither , nor ]", "write for example [1, 0.5]");
      }
    }
    take();
    return elements;
  }

  std::string read_scalar() {
    if (peek() == '"') return read_basic_string();
    if (peek() == '\'') return read_literal_string();
    std::string word;
    while (!at_end() && (is_name_letter(peek()) || peek() == '.' || peek() == '+')) word.push_back(take());
    if (word.empty()) wrong("a value is missing", "write for example rounds = 20");
    if (word == "true" || word == "false" || word == "inf" || word == "nan") return word;
    const char first = word.front();
    if (std::isdigit(static_cast<unsigned char>(first)) == 0 && first != '-' && first != '+' &&
        first != '.') {
      wrong("'" + word + "' is neither a number nor true or false",
            "put texts into quotes: \"" + word + "\"");
    }
    return without_separators(word);
  }

  /// 1_000 -> 1000, +5 -> 5: TOML's spellings that the options' own readers need not know.
  static std::string without_separators(const std::string& word) {
    std::string number;
    for (std::size_t i = word.front() == '+' ? 1 : 0; i < word.size(); ++i) {
      if (word[i] != '_') number.push_back(word[i]);
    }
    return number;
  }

  std::string read_literal_string() {
    std::string text;
    for (take(); peek() != '\''; text.push_back(take())) {
      if (peek() == '\n') wrong("a string is not closed", "add the missing '");
    }
    take();
    return text;
  }

  std::string read_basic_string() {
    std::string text;
    for (take(); peek() != '"';) {
      if (peek() == '\n') wrong("a string is not closed", "add the missing \"");
      const char c = take();
      if (c == '\\') {
        read_escape(text);
      } else {
        text.push_back(c);
      }
    }
    take();
    return text;
  }

  void read_escape(std::string& text) {
    static const std::map<char, char> kEscapes{{'"', '"'},  {'\\', '\\'}, {'n', '\n'}, {'t', '\t'},
                                               {'r', '\r'}, {'b', '\b'},  {'f', '\f'}};
    const char c = at_end() ? '\n' : take();
    if (const auto escape = kEscapes.find(c); escape != kEscapes.end()) {
      text.push_back(escape->second);
      return;
    }
    unsigned code = 0;
    int digits = 0;
    for (; c == 'u' && digits < 4 && std::isxdigit(static_cast<unsigned char>(peek())) != 0; ++digits) {
      code = code * 16 + static_cast<unsigned>(std::stoi(std::string(1, take()), nullptr, 16));
    }
    if (digits != 4 || code == 0 || (code >= 0xD800 && code < 0xE000))
      wrong(digits == 4 ? fmt::format("\\u{:04X} is no character that a text can hold", code)
                        : "a string has an unknown escape after \\",
            "write \\\\ for a backslash, or use 'single quotes'");
    append_utf8(text, code);
  }

  std::string text_, file_;
  std::size_t position_ = 0;
  int line_ = 1;
};

}  // namespace

std::vector<TomlEntry> read_toml(std::istream& input, const std::string& file) {
  const std::string text = read_start(input, kLargestFile + 1);
  if (text.size() > kLargestFile || text.find('\0') != std::string::npos) {
    fail(ExitCode::usage,
         "{} is not a configuration file ({}{} bytes{}), give a text file of name = value lines", file,
         text.size() > kLargestFile ? "more than " : "", std::min(text.size(), kLargestFile),
         text.find('\0') != std::string::npos ? ", with zero bytes among them" : "");
  }
  return Reader(text, file).entries();
}

std::string toml_string(const std::string& text) {
  std::string quoted = "\"";
  for (const char c : text) {
    switch (c) {
      case '"':
        quoted += "\\\"";
        break;
      case '\\':
        quoted += "\\\\";
        break;
      case '\n':
        quoted += "\\n";
        break;
      case '\t':
        quoted += "\\t";
        break;
      case '\r':
        quoted += "\\r";
        break;
      default:
        if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) {
          quoted += fmt::format("\\u{:04X}", static_cast<unsigned>(c));
        } else {
          quoted.push_back(c);
        }
    }
  }
  return quoted + "\"";
}

std::string toml_array(const Values& elements) {
  std::string text = "[";
  for (std::size_t i = 0; i < elements.size(); ++i) text += (i == 0 ? "" : ", ") + elements[i];
  return text + "]";
}

}  // namespace cos2p::config
