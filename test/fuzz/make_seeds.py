#!/usr/bin/env python3
"""Writes the seeds of the fuzz targets: test/fuzz/seeds/TARGET/made-NAME, and fault-NAME for what was repaired.

Inputs that the fuzzer found itself have the name found-NAME and are not touched.
"""
import gzip
import pathlib
import struct

SEEDS = pathlib.Path(__file__).resolve().parent / "seeds"


# What cos2p simulate writes down of a run: each option that has a meaning beside the others.
EVERY_OPTION = """balance = "shallow"
batch-size = 32
blocks = 1
budgets = ["1"]
checkpoint-every = 1
clients = 2
clients-per-round = 0
clip-norm = 1
compute-budgets = "none"
crop-padding = 0
dataset = "synthetic"
deadline = 30
depth-momentum = 0
device = "auto"
dim = 8
dirichlet-alpha = 0.5
discount = "polynomial"
discount-a = 0.5
distillation = "mutual"
distillation-ramp = 0
distillation-start = 0
distillation-temperature = 1
distillation-weight = 1
drop-too-small = false
dropout-probability = 0
evaluate-every = 1
evaluation-batch = 250
event-log = false
exit-loss = "sum"
exits = "all"
feature-hint = 0
feed-forward = 8
flip = false
frozen-blocks = 0
heads = 1
learning-rate = 0.05
limit-test = 0
limit-train = 0
link = 0
local-epochs = 1
local-steps = 0
logit-adjustment = 0.5
mask-steps = 10
masked-logits = false
merge = "values"
method = "co-s2p"
micro-batch = 8
min-trainers = 1
min-updates = 2
minimum-size = 10
model = "micro"
momentum = 0.9
normalize = "updates"
optimizer = "sgd"
output = "runs/x"
pace-correction = false
partition = "dirichlet"
partition-seed = 0
patch = "auto"
policy = "semi-async"
profile = "orin-nano"
push-dtype = "float32"
quiet = false
reselect-every = 5
resume = ""
rolling-windows = false
rounds = 1
scale-kept-units = true
schedule = "constant"
seed = 0
server-learning-rate = 1
server-momentum = 0.5
speeds = [1]
staleness-bound = 8
straggler-probability = 0
submodel = "fit"
synthetic-seed = 0
synthetic-test = 20
synthetic-train = 60
threads = 0
warmup-rounds = 0
weight-decay = 0
weight-mask = "none"
weighting = "uniform"
width-balance = "even"
width-exponent = 1.5
width-rule = "straight-through"
"""


def seed(target, name, data, kind="made"):
    directory = SEEDS / target
    directory.mkdir(parents=True, exist_ok=True)
    (directory / f"{kind}-{name}").write_bytes(data if isinstance(data, bytes) else data.encode())


def part(data):
    return struct.pack("<H", len(data)) + data


def idx_images(count, height, width):
    return struct.pack(">IIII", 0x803, count, height, width) + bytes(i % 251 for i in range(count * height * width))


def idx_labels(labels):
    return struct.pack(">II", 0x801, len(labels)) + bytes(labels)


def idx():
    images, labels = idx_images(2, 2, 2), idx_labels([3, 9])
    seed("idx", "plain", bytes([0]) + part(images) + labels)
    seed("idx", "compressed-here", bytes([0b0101]) + part(images) + labels)
    seed("idx", "compressed", bytes([0b1010]) + part(gzip.compress(images, mtime=0)) + gzip.compress(labels, mtime=0))
    two_members = gzip.compress(images[:9], mtime=0) + gzip.compress(images[9:], mtime=0)
    seed("idx", "two-members", bytes([0b0010]) + part(two_members) + labels)
    seed("idx", "same-test", bytes([0b110000]) + part(idx_images(3, 1, 5)) + idx_labels([0, 1, 2]))
    seed("idx", "no-labels", bytes([0b1100]) + part(images))


def cifar():
    seed("cifar", "made-10", bytes([32, 2, 1, 9, 0, 1, 4, 0, 1, 5, 0]))
    seed("cifar", "made-100", bytes([32 + 16, 2, 1, 9, 19, 99, 0, 1, 4, 44, 0]))
    seed("cifar", "coarse", bytes([32 + 16 + 64 + 5, 1, 7, 70, 0, 1, 4, 44, 0]))
    seed("cifar", "cut", bytes([32, 2, 1, 9, 0xff, 1, 4, 0, 1, 5, 64]))
    seed("cifar", "as-they-are", bytes([0]) + part(bytes(3073)) + part(b"") + part(bytes(100)))


