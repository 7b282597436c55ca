#include <arpa/inet.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <sstream>

#include "cos2p/support/error.hpp"
#include "cos2p/support/machine.hpp"
#include "cos2p/support/whole_number.hpp"
#include "join_protocol.hpp"

namespace cos2p {
namespace join {

namespace {

std::string hex(const unsigned char* bytes, std::size_t count) {
  std::string text;
  for (std::size_t i = 0; i < count; ++i) text += fmt::format("{:02x}", bytes[i]);
  return text;
}

}  // namespace

std::string random_hex(std::size_t bytes) {
  std::vector<unsigned char> drawn(bytes);
  if (RAND_bytes(drawn.data(), static_cast<int>(bytes)) != 1)
    fail(ExitCode::environment, "no random numbers can be had (OpenSSL), look into the system's log");
  return hex(drawn.data(), bytes);
}

std::string proof(const std::string& secret, const std::string& role, const std::string& server_nonce,
                  const std::string& newcomer_nonce) {
  const std::string text = role + "\n" + server_nonce + "\n" + newcomer_nonce;
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int size = 0;
  HMAC(EVP_sha256(), secret.data(), static_cast<int>(secret.size()),
       reinterpret_cast<const unsigned char*>(text.data()), text.size(), digest, &size);
  return hex(digest, size);
}

bool same_proof(const std::string& a, const std::string& b) {
  return a.size() == b.size() && CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

nlohmann::json parse(const std::string& text) {
  nlohmann::json json = nlohmann::json::parse(text, nullptr, false);
  if (!json.is_object())
    fail(ExitCode::environment, "what came is no message of cos2p (not a JSON object), check host and port");
  return json;
}

}  // namespace join

JoinKey make_join_key(const std::string& run_id) {
  JoinKey key;
  key.run_id = run_id;
  key.secret = join::random_hex(32);
  key.hosts.push_back(host_name());
  ifaddrs* first = nullptr;
  if (::getifaddrs(&first) != 0) return key;
  const std::unique_ptr<ifaddrs, void (*)(ifaddrs*)> owned(first, ::freeifaddrs);
  for (const ifaddrs* at = first; at != nullptr; at = at->ifa_next) {
    if (at->ifa_addr == nullptr || at->ifa_addr->sa_family != AF_INET || (at->ifa_flags & IFF_LOOPBACK) != 0)
      continue;
    char text[INET_ADDRSTRLEN] = {};
    const auto* address = reinterpret_cast<const sockaddr_in*>(at->ifa_addr);
    if (::inet_ntop(AF_INET, &address->sin_addr, text, sizeof text) != nullptr) key.hosts.emplace_back(text);
  }
  return key;
}

void write_join_key(const std::string& path, const JoinKey& key) {
  nlohmann::ordered_json json;
  json["run"] = key.run_id;
  json["hosts"] = key.hosts;
  json["port"] = key.port;
  json["secret"] = key.secret;
  const std::string text = json.dump(2) + "\n", part = path + ".part";
  ::unlink(part.c_str());
  const int file = ::open(part.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  const bool written =
      file >= 0 && ::write(file, text.data(), text.size()) == static_cast<ssize_t>(text.size());
  const int error = errno;
  if (file >= 0) ::close(file);
  if (!written || std::rename(part.c_str(), path.c_str()) != 0) {
    fail(ExitCode::environment, "{} cannot be written ({}), make room or choose another --output", path,
         std::strerror(written ? errno : error));
  }
}

JoinKey read_join_key(const std::string& given) {
  std::error_code error;
  const std::string path = std::filesystem::is_directory(given, error) ? given + "/" + kJoinKeyName : given;
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) {
    fail(ExitCode::usage,
         "{} cannot be read ({}), give the file {} of the run's output directory; train writes it with "
         "--accept-joins",
         path, std::strerror(errno), kJoinKeyName);
  }
  if ((status.st_mode & 077) != 0) {
    fail(ExitCode::usage, "{} may be read by others (mode {:o}) and holds the run's secret, chmod 600 {}",
         path, status.st_mode & 0777, path);
  }
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  const nlohmann::json json = nlohmann::json::parse(text.str(), nullptr, false);
  JoinKey key;
  try {
    key.run_id = json.at("run").get<std::string>();
    key.hosts = json.at("hosts").get<std::vector<std::string>>();
    key.port = whole_number<int>(json.at("port"));
    key.secret = json.at("secret").get<std::string>();
  } catch (const std::exception& problem) {
    fail(ExitCode::usage, "{} is no {} ({}), copy it anew from the run's output directory", path,
         kJoinKeyName, problem.what());
  }
  if (key.port < 1 || key.port > 65535 || key.secret.size() < 32 || key.hosts.empty())
    fail(ExitCode::usage, "{} is no {} (port {}, a secret of {} digits, {} hosts), copy it anew", path,
         kJoinKeyName, key.port, key.secret.size(), key.hosts.size());
  return key;
}

}  // namespace cos2p
