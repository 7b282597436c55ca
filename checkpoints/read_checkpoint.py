import sys
import h5py
with h5py.File(sys.argv[1], "r") as f:
    print(f["meta"].attrs["run_id"].decode(), "round", f["state"].attrs["round"])
    qkv = f["model/block_00/attention/qkv.weight"]
    print(qkv.name, qkv.shape, [axis.decode() for axis in qkv.attrs["axes"]], "mean", qkv[:].mean())
    for s in f["segments"][:]:
        print(s["name"].decode(), "version", s["version"], "trainers", s["trainers"])
    for row in f["history/evaluations"][-3:]:
        print("round", row["round"], "exit after block", row["block"], "accuracy", row["accuracy"])
