// checkpoint_write_sample DIRECTORY [--inspect|--json]: writes a checkpoint for programs that are not ours to
// read.
#include <cstdio>
#include <exception>

#include "checkpoint/sample.hpp"

int main(int argc, char** argv) {
  using namespace cos2p;
  if (argc < 2) {
    std::fprintf(stderr, "usage: checkpoint_write_sample DIRECTORY [--inspect|--json]\n");
    return 2;
  }
  try {
    const std::string path = write_checkpoint(argv[1], test::make_checkpoint(0));
    const Checkpoint checkpoint = read_checkpoint(path);
    const std::string what = argc > 2 ? argv[2] : "";
    const std::string text = what == "--inspect" ? inspect_text(checkpoint, path)
                             : what == "--json"  ? inspect_json(checkpoint, path)
                                                 : path + "\n";
    std::fputs(text.c_str(), stdout);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
  return 0;
}
