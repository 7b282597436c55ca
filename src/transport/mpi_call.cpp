#include "cos2p/transport/mpi_call.hpp"

#include <mpi.h>

#include <string>

#include "cos2p/support/error.hpp"

namespace cos2p {

void check_mpi(int code, const char* function) {
  if (code == MPI_SUCCESS) return;
  char text[MPI_MAX_ERROR_STRING] = {};
  int length = 0;
  if (MPI_Error_string(code, text, &length) != MPI_SUCCESS) length = 0;
  fail(ExitCode::environment, "{} failed ({}), check the network and the MPI settings in use", function,
       length > 0 ? std::string(text, static_cast<std::size_t>(length)) : "error " + std::to_string(code));
}

}  // namespace cos2p
