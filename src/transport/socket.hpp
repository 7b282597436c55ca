#pragma once

#include <cstddef>
#include <string>

namespace cos2p {

/// A connected TCP socket: whole reads and writes, or Error(no_workers).
class Socket {
 public:
  Socket() = default;
  explicit Socket(int fd) : fd_(fd) {}
  Socket(Socket&& other) noexcept;
  Socket& operator=(Socket&& other) noexcept;
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;
  ~Socket();

  /// Throws Error(no_workers) where nobody answers within the limit.
  static Socket connect(const std::string& host, int port, double limit_s);
  /// On all addresses. Throws Error(environment).
  static Socket listen(int port);
  int port() const;
  /// A connection that came within the limit; invalid where none did.
  Socket accept(double limit_s) const;

  /// Of every later read and write.
  void set_limit(double seconds);
  void write(const void* data, std::size_t bytes);
  /// Two pieces in one go.
  void write(const void* head, std::size_t head_bytes, const void* data, std::size_t bytes);
  void read(void* data, std::size_t bytes);
  /// A text of at most `limit` bytes, with its length in front.
  void write_text(const std::string& text);
  std::string read_text(std::size_t limit);
  /// Ends both directions: a thread that waits in read() comes back. May be called by another thread.
  void shut_down() const;
  bool valid() const { return fd_ >= 0; }

 private:
  int fd_ = -1;
};

}  // namespace cos2p
