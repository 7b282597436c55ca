# Every dependency is found here, once. A missing one is reported with the Debian package that brings it.
function(cos2p_require found what package)
  if(NOT ${found})
    message(FATAL_ERROR "${what} was not found (it is needed to build cos2p); install it with: apt-get install ${package}")
  endif()
endfunction()

find_package(Threads REQUIRED)
find_package(MPI QUIET COMPONENTS C)
cos2p_require(MPI_C_FOUND "An MPI library" "libopenmpi-dev openmpi-bin")
find_package(Torch QUIET)
cos2p_require(Torch_FOUND "LibTorch" "libtorch-dev")
find_package(HDF5 QUIET COMPONENTS C)
cos2p_require(HDF5_FOUND "HDF5" "libhdf5-dev")
find_package(CLI11 QUIET)
cos2p_require(CLI11_FOUND "CLI11" "libcli11-dev")
find_package(spdlog QUIET)
cos2p_require(spdlog_FOUND "spdlog" "libspdlog-dev libfmt-dev")
find_package(fmt QUIET)
cos2p_require(fmt_FOUND "fmt" "libfmt-dev")
find_package(nlohmann_json QUIET)
cos2p_require(nlohmann_json_FOUND "nlohmann/json" "nlohmann-json3-dev")
find_package(ZLIB QUIET)
cos2p_require(ZLIB_FOUND "zlib" "zlib1g-dev")
find_path(XXHASH_INCLUDE_DIR xxhash.h)
cos2p_require(XXHASH_INCLUDE_DIR "xxHash" "libxxhash-dev")

# HDF5 and MPI come as variables or as targets, depending on the CMake version; below here there are only targets.
add_library(cos2p_hdf5 INTERFACE)
target_include_directories(cos2p_hdf5 SYSTEM INTERFACE ${HDF5_C_INCLUDE_DIRS} ${HDF5_INCLUDE_DIRS})
target_link_libraries(cos2p_hdf5 INTERFACE ${HDF5_C_LIBRARIES})
# xxHash is used header-only (XXH_INLINE_ALL), so that it is compiled for this machine's vector width.
add_library(cos2p_xxhash INTERFACE)
target_include_directories(cos2p_xxhash SYSTEM INTERFACE ${XXHASH_INCLUDE_DIR})
add_library(cos2p_torch INTERFACE)
target_link_libraries(cos2p_torch INTERFACE ${TORCH_LIBRARIES})
target_include_directories(cos2p_torch SYSTEM INTERFACE ${TORCH_INCLUDE_DIRS})

find_program(CCACHE_PROGRAM ccache)
if(CCACHE_PROGRAM AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  # The sloppiness is what ccache asks for with precompiled headers.
  set(CMAKE_CXX_COMPILER_LAUNCHER
      ${CMAKE_COMMAND} -E env CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime ${CCACHE_PROGRAM})
endif()
