#pragma once

#include <string>

namespace cos2p {

std::string mpi_library_version();               ///< "Open MPI 4.1.4"; may be called before MPI_Init
int open_mpi_major(const std::string& version);  ///< 4; 0 for other libraries

}  // namespace cos2p
