#include "option_rows.hpp"

#include <algorithm>

#include "cos2p/method/method.hpp"

namespace cos2p::config {

namespace {

void from_model(OptionSpec& spec) {
  spec.yields_to = "model";
  spec.default_text = "that of --model";
}

void set_exits(RunOptions& o, const Values& values) {
  const Values texts = split_list(values);
  o.model.exits.clear();
  if (texts == Values{"all"}) return;
  if (texts == Values{"last"}) {
    o.model.exits.push_back(o.model.blocks - 1);
    return;
  }
  try {
    for (const std::string& text : texts)
      o.model.exits.push_back(static_cast<int>(parse_whole(text, 0, o.model.blocks - 1)));
  } catch (const BadValue&) {
    o.model.exits.clear();
  }
  if (o.model.exits.empty()) {
    throw BadValue{fmt::format("'all', 'last' or block numbers from 0 to {}", o.model.blocks - 1)};
  }
  std::sort(o.model.exits.begin(), o.model.exits.end());
  o.model.exits.erase(std::unique(o.model.exits.begin(), o.model.exits.end()), o.model.exits.end());
}

std::string get_exits(const RunOptions& o) {
  if (o.model.exits.empty()) return toml_string("all");
  Values blocks;
  for (const int block : o.model.exits) blocks.push_back(std::to_string(block));
  return toml_array(blocks);
}

void set_image(RunOptions& o, const Values& values) {
  const std::string& text = values.back();
  const std::size_t first = text.find('x'),
                    second = first == std::string::npos ? first : text.find('x', first + 1);
  try {
    if (second == std::string::npos) throw BadValue{};
    o.model.image_height = static_cast<int>(parse_whole(text.substr(0, first), 1, 65536));
    o.model.image_width = static_cast<int>(parse_whole(text.substr(first + 1, second - first - 1), 1, 65536));
    o.model.channels = static_cast<int>(parse_whole(text.substr(second + 1), 1, 65536));
  } catch (const BadValue&) {
    throw BadValue{"height, width and channels, for example 32x32x3"};
  }
}

}  // namespace

void add_model(Table& t) {
  t.group("Model", kTrain | kPlan);
  OptionSpec& model =
      t.text("model", AT(model_name), "micro|tiny|small|base|bert-base|linear",
             "dim 64, 192, 384 or 768 with 6, 6, 12 or 12 blocks; bert-base: base for texts of up to "
             "512 word pieces out of 30,522; linear: no Transformer but logistic regression on the pixels");
  model.set = [](RunOptions& o, const Values& v) {
    static const Values kNames{"micro", "tiny", "small", "base", "bert-base", "linear"};
    if (std::find(kNames.begin(), kNames.end(), v.back()) == kNames.end()) {
      throw BadValue{list_choices(kNames) + did_you_mean(v.back(), kNames)};
    }
    const ModelOptions preset = model_preset(v.back());
    o.model_name = v.back();
    o.model.dim = preset.dim;
    o.model.blocks = preset.blocks;
    o.model.heads = preset.heads;
    o.model.feed_forward = preset.feed_forward;
    if (!preset.reads_texts()) return;
    o.model.max_length = preset.max_length;
    o.model.vocabulary = o.text.vocabulary_size = preset.vocabulary;
  };
  from_model(t.whole("dim", AT(model.dim), 1, 65536, "width of the residual stream"));
  from_model(t.whole("blocks", AT(model.blocks), 1, 1024, "depth"));
  from_model(t.whole("heads", AT(model.heads), 1, 65536, "attention heads of a block; must divide dim"));
  from_model(
      t.whole("feed-forward", AT(model.feed_forward), 1, 1 << 20, "neurons of a block's feed-forward part"));
  OptionSpec& patch =
      t.add("patch", "N|auto", "side of a square patch in pixels; auto: from the image's size");
  patch.set = [](RunOptions& o, const Values& v) {
    o.patch_given = v.back() != "auto";
    if (o.patch_given) o.model.patch = static_cast<int>(parse_whole(v.back(), 1, 65536));
  };
  only(
      patch, "dataset", [](const RunOptions& o) { return !holds_texts(o.dataset.kind); },
      "texts have no patches");
  patch.get = [](const RunOptions& o) {
    return o.patch_given ? std::to_string(o.model.patch) : toml_string("auto");
  };
  OptionSpec& exits = t.add("exits", "all|last|N,...",
                            "blocks (from 0) after which an exit head stands; the last is always one");
  exits.list = true;
  exits.set = set_exits;
  exits.get = get_exits;
  t.group("Model", kPlan);
  OptionSpec& image = t.add("image", "HxWxC", "image height and width in pixels, and channels");
  image.exclusive_with = "text";
  image.set = set_image;
  image.get = [](const RunOptions& o) {
    return toml_string(fmt::format("{}x{}x{}", o.model.image_height, o.model.image_width, o.model.channels));
  };
  t.whole("classes", AT(model.classes), 2, 1 << 20, "classes to tell apart");
}

void object_beside_linear(Table& t) {
  const auto object = [&t](const std::string& name, auto has_meaning, const std::string& reason) {
    const auto found = std::find_if(t.specs.begin(), t.specs.end(),
                                    [&](const OptionSpec& spec) { return spec.name == name; });
    COS2P_ASSERT(found != t.specs.end());
    only(*found, "model", has_meaning, reason);
  };
  // By its name: --dim 32 beside it has made the model another one already.
  const auto has_blocks = [](const RunOptions& o) { return o.model_name != "linear"; };
  for (const char* name : {"dim", "blocks", "heads", "feed-forward", "patch", "exits", "balance",
                           "width-balance", "rolling-windows", "frozen-blocks", "compute-budgets"})
    object(name, has_blocks, "a linear model has no blocks");
  for (const char* name : {"width-rule", "reselect-every", "scale-kept-units", "mask-steps"})
    object(name, has_blocks, "a linear model has no units to choose among");
  for (const char* name : {"exit-loss", "distillation", "distillation-weight", "distillation-temperature",
                           "distillation-start", "distillation-ramp", "feature-hint"})
    object(name, has_blocks, "a linear model has one exit");
  object(
      "micro-batch", [has_blocks](const RunOptions& o) { return has_blocks(o) || o.local.micro_batch == 0; },
      "a linear model keeps no activations");
  object(
      "method",
      [has_blocks](const RunOptions& o) {
        const auto& fixed = find_method(o.method).fixed;
        return has_blocks(o) || std::none_of(fixed.begin(), fixed.end(), [](const Method::Setting& s) {
                 return s.option == "distillation" && s.value != "none";
               });
      },
      "its exits teach each other, and a linear model has one");
  object(
      "device", [has_blocks](const RunOptions& o) { return has_blocks(o) || o.device.rfind("cuda", 0) != 0; },
      "the CPU trains a linear model");
}

}  // namespace cos2p::config
