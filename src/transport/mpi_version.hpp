#pragma once

#include <string>

namespace cos2p {

int open_mpi_major(const std::string& version);  ///< 4; 0 for other libraries

}  // namespace cos2p
