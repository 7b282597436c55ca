# One line registers a test and sets everything: working directory, timeout, processors, labels.
find_package(Boost QUIET COMPONENTS unit_test_framework)
if(COS2P_TESTS STREQUAL "AUTO")
  if(Boost_FOUND)
    set(COS2P_TESTS ON)
  else()
    set(COS2P_TESTS OFF)
    message(STATUS "The tests are left out (Boost.Test was not found): mpi_launch/install_packages.sh --tests brings what they need")
  endif()
endif()
if(COS2P_TESTS)
  cos2p_require(Boost_FOUND "Boost.Test" "libboost-test-dev")
endif()

set(COS2P_TEST_ENVIRONMENT
    # In a container tests run as root, with more ranks than cores; both are refused by mpirun unless told.
    OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_rmaps_base_oversubscribe=1
    OMPI_MCA_mpi_yield_when_idle=1 OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE)

function(cos2p_configure_test name timeout processors labels)
  set(dir ${PROJECT_BINARY_DIR}/test-work/${name})
  if(CMAKE_CROSSCOMPILING)
    math(EXPR timeout "20 * ${timeout}")  # under an emulator
  endif()
  file(MAKE_DIRECTORY ${dir})
  set_tests_properties(${name} PROPERTIES TIMEOUT ${timeout} PROCESSORS ${processors} WORKING_DIRECTORY ${dir}
    LABELS "${labels}" ENVIRONMENT "${COS2P_TEST_ENVIRONMENT}" SKIP_RETURN_CODE 77)
endfunction()

# cos2p_add_test(NAME SOURCES a.cpp LINKS ... [TORCH] [TIMEOUT s] [LABELS ...]): Boost.Test unit tests in one process.
function(cos2p_add_test name)
  cmake_parse_arguments(T "TORCH" "TIMEOUT" "SOURCES;LINKS;LABELS" ${ARGN})
  if(NOT T_TIMEOUT)
    set(T_TIMEOUT 60)
  endif()
  add_executable(${name} ${T_SOURCES} ${PROJECT_SOURCE_DIR}/test/harness/unit_main.cpp)
  target_link_libraries(${name} PRIVATE cos2p_flags ${T_LINKS} Boost::unit_test_framework)
  target_compile_definitions(${name} PRIVATE BOOST_TEST_DYN_LINK COS2P_SOURCE_DIR="${PROJECT_SOURCE_DIR}")
  target_include_directories(${name} PRIVATE ${PROJECT_SOURCE_DIR}/test)
  if(T_TORCH)
    cos2p_use_torch(${name})
  endif()
  add_test(NAME ${name} COMMAND ${name} --log_level=warning)
  cos2p_configure_test(${name} ${T_TIMEOUT} 1 "unit;${T_LABELS}")
endfunction()

# cos2p_add_mpi_test(NAME SOURCES a.cpp LINKS ... RANKS 2 4 [TIMEOUT s] [LABELS ...]): one CTest entry per rank count,
# under the real mpirun, with the verdict reduced over all ranks (test/harness/mpi_main.cpp).
function(cos2p_add_mpi_test name)
  cmake_parse_arguments(T "TORCH" "TIMEOUT" "SOURCES;LINKS;RANKS;LABELS" ${ARGN})
  if(NOT T_TIMEOUT)
    set(T_TIMEOUT 60)
  endif()
  add_executable(${name} ${T_SOURCES} ${PROJECT_SOURCE_DIR}/test/harness/mpi_main.cpp)
  target_link_libraries(${name} PRIVATE cos2p_flags ${T_LINKS} Boost::unit_test_framework MPI::MPI_C)
  target_compile_definitions(${name} PRIVATE BOOST_TEST_DYN_LINK)
  target_include_directories(${name} PRIVATE ${PROJECT_SOURCE_DIR}/test)
  if(T_TORCH)
    cos2p_use_torch(${name})
  endif()
  foreach(ranks ${T_RANKS})
    add_test(NAME ${name}_${ranks} COMMAND ${MPIEXEC_EXECUTABLE} -n ${ranks} $<TARGET_FILE:${name}> --log_level=warning)
    cos2p_configure_test(${name}_${ranks} ${T_TIMEOUT} 2 "mpi;${T_LABELS}")
  endforeach()
endfunction()

# cos2p_add_program_test(NAME COMMAND ... [TIMEOUT s] [LABELS ...]): the real program, run by a script.
function(cos2p_add_program_test name)
  cmake_parse_arguments(T "" "TIMEOUT" "COMMAND;LABELS" ${ARGN})
  if(NOT T_TIMEOUT)
    set(T_TIMEOUT 120)
  endif()
  add_test(NAME ${name} COMMAND ${T_COMMAND})
  cos2p_configure_test(${name} ${T_TIMEOUT} 2 "program;${T_LABELS}")
endfunction()
