#include "cos2p/model/segment_table.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <numeric>
#include <utility>

#include "cos2p/support/error.hpp"

namespace cos2p {
namespace {

/// Collects the tensors of one segment and lays them out one after another.
class SegmentBuilder {
 public:
  SegmentBuilder(int id, SegmentKind kind, int block, std::string name, std::int64_t units) {
    segment_.id = SegmentId(id);
    segment_.kind = kind;
    segment_.block = block;
    segment_.name = std::move(name);
    segment_.units = units;
  }
  SegmentBuilder& shared(const char* name, std::vector<std::int64_t> shape, std::vector<std::string> axes) {
    return add(name, std::move(shape), std::move(axes), false);
  }
  SegmentBuilder& per_unit(const char* name, std::vector<std::int64_t> shape, std::vector<std::string> axes) {
    return add(name, std::move(shape), std::move(axes), true);
  }
  SegmentBuilder& norm(std::int64_t dim) {
    return shared("norm.weight", {dim}, {"dim"}).shared("norm.bias", {dim}, {"dim"});
  }
  Segment take() { return std::move(segment_); }

 private:
  SegmentBuilder& add(const char* name, std::vector<std::int64_t> shape, std::vector<std::string> axes,
                      bool unit) {
    TensorSpec tensor;
    tensor.name = name;
    tensor.shape = std::move(shape);
    tensor.axes = std::move(axes);
    tensor.per_unit = unit;
    tensor.offset = segment_.numel;
    segment_.numel += tensor.numel();
    if (unit) segment_.numel_per_unit += tensor.row();
    segment_.tensors.push_back(std::move(tensor));
    return *this;
  }
  Segment segment_;
};

}  // namespace

std::string to_string(SegmentKind kind) {
  switch (kind) {
    case SegmentKind::embedding:
      return "embedding";
    case SegmentKind::attention:
      return "attention";
    case SegmentKind::feed_forward:
      return "feed_forward";
    case SegmentKind::exit_head:
      return "exit_head";
  }
  return "unknown";
}

std::int64_t TensorSpec::numel() const {
  return std::accumulate(shape.begin(), shape.end(), std::int64_t{1}, std::multiplies<>());
}

std::int64_t TensorSpec::row() const {
  COS2P_ASSERT(per_unit);
  return numel() / shape.front();
}

SegmentTable::SegmentTable(const ModelOptions& options) : options_(options) {
  COS2P_ASSERT(!options.exits.empty());
  const std::int64_t D = options.dim, H = options.heads, d = options.head_dim(), F = options.feed_forward;
  const std::int64_t P = std::int64_t{options.channels} * options.patch * options.patch;
  const std::int64_t V = options.vocabulary;
  const std::int64_t T = options.tokens(), K = options.classes;
  const auto next = [this] { return static_cast<int>(segments_.size()); };
  if (options.linear()) {
    segments_.push_back(SegmentBuilder(0, SegmentKind::exit_head, 0, "linear", 0)
                            .shared("weight", {K, options.image_values()}, {"class", "value"})
                            .shared("bias", {K}, {"class"})
                            .take());
    attention_of_block_ = feed_forward_of_block_ = {-1};
    exit_of_block_ = {0};
    return;
  }
  SegmentBuilder embedding(next(), SegmentKind::embedding, -1, "embedding", 0);
  if (options.reads_texts()) {
    embedding.shared("token", {V, D}, {"piece", "dim"}).shared("position", {T, D}, {"token", "dim"}).norm(D);
  } else {
    embedding.shared("patch.weight", {D, P}, {"dim", "patch_value"})
        .shared("patch.bias", {D}, {"dim"})
        .shared("class_token", {D}, {"dim"})
        .shared("position", {T, D}, {"token", "dim"});
  }
  segments_.push_back(embedding.take());
  for (int block = 0; block < options.blocks; ++block) {
    const auto name = [block](const char* part) { return fmt::format("block_{:02}/{}", block, part); };
    attention_of_block_.push_back(next());
    segments_.push_back(SegmentBuilder(next(), SegmentKind::attention, block, name("attention"), H)
                            .norm(D)
                            .per_unit("qkv.weight", {H, 3, d, D}, {"head", "qkv", "head_dim", "dim"})
                            .per_unit("qkv.bias", {H, 3, d}, {"head", "qkv", "head_dim"})
                            .per_unit("out.weight", {H, d, D}, {"head", "head_dim", "dim"})
                            .shared("out.bias", {D}, {"dim"})
                            .take());
    feed_forward_of_block_.push_back(next());
    segments_.push_back(SegmentBuilder(next(), SegmentKind::feed_forward, block, name("feed_forward"), F)
                            .norm(D)
                            .per_unit("fc1.weight", {F, D}, {"neuron", "dim"})
                            .per_unit("fc1.bias", {F}, {"neuron"})
                            .per_unit("fc2.weight", {F, D}, {"neuron", "dim"})
                            .shared("fc2.bias", {D}, {"dim"})
                            .take());
    const bool exit = std::binary_search(options.exits.begin(), options.exits.end(), block);
    exit_of_block_.push_back(exit ? next() : -1);
    if (exit) {
      segments_.push_back(SegmentBuilder(next(), SegmentKind::exit_head, block, name("exit_head"), 0)
                              .norm(D)
                              .shared("linear.weight", {K, D}, {"class", "dim"})
                              .shared("linear.bias", {K}, {"class"})
                              .take());
    }
  }
}

const Segment& SegmentTable::operator[](SegmentId id) const {
  COS2P_ASSERT(id.value() >= 0 && id.value() < size());
  return segments_[static_cast<std::size_t>(id.value())];
}

const Segment* SegmentTable::find(const std::string& name) const {
  const auto found = std::find_if(begin(), end(), [&name](const Segment& s) { return s.name == name; });
  return found == end() ? nullptr : &*found;
}

SegmentId SegmentTable::attention(int block) const {
  return SegmentId(attention_of_block_.at(static_cast<std::size_t>(block)));
}
SegmentId SegmentTable::feed_forward(int block) const {
  return SegmentId(feed_forward_of_block_.at(static_cast<std::size_t>(block)));
}
SegmentId SegmentTable::exit_head(int block) const {
  return SegmentId(exit_of_block_.at(static_cast<std::size_t>(block)));
}

std::int64_t SegmentTable::parameters() const {
  return std::accumulate(begin(), end(), std::int64_t{0},
                         [](std::int64_t n, const Segment& s) { return n + s.numel; });
}

std::int64_t SegmentTable::largest_segment() const {
  return std::max_element(begin(), end(),
                          [](const Segment& a, const Segment& b) { return a.numel < b.numel; })
      ->numel;
}

}  // namespace cos2p
