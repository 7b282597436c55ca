#include "mpi_help.hpp"

#include <dlfcn.h>

#include <cstdarg>
#include <cstdio>
#include <cstdlib>

#include "mpi_version.hpp"

namespace cos2p {
namespace {

// What libopen-pal 4 exports: the function that all of Open MPI calls with a text's file and name, and the
// one that renders it.
using ShowHelp = int (*)(const char* file, const char* topic, bool want_header, ...);
using RenderHelp = char* (*)(const char* file, const char* topic, bool want_header, va_list arguments);

RenderHelp render_help = nullptr;

// The signature is Open MPI's: that its last named parameter is promoted cannot be changed here.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wvarargs"
int show_help(const char* file, const char* topic, bool want_header, ...) {
  va_list arguments;
  va_start(arguments, want_header);
#pragma GCC diagnostic pop
  char* const text = render_help(file, topic, want_header, arguments);
  va_end(arguments);
  if (text != nullptr) {
    std::fputs(text, stderr);
  } else {
    std::fprintf(stderr, "Open MPI: %s (its text is missing, %s)\n", topic, file);
  }
  std::free(text);
  return 0;
}

}  // namespace

void print_mpi_help_here(const std::string& library_version) {
  if (open_mpi_major(library_version) != 4) return;
  auto* const called = static_cast<ShowHelp*>(dlsym(RTLD_DEFAULT, "opal_show_help"));
  render_help = reinterpret_cast<RenderHelp>(dlsym(RTLD_DEFAULT, "opal_show_help_vstring"));
  if (called != nullptr && render_help != nullptr) *called = show_help;
}

}  // namespace cos2p
