#pragma once

#include <string>

namespace cos2p {

/// From now on this rank prints Open MPI's help texts ("peer hung up") itself, to stderr, in place of handing
/// them to mpirun: mpirun 4.1 crashed over such a text in about one of a hundred jobs in which a worker on
/// another host was killed, and took the whole job with it. Call after MPI_Init, which sets the other way.
/// Does nothing with another major version of Open MPI, or another library.
void print_mpi_help_here(const std::string& library_version);

}  // namespace cos2p
