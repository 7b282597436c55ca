#pragma once

namespace cos2p {

/// Throws Error(environment) with the function's name and MPI's own text unless `code` is MPI_SUCCESS. Takes
/// effect only where the communicator's or window's error handler is MPI_ERRORS_RETURN, as it is for all of
/// ours.
void check_mpi(int code, const char* function);

}  // namespace cos2p

/// Every MPI call goes through here: COS2P_MPI(MPI_Put, source, ...);
#define COS2P_MPI(function, ...) ::cos2p::check_mpi(function(__VA_ARGS__), #function)
