#include "cos2p/plan/device_profile.hpp"
#include "cos2p/support/bytes.hpp"
#include "option_rows.hpp"

namespace cos2p::config {
namespace {

std::vector<double> parse_speeds(const Values& values) {
  std::vector<double> speeds;
  for (const std::string& text : split_list(values)) speeds.push_back(parse_real(text, 0, kAny, false));
  if (speeds.empty()) throw BadValue{"at least one speed, for example 1,0.5,0.25"};
  return speeds;
}

std::string speeds_text(const std::vector<double>& speeds) {
  Values texts;
  for (const double speed : speeds) texts.push_back(format_real(speed));
  return toml_array(texts);
}

template <typename Access>
OptionSpec& speeds(Table& t, const std::string& name, Access at, const std::string& help) {
  OptionSpec& spec = t.add(name, "X,...", help);
  spec.list = true;
  spec.set = [at](RunOptions& o, const Values& v) { at(o) = parse_speeds(v); };
  spec.get = [at](const RunOptions& o) { return speeds_text(at(o)); };
  return spec;
}

}  // namespace

void add_simulation(Table& t) {
  t.group("Simulated clock", kSimulate | kCompare);
  Values names;
  for (const DeviceProfile& profile : device_profiles()) names.push_back(profile.name);
  t.text("profile", AT(simulation.profile), "DEVICE",
         "whose speed and link a client has where its budget names no device; cpu is this machine, so that "
         "times differ from machine to machine")
      .set = [names](RunOptions& o, const Values& v) {
    if (std::find(names.begin(), names.end(), v.back()) == names.end())
      throw BadValue{list_choices(names) + did_you_mean(v.back(), names)};
    o.simulation.profile = v.back();
  };
  speeds(t, "speeds", AT(simulation.speeds), "factor of its device's speed for each client, in turn")
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
  OptionSpec& emulate = speeds(t, "emulate-speeds", AT(emulate_speeds),
                               "sleep so that local rounds take as long as simulate --speeds says");
  emulate.hidden = true;
  emulate.set = [](RunOptions& o, const Values& v) {
    o.emulate_speeds = v == Values{"none"} ? std::vector<double>{} : parse_speeds(v);
  };
  emulate.get = [](const RunOptions& o) {
    return o.emulate_speeds.empty() ? toml_string("none") : speeds_text(o.emulate_speeds);
  };
}

}  // namespace cos2p::config