def texts():
    rows = '1,"A ""quoted"" title","two\nlines"\r\n2,plain,ü\n'
    seed("csv", "plain", bytes([0]) + rows.encode())
    seed("csv", "header", bytes([4]) + b"Class Index,Title,Description\n" + rows.encode())
    seed("csv", "classes", bytes([16 + 32]) + b"3,c,d\n\xff1,a,b\n\xffone\ntwo\nthree\n")
    seed("csv", "mark", bytes([1 + 4]) + b"\xef\xbb\xbf1,a\n2,b")
    seed("csv", "compressed", bytes([2 + 8]) + gzip.compress(rows.encode(), mtime=0).replace(b"\xff", b"\xfe"))
    seed("glue", "sst-2", bytes([32]) + b"sentence\tlabel\nit works \t1\nit does not \t0\n")
    seed("glue", "cola", bytes([16]) + b"gj04\t1\t\tThey \"sang\".\ngj04\t0\t*\tSang they.\r\n\xffgj04\t1\t\tYes.\n")
    seed("glue", "compressed", bytes([1 + 4]) + b"label\tx\tsentence\n1\t\ta\n0\t\tb\n")
    words = "[PAD]\n[UNK]\n[CLS]\n[SEP]\nun\n##able\n##a\nü\n字\n.\n"
    seed("vocabulary", "uncased", bytes([4, 9]) + words.encode() + b"\xffUnable \xc3\x9cnable. \xe5\xad\x97x")
    seed("vocabulary", "cased", bytes([1, 40]) + words.encode().replace(b"\n", b"\r\n") + b"\xffunable unaaable e\xcc\x81")
    seed("vocabulary", "made", bytes([8 + 4 + 0xf0, 20]) + b"low lower lowest newer\xfflow low new newest wider")
    seed("vocabulary", "no-cls", bytes([0, 2]) + b"[PAD]\n[UNK]\n\xffa")


def settings():
    toml = """# a run
rounds = 20
learning-rate = 1e-2 # as tuned
budgets = ["1", '50%',
  "2GiB"]
dataset = "synthetic"
pin = "tab\\t and \\u00e9"
flag = true
big = 1_000
"""
    seed("toml", "page", toml)
    seed("toml", "section", "[run]\nrounds = 2\n")
    seed("toml", "twice", "a = 1\na = 2\n")
    train = """dataset = "synthetic"
rounds = 20
budgets = [1, 0.5, "orin-nano"]
optimizer = "adamw"
policy = "semi-async"
min-updates = 2
deadline = 30
partition = "dirichlet"
output = "runs/x"
"""
    for number, name in enumerate(["train", "plan", "inspect", "evaluate", "simulate", "compare", "doctor"]):
        seed("options", name, bytes([number]) + train.encode())
    seed("options", "everything", bytes([4]) + EVERY_OPTION.encode())
    seed("options", "compare-rows", bytes([5]) + b'methods = ["co-s2p:min-updates=4", "fedavg"]\nseeds = [0, 1]\nfor = "depthfl:learning-rate=0.1"\n')
    seed("options", "simulate-speeds", bytes([4]) + b'clients = 4\nspeeds = [1, 0.5]\nlink = "10MB"\nstraggler-probability = 0.5\ndropout-probability = 0.1\n')
    seed("options", "texts", bytes([0]) + b'dataset = "sst-2"\ndata-dir = "data"\nvocabulary-size = 100\nmax-length = 64\n')
    seed("options", "profile", bytes([0]) + b'budgets = "board:flops=1e9;memory=4e9;bandwidth=1e10;link=1e8"\n')
    seed("fleet", "boards", "# my boards\norin-nano   kitchen\n2GiB\told laptop\n0.25\n50% x\n1024\n")
    seed("fleet", "comments", "# nobody\n\n")
    seed("fleet", "other-file", "rounds = 20\n")
    profile = '{"name": "board", "description": "a board", "flops": 1e12, "memory_bytes": 8589934592, "bandwidth_bytes_per_s": 5e10, "link_bytes_per_s": 1.1e8}'
    seed("device_profile", "file", b"\0" + profile.encode())
    seed("device_profile", "word", b"\1board:flops=1e+12;memory=8589934592;bandwidth=5e+10;link=1.1e+08")
    seed("device_profile", "known", b"\1orin-nano")
    run = """{"method": "co-s2p", "seed": 1, "accuracy": 0.5, "loss": 1.5, "client_accuracy_mean": 0.5, "client_accuracy_min": 0.25,
"time_s": 10, "transferred_bytes": 1e6, "time_to_target_s": -1, "bytes_to_target": -1, "utilisation": 0.5, "n_star": 2,
"staleness_mean": 0.5, "exit_blocks": [0, 1], "exit_accuracy": [0.25, 0.5], "peak_memory_bytes": {"0.5": 1000},
"curve": [[1, 1.5, 1e5, 0.25, 2.5], [2, 3.5, 2e5, 0.5, 1.5]]}"""
    seed("compared_run", "run", run)
    key = '{"run": "0123456789abcdef", "hosts": ["node", "10.0.0.1"], "port": 4242, "secret": "%s"}' % ("0" * 64)
    seed("join_key", "key", key)


