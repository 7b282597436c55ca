#include "cos2p/plan/device_profile.hpp"
#include "cos2p/support/bytes.hpp"
#include "option_rows.hpp"

namespace cos2p::config {
void add_simulation(Table& t) {
  t.group("Simulated clock", kSimulate | kCompare);
  Values names;
  for (const DeviceProfile& profile : device_profiles()) names.push_back(profile.name);
  t.text("profile", AT(simulation.profile), "DEVICE",
         "whose speed and link a client has where its budget names no device; cpu is this machine, so that "
         "times differ from machine to machine")
      .set = [names](RunOptions& o, const Values& v) {
    const std::string text = resolve_profile_file(v.back());
    if (text == v.back() && text.find(':') == std::string::npos &&
        std::find(names.begin(), names.end(), text) == names.end())
      throw BadValue{list_choices(names) + did_you_mean(text, names)};
    o.simulation.profile = text;
  };
  const std::string expected = "at least one speed, for example 1,0.5,0.25";
  t.reals("speeds", AT(simulation.speeds), kAny, false, expected,
          "factor of its device's speed for each client, in turn")
      .default_text = "1";
  OptionSpec& link = t.add("link", "SIZE", "bytes per second of every client's link; 0 = that of its device");
  link.set = [](RunOptions& o, const Values& v) {
    try {
      o.simulation.link = static_cast<double>(parse_bytes(v.back(), "--link"));
    } catch (const Error&) {
      throw BadValue{"bytes per second, for example 12.5MB"};
    }
  };
  link.get = [](const RunOptions& o) { return format_real(o.simulation.link); };
  t.whole("clients-per-round", AT(simulation.clients_per_round), 0, kMany,
          "clients that take part at a time, drawn at random; 0 = all");
  t.real("straggler-probability", AT(simulation.straggler_probability), 0, true, 1,
         "that a local round computes --straggler-factor times as long");
  only(
      t.real("straggler-factor", AT(simulation.straggler_factor), 1, true, 1e6, "slow-down of a straggler"),
      "straggler-probability", [](const RunOptions& o) { return o.simulation.straggler_probability > 0; },
      "nobody straggles");
  t.real("dropout-probability", AT(simulation.dropout_probability), 0, true, 0.99,
         "that a local round is lost and its client away for a time");
  OptionSpec& time = t.real("dropout-time", AT(simulation.dropout_s), 0, true, 1e9,
                            "seconds after the end of a lost round at which its client is back");
  time.metavar = "SECONDS";
  only(
      time, "dropout-probability", [](const RunOptions& o) { return o.simulation.dropout_probability > 0; },
      "nobody drops out");
  t.group("Simulated clock", kRanks);
  t.reals("emulate-speeds", AT(emulate_speeds), kAny, true, expected,
          "sleep so that local rounds take as long as simulate --speeds says")
      .hidden = true;
}

}  // namespace cos2p::config
