// Device profiles: files of cos2p doctor --calibrate, and profiles written out in one word.
// Input: a byte (0: a file, else a word), then the profile.
#include "cos2p/plan/device_profile.hpp"

#include <cmath>

#include "fuzz/support.hpp"

using namespace cos2p;
using namespace cos2p::fuzz;

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const MemoryFile file;
  Input input(data, size);
  const bool word = input.byte() != 0;
  const Bytes bytes = input.rest();
  DeviceProfile profile;
  const bool read = read_or_refused({ExitCode::usage}, [&] {
    if (word) {
      profile = find_device_profile(text_of(bytes));
    } else {
      file.write(bytes);
      profile = read_device_profile(file.path());
    }
  });
  if (!read) return 0;
  for (const double value : {profile.flops, profile.bandwidth, profile.link}) {
    if (!(std::isfinite(value) && value > 0)) found("a profile with a speed that cannot be");
  }
  usable_memory(profile);
  // Options, checkpoints and other ranks hold it as a word.
  const DeviceProfile again = find_device_profile(profile_text(profile));
  if (again.name != profile.name || profile_text(again) != profile_text(profile))
    found("a profile is another one after it was written and read: " + profile_text(profile));
  return 0;
}