def hdf5():
    good_images = bytes([4, 3, 2, 2, 0, 1]) + bytes(range(32))
    good_labels = bytes([4, 3, 1, 0, 1, 2, 0])
    seed("hdf5_images", "same", bytes([1]) + good_images + good_labels)
    seed("hdf5_images", "two", bytes([0]) + good_images + good_labels + good_images[1:] + good_labels[1:])
    seed("hdf5_images", "any", bytes([2, 1, 0, 4, 2, 3, 3, 1, 2, 1]) + part(bytes(18)) + bytes([1, 2, 1, 2, 0]) + part(bytes(16)))
    for choice in range(5):
        seed("hdf5_bytes", f"whole-{choice}", bytes([choice]))
        seed("hdf5_bytes", f"changed-{choice}", bytes([choice, 8, 0, 0, 4, 2, 8, 8, 1]))
        seed("hdf5_bytes", f"cut-{choice}", bytes([choice, 0, 2, 0, 16]))
    for model in range(3):
        for policy in (0, 1, 4 + 8 + 16):
            seed("checkpoint", f"whole-{model}-{policy}", bytes([model, policy]))
    for what in range(10):
        seed("checkpoint", f"change-{what}", bytes([what % 3, what]) + b"".join(
            struct.pack("<H", path) + bytes([what, 1, 0, 3, 2, 1, 5, 5]) for path in (3 * what, 40 + what)))


def server():
    def update(client, round_, segment, units, value, piece=0, damaged=255, kind=1):
        return bytes([2, kind, client, round_, segment, units]) + struct.pack("<f", value) + bytes([0, 0, piece, damaged])

    def report(client, round_):
        return bytes([2, 0, client, round_, 0]) + bytes([0, 0, 0, 255])

    for model in range(3):
        for policy in (0, 1, 4 + 8 + 16):
            steps = b"".join(update(client, 0, segment, 0, 0.25) for client in range(3) for segment in range(8))
            seed("ring", f"round-{model}-{policy}", bytes([model, policy]) + steps + report(0, 0) + report(1, 0) + bytes([5, 7, 8]))
    seed("ring", "damaged", bytes([0, 0]) + update(0, 0, 1, 0, 1.0, 0, 1) + update(0, 0, 2, 0, 1.0) + bytes([6, 7, 3]))
    for kind, name in ((6, "bf16"), (7, "int8")):  # packed updates, whole and in pieces that cut values
        steps = b"".join(update(client, 0, segment, client, 0.25, 0 if segment % 2 else 197, kind=kind) for client in range(3) for segment in range(8))
        seed("ring", name, bytes([0, 0]) + steps + report(0, 0) + bytes([5, 7, 8]))
    seed("ring", "raw", bytes([0, 0, 0]) + struct.pack("<H", 256) + bytes([64]) + bytes(range(64)) + bytes([7, 8]))
    slot = struct.pack("<QQQqqQ", 1, 0, 1, 0, 104, 0) + struct.pack("<Iiii", 2, 0, 0, -1) + struct.pack("<Qdqq", 0, 1.0, 0, 104) + bytes(32)
    seed("ring", "slot", bytes([0, 0, 1, 0x3f]) + slot + bytes(128) + bytes([7, 8]))

    def record(kind, rest=b""):
        return bytes([0]) + (bytes([kind - 1])) + bytes([0, 0, 1]) + rest

    message = record(1, bytes([1, 0, 3, 1, 0]) + struct.pack("<f", 0.5))
    seed("event_log", "replayed", bytes([1]) + message + record(2) + record(3) + record(4) + record(5) + record(8))
    seed("event_log", "read-only", bytes([3]) + message + record(6) + record(7))
    packed = b"".join(record(1, bytes([segment, 0, 0, kind, 0, 0]) + struct.pack("<f", 0.5)) for segment, kind in ((1, 2), (2, 3)))
    seed("event_log", "packed", bytes([1]) + packed + record(2))
    history = record(10, bytes([1, 1])) + record(11, bytes([1]) + b"active".ljust(12, b"\0")) + record(12)
    seed("event_log", "history", bytes([1]) + history + message + record(2))
    seed("event_log", "file", bytes([0]) + struct.pack("<Q", 0x34676F6C76653263) + bytes(64))


