#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>

#include "cos2p/transport/join.hpp"
#include "socket.hpp"

namespace cos2p::join {

// The conversation of a newcomer (N) with the server (S); texts are JSON:
//   S: hello    program (its version, that of its checkpoints, its byte order), protocol, nonce
//   N: request  program, protocol, nonce, host, clients, proof = HMAC(secret, "newcomer" + both nonces)
//   S: welcome  proof = HMAC(secret, "server" + both nonces), worker, ... or error, in words
// and then, from N, operations until one end closes: put and get on a memory (0 ring, 1 store), each answered
// in order where an answer is due.

inline constexpr int kProtocol = 4;
inline constexpr std::size_t kSmallText = 64U << 10;  ///< before somebody has shown that it knows the secret
inline constexpr std::size_t kLargeText = 64U << 20;  ///< a vocabulary
inline constexpr double kGreetingLimit_s = 10;

enum class Operation : std::uint32_t { put = 1, get = 2, flush = 3 };
struct OperationHeader {
  Operation operation = Operation::flush;
  std::uint32_t memory = 0;
  std::uint64_t offset = 0, bytes = 0;
};
static_assert(sizeof(OperationHeader) == 24);

std::string random_hex(std::size_t bytes);
std::string proof(const std::string& secret, const std::string& role, const std::string& server_nonce,
                  const std::string& newcomer_nonce);
/// In a time that does not depend on where they differ.
bool same_proof(const std::string& a, const std::string& b);
/// Throws Error(environment) for what is no JSON object.
nlohmann::json parse(const std::string& text);

}  // namespace cos2p::join
