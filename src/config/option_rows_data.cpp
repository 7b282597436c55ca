#include "option_rows.hpp"

namespace cos2p::config {

void add_data(Table& t) {
  const auto synthetic = [](const RunOptions& o) { return o.dataset.kind == DatasetKind::synthetic; };
  t.group("Data", kTrain | kEvaluate);
  t.choice<DatasetKind>("dataset", AT(dataset.kind),
                        "the samples; evaluate: unless given, those of the checkpoint");
  t.group("Data", kTrain | kEvaluate | kJoin);
  only(
      t.text("data-dir", AT(dataset.data_dir), "DIR",
             "where the data set's official files lie (see datasets/README.md)"),
      "dataset", [=](const RunOptions& o) { return !synthetic(o); },
      "the synthetic images are made, not read");
  t.group("Data", kTrain | kEvaluate);
  only(
      t.flag("coarse-labels", AT(dataset.coarse_labels),
             "the 20 coarse labels of cifar-100 instead of the 100 fine ones"),
      "dataset", [](const RunOptions& o) { return o.dataset.kind == DatasetKind::cifar_100; },
      "only cifar-100 has coarse labels");
  only(t.whole("synthetic-test", AT(dataset.synthetic_test), 1, kMany, "test images of the synthetic set"),
       "dataset", synthetic, "only the synthetic set has a size to choose");
  only(t.seed("synthetic-seed", AT(dataset.seed), "which synthetic set is made; independent of --seed"),
       "dataset", synthetic, "only the synthetic set is made from a seed");
  t.whole("limit-test", AT(dataset.limit_test), 0, kMany,
          "keep N test samples, the first, or of a set sorted by class at equal distances; 0 = all");
  t.group("Data", kTrain);
  only(t.whole("synthetic-train", AT(dataset.synthetic_train), 1, kMany,
               "training images of the synthetic set"),
       "dataset", synthetic, "only the synthetic set has a size to choose");
  t.whole("limit-train", AT(dataset.limit_train), 0, kMany,
          "keep N training samples, as --limit-test; 0 = all");
  const auto images = [](const RunOptions& o) { return !holds_texts(o.dataset.kind); };
  only(t.whole("crop-padding", AT(augment.crop_padding), 0, 256,
               "random crop after zero padding by N pixels; 0 = none"),
       "dataset", images, "texts are not cropped");
  only(t.flag("flip", AT(augment.flip), "flip training images left to right at random"), "dataset", images,
       "texts are not flipped");
}

void add_partition(Table& t) {
  t.group("Partition of the data among the clients", kTrain);
  t.choice<PartitionKind>("partition", AT(partition.kind),
                          "iid: alike; dirichlet: unequal classes and sizes; shards: few classes each");
  only(
      t.real("dirichlet-alpha", AT(partition.dirichlet_alpha), 0, false, kAny,
             "concentration; the smaller, the less alike"),
      "partition", [](const RunOptions& o) { return o.partition.kind == PartitionKind::dirichlet; },
      "only the partition 'dirichlet' has a concentration");
  only(
      t.whole("classes-per-client", AT(partition.classes_per_client), 1, kMany,
              "classes that a client holds"),
      "partition", [](const RunOptions& o) { return o.partition.kind == PartitionKind::shards; },
      "only the partition 'shards' deals out classes");
  only(
      t.real("size-exponent", AT(partition.size_exponent), 0, true, 100,
             "clients' sizes follow a power law: a share of them that falls as x^-X is larger than x; the "
             "smaller, the more unequal; 0 = a class is divided evenly"),
      "partition", [](const RunOptions& o) { return o.partition.kind == PartitionKind::shards; },
      "only the partition 'shards' deals out classes");
  t.whole("minimum-size", AT(partition.minimum_size), 1, kMany, "samples that every client gets at least");
  t.seed("partition-seed", AT(partition.seed), "seed of the partition").default_text = "that of --seed";
}

}  // namespace cos2p::config
