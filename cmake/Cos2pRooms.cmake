# Flags that every target of the project shares.
add_library(cos2p_flags INTERFACE)
target_include_directories(cos2p_flags INTERFACE ${PROJECT_SOURCE_DIR}/include)
target_compile_options(cos2p_flags INTERFACE -Wall -Wextra -Wshadow -Wnon-virtual-dtor -Woverloaded-virtual)
if(COS2P_WARNINGS_AS_ERRORS)
  target_compile_options(cos2p_flags INTERFACE -Werror)
endif()
if(COS2P_SANITIZE)
  target_compile_options(cos2p_flags INTERFACE -fsanitize=${COS2P_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  target_link_options(cos2p_flags INTERFACE -fsanitize=${COS2P_SANITIZE})
  # With a sanitizer's instructions between, gcc takes std::regex's automaton for uninitialised (its bug 105562).
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    target_compile_options(cos2p_flags INTERFACE -Wno-maybe-uninitialized)
  endif()
endif()

if(COS2P_FUZZ)
  if(NOT CMAKE_CXX_COMPILER_ID MATCHES "Clang")
    message(FATAL_ERROR "COS2P_FUZZ needs clang (${CMAKE_CXX_COMPILER_ID} has no libFuzzer); use: cmake --preset fuzz")
  endif()
  target_compile_options(cos2p_flags INTERFACE -fsanitize=fuzzer-no-link)
endif()

# LibTorch's header costs 15 s to parse: it is compiled once, here, and reused by every room that says TORCH.
file(WRITE ${PROJECT_BINARY_DIR}/torch_pch.cpp "// Carries the precompiled torch/torch.h\n")
add_library(cos2p_torch_pch OBJECT ${PROJECT_BINARY_DIR}/torch_pch.cpp)
target_link_libraries(cos2p_torch_pch PUBLIC cos2p_flags cos2p_torch)
target_precompile_headers(cos2p_torch_pch PRIVATE <torch/torch.h>)
set_target_properties(cos2p_torch_pch PROPERTIES POSITION_INDEPENDENT_CODE ON)

# cos2p_use_torch(TARGET): links LibTorch and reuses the precompiled header.
function(cos2p_use_torch target)
  target_link_libraries(${target} PUBLIC cos2p_torch)
  # The header was compiled with -fPIC and is refused under any other setting, so programs use -fPIC as well, not CMake's -fPIE.
  set_target_properties(${target} PROPERTIES POSITION_INDEPENDENT_CODE OFF)
  target_compile_options(${target} PRIVATE -fPIC)
  target_precompile_headers(${target} REUSE_FROM cos2p_torch_pch)
endfunction()

# cos2p_add_room(NAME SOURCES a.cpp ... LINKS other rooms and libraries ... [TORCH])
# makes the library cos2p_NAME from src/NAME, with its public headers in include/cos2p/NAME.
function(cos2p_add_room name)
  cmake_parse_arguments(ROOM "TORCH" "" "SOURCES;LINKS" ${ARGN})
  add_library(cos2p_${name} STATIC ${ROOM_SOURCES})
  target_link_libraries(cos2p_${name} PUBLIC cos2p_flags ${ROOM_LINKS})
  set_target_properties(cos2p_${name} PROPERTIES POSITION_INDEPENDENT_CODE ON)
  if(ROOM_TORCH)
    cos2p_use_torch(cos2p_${name})
  endif()
endfunction()