def faults():
    """Inputs that stand for faults that were repaired; see docs/fuzzing.md."""
    def attribute(path, index, number, kind=0):
        return struct.pack("<HBB", path, 6, index) + bytes([kind]) + number + b"\0"

    checkpoint = lambda name, policy, changes: seed("checkpoint", name, bytes([0, policy]) + changes, "fault")
    reported = struct.pack("<HBBHB", 36, 4, 0, 6 * 132 + 4, 3) + bytes([0, 0, 0, 0x7F]) + b"\1"
    checkpoint("client-of-a-row", 1, reported)
    checkpoint("rounds-below-0", 0, attribute(23, 9, b"\xff"))
    checkpoint("most-rounds", 0, attribute(23, 9, struct.pack("<q", 2**31 - 1), 1))
    checkpoint("frozen-blocks", 0, attribute(23, 1, b"\5"))
    checkpoint("rolling", 0, attribute(23, 8, b"\xff"))
    checkpoint("round-of-an-update", 0, attribute(137, 2, struct.pack("<q", -(2**31)), 1))
    checkpoint("no-times-of-updates", 0, struct.pack("<HBBBBB", 134, 2, 5, 1, 0, 0))

    def update(client, round_, segment, units, value, changes=b"\0", piece=0):
        return bytes([2, 1, client, round_, segment, units]) + value + changes + bytes([0, piece, 255])

    not_a_number = struct.pack("<I", 0x7FC00000)
    seed("ring", "values-beside-pieces", bytes([0, 2]) + update(0, 0, 0, 0, not_a_number, piece=196), "fault")
    seed("ring", "values-across-pieces", bytes([0, 2]) + update(0, 0, 0, 0, not_a_number, piece=194), "fault")
    last_round = bytes([4, 8, 0xFF, 9, 0xFF, 10, 0xFF, 11, 0x7F])
    seed("ring", "last-round-reported", bytes([0, 0]) + bytes([2, 0, 2, 0, 0]) + last_round + bytes([0, 0, 255])
         + update(2, 1, 4, 0, struct.pack("<f", 1)), "fault")
    seed("ring", "last-round-updated", bytes([0, 2]) + update(0, 0, 0, 0, struct.pack("<f", 1), last_round), "fault")
    seed("vocabulary", "two-carriage-returns", bytes([0, 9]) + b"[PAD]\n[UNK]\n[CLS]\n[SEP]\na\r\r\n\xffa", "fault")
    seed("toml", "surrogate", 'output = "\\ud800"\n', "fault")
    seed("toml", "zero", 'output = "a\\u0000b"\n', "fault")
    board = '{"name": "board", "flops": %s, "memory_bytes": %s, "bandwidth_bytes_per_s": 5e10, "link_bytes_per_s": 1e8}'
    seed("device_profile", "memory", b"\0" + (board % ("1e12", "6e80")).encode(), "fault")
    seed("device_profile", "negative-memory", b"\0" + (board % ("1e12", "-6")).encode(), "fault")
    seed("device_profile", "infinite", b"\1board:flops=inf;memory=8589934592;bandwidth=5e+10;link=1.1e+08", "fault")
    seed("device_profile", "behind-the-end", b"\1board:flops=1e12;memory=8589934592;bandwidth=5e+10;link=1.1e+08GB", "fault")
    record = struct.pack("<BB", 4, 0) + b"\0" + struct.pack("<q", 1 << 40)
    seed("event_log", "worker", bytes([1]) + record + bytes([0, 1, 0, 0, 1, 0]) + struct.pack("<f", 1), "fault")


for make in (idx, cifar, texts, settings, hdf5, server, faults):
    make()
