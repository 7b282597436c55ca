#include "socket.hpp"

#include <endian.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <memory>
#include <utility>

#include "cos2p/support/error.hpp"

namespace cos2p {
namespace {

[[noreturn]] void fail_lost(const char* reason) {
  fail(ExitCode::no_workers, "the connection is lost ({}), look whether the other end still runs", reason);
}

void set_option(int fd, int level, int name, int value) {
  ::setsockopt(fd, level, name, &value, sizeof value);
}

/// A host that vanished without a word is noticed after about half a minute.
void prepare(int fd) {
  set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
  set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
  set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, 10);
  set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, 5);
  set_option(fd, IPPROTO_TCP, TCP_KEEPCNT, 4);
}

bool wait_for(int fd, short events, double limit_s) {
  pollfd waiting{fd, events, 0};
  int ready = -1;
  do {
    ready = ::poll(&waiting, 1, static_cast<int>(limit_s * 1000));
  } while (ready < 0 && errno == EINTR);
  return ready > 0;
}

}  // namespace

Socket::Socket(Socket&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}

Socket& Socket::operator=(Socket&& other) noexcept {
  Socket gone(std::move(*this));
  fd_ = std::exchange(other.fd_, -1);
  return *this;
}

Socket::~Socket() {
  if (fd_ >= 0) ::close(fd_);
}

Socket Socket::connect(const std::string& host, int port, double limit_s) {
  addrinfo hints{}, *found = nullptr;
  hints.ai_socktype = SOCK_STREAM;
  const int unknown = ::getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &found);
  if (unknown != 0) {
    fail(ExitCode::no_workers, "{} is not known ({}), give --server HOST with a name or address", host,
         ::gai_strerror(unknown));
  }
  const std::unique_ptr<addrinfo, void (*)(addrinfo*)> owned(found, ::freeaddrinfo);
  std::string reason = "no address";
  for (const addrinfo* at = found; at != nullptr; at = at->ai_next) {
    Socket socket(::socket(at->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!socket.valid()) continue;
    int error = 0;
    if (::connect(socket.fd_, at->ai_addr, at->ai_addrlen) != 0) {
      error = errno;
      if (error == EINPROGRESS) {
        socklen_t size = sizeof error;
        error = ETIMEDOUT;
        if (wait_for(socket.fd_, POLLOUT, limit_s))
          ::getsockopt(socket.fd_, SOL_SOCKET, SO_ERROR, &error, &size);
      }
    }
    if (error == 0) {
      ::fcntl(socket.fd_, F_SETFL, ::fcntl(socket.fd_, F_GETFL) & ~O_NONBLOCK);
      prepare(socket.fd_);
      return socket;
    }
    reason = std::strerror(error);
  }
  fail(ExitCode::no_workers, "nobody answers at {} port {} ({}), look whether the run still goes on", host,
       port, reason);
}

Socket Socket::listen(int port) {
  Socket socket(::socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const bool six = socket.valid();
  if (!six) socket = Socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  set_option(socket.fd_, SOL_SOCKET, SO_REUSEADDR, 1);
  int failed = -1;
  if (six) {
    set_option(socket.fd_, IPPROTO_IPV6, IPV6_V6ONLY, 0);
    sockaddr_in6 address{};
    address.sin6_family = AF_INET6;
    address.sin6_port = htons(static_cast<std::uint16_t>(port));
    failed = ::bind(socket.fd_, reinterpret_cast<const sockaddr*>(&address), sizeof address);
  } else {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<std::uint16_t>(port));
    failed = ::bind(socket.fd_, reinterpret_cast<const sockaddr*>(&address), sizeof address);
  }
  if (failed != 0 || ::listen(socket.fd_, 64) != 0) {
    fail(ExitCode::environment,
         "port {} cannot be listened on ({}), choose another one with --join-port or leave it out", port,
         std::strerror(errno));
  }
  return socket;
}

int Socket::port() const {
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  ::getsockname(fd_, reinterpret_cast<sockaddr*>(&address), &size);
  return address.ss_family == AF_INET6 ? ntohs(reinterpret_cast<const sockaddr_in6&>(address).sin6_port)
                                       : ntohs(reinterpret_cast<const sockaddr_in&>(address).sin_port);
}

Socket Socket::accept(double limit_s) const {
  if (!wait_for(fd_, POLLIN, limit_s)) return Socket();
  Socket socket(::accept4(fd_, nullptr, nullptr, SOCK_CLOEXEC));
  if (socket.valid()) prepare(socket.fd_);
  return socket;
}

void Socket::set_limit(double seconds) {
  timeval limit{};
  limit.tv_sec = static_cast<time_t>(seconds);
  limit.tv_usec = static_cast<suseconds_t>((seconds - static_cast<double>(limit.tv_sec)) * 1e6);
  ::setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  ::setsockopt(fd_, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
}

void Socket::write(const void* data, std::size_t bytes) {
  write(data, bytes, nullptr, 0);
}

void Socket::write(const void* head, std::size_t head_bytes, const void* data, std::size_t bytes) {
  iovec pieces[2] = {{const_cast<void*>(head), head_bytes}, {const_cast<void*>(data), bytes}};
  msghdr message{};
  message.msg_iov = pieces;
  message.msg_iovlen = 2;
  std::size_t left = head_bytes + bytes;
  while (left > 0) {
    const ssize_t now = ::sendmsg(fd_, &message, MSG_NOSIGNAL);
    if (now < 0 && errno == EINTR) continue;
    if (now <= 0)
      fail_lost(now < 0 && errno != EAGAIN ? std::strerror(errno) : "no progress within the limit");
    left -= static_cast<std::size_t>(now);
    auto sent = static_cast<std::size_t>(now);
    for (iovec& piece : pieces) {
      const std::size_t part = std::min(sent, piece.iov_len);
      piece.iov_base = static_cast<char*>(piece.iov_base) + part;
      piece.iov_len -= part;
      sent -= part;
    }
  }
}

void Socket::read(void* data, std::size_t bytes) {
  auto* to = static_cast<char*>(data);
  while (bytes > 0) {
    const ssize_t now = ::recv(fd_, to, bytes, 0);
    if (now < 0 && errno == EINTR) continue;
    if (now == 0) fail_lost("the other end has closed it");
    if (now < 0) fail_lost(errno == EAGAIN ? "silent for longer than the limit" : std::strerror(errno));
    to += now;
    bytes -= static_cast<std::size_t>(now);
  }
}

void Socket::write_text(const std::string& text) {
  // In an order of its own, so that peers of another byte order understand what they are told.
  const std::uint32_t size = htole32(static_cast<std::uint32_t>(text.size()));
  write(&size, sizeof size, text.data(), text.size());
}

std::string Socket::read_text(std::size_t limit) {
  std::uint32_t size = 0;
  read(&size, sizeof size);
  size = le32toh(size);
  if (size > limit) fail_lost("what came is no message of cos2p");
  std::string text(size, '\0');
  read(text.data(), size);
  return text;
}

void Socket::shut_down() const {
  if (fd_ >= 0) ::shutdown(fd_, SHUT_RDWR);
}

}  // namespace cos2p
