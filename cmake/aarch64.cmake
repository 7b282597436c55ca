# Cross-compiles for 64-bit ARM (Jetson, Raspberry Pi, Graviton) on Debian, against Debian's arm64 packages in COS2P_SYSROOT;
# mpi_launch/cross_build.sh makes that directory, and runs programs for the tests with qemu's user emulation.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_C_COMPILER aarch64-linux-gnu-gcc)
set(CMAKE_CXX_COMPILER aarch64-linux-gnu-g++)
set(CMAKE_LIBRARY_ARCHITECTURE aarch64-linux-gnu)

set(COS2P_SYSROOT ${CMAKE_CURRENT_LIST_DIR}/../build/aarch64-sysroot CACHE PATH "Debian's arm64 packages, unpacked")
list(APPEND CMAKE_TRY_COMPILE_PLATFORM_VARIABLES COS2P_SYSROOT)
get_filename_component(CMAKE_SYSROOT ${COS2P_SYSROOT} REALPATH)
set(CMAKE_FIND_ROOT_PATH ${CMAKE_SYSROOT})
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_PACKAGE ONLY)

# Libraries that only other libraries need are found by the linker, as /etc/ld.so.conf and Debian's alternatives would tell it on such a
# machine.
set(cos2p_libraries ${CMAKE_SYSROOT}/usr/lib/aarch64-linux-gnu)
set(cos2p_alternatives ${cos2p_libraries}/openblas-openmp ${cos2p_libraries}/openmpi/lib)
list(JOIN cos2p_alternatives ":" cos2p_library_path)
string(REPLACE ":" " -Wl,-rpath-link," cos2p_rpath_links ":${cos2p_libraries}:${cos2p_library_path}")
set(CMAKE_EXE_LINKER_FLAGS_INIT "${cos2p_rpath_links}")
set(CMAKE_CROSSCOMPILING_EMULATOR qemu-aarch64-static -L ${CMAKE_SYSROOT} -E LD_LIBRARY_PATH=${cos2p_library_path})

# What CMake would ask (pkg-config, mpicc, h5cc) speaks of the machine that builds.
set(ENV{PKG_CONFIG_LIBDIR} ${cos2p_libraries}/pkgconfig)
set(ENV{PKG_CONFIG_SYSROOT_DIR} ${CMAKE_SYSROOT})
set(MPI_SKIP_COMPILER_WRAPPER ON)
set(MPI_C_HEADER_DIR ${cos2p_libraries}/openmpi/include CACHE PATH "")
set(MPI_C_LIB_NAMES mpi CACHE STRING "")
set(MPI_mpi_LIBRARY ${cos2p_libraries}/openmpi/lib/libmpi.so CACHE FILEPATH "")
set(HDF5_C_COMPILER_EXECUTABLE HDF5_C_COMPILER_EXECUTABLE-NOTFOUND CACHE FILEPATH "")
set(HDF5_ROOT ${CMAKE_SYSROOT}/usr/lib/aarch64-linux-gnu/hdf5/serial)
