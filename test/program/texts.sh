# Texts, end to end: trained in one process and between ranks, evaluated, inspected, planned, resumed to the bit, and refused.
source "$(dirname "$0")/lib.sh"
C=$COS2P_BINARY
python3 - <<'PY'
import gzip, os, random
random.seed(1)
words = {1: "good great fine lovely warm".split(), 0: "bad awful poor dull cold".split()}
common = "the film a story and actors , . it is \u00e9clair".split()
def sentence(label):
    return " ".join(random.choice(words[label]) if random.random() < 0.7 else random.choice(common) for _ in range(random.randint(5, 20)))
os.makedirs("sst-2")
os.makedirs("news")
for name, count in (("train", 300), ("dev", 100)):
    with open(f"sst-2/{name}.tsv", "w", encoding="utf-8") as f:
        f.write("sentence\tlabel\n")
        for i in range(count):
            f.write(f"{sentence(i % 2)} \t{i % 2}\n")
for name, count in (("train", 200), ("test", 60)):
    with gzip.open(f"news/{name}.csv.gz", "wt", encoding="utf-8") as f:
        for i in range(count):
            f.write(f'"{i % 2 + 1}","a ""title""","{sentence(i % 2)}"\n')
with open("news/vocab.txt", "w", encoding="utf-8") as f:
    f.write("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "##s"] + words[0] + words[1] + common[:9]) + "\n")
PY
SMALL=(--model micro --dim 32 --blocks 3 --heads 2 --feed-forward 64 --batch-size 20 --budgets 1,0.7,0.6 --quiet)
SST=(--dataset glue --data-dir sst-2 --max-length 16 --vocabulary-size 120 "${SMALL[@]}")
TRAIN=("$C" train --transport in-process "${SST[@]}" --optimizer adamw --learning-rate 0.005 --partition iid)
# learnt, and the same to the bit after a resume, for which the vocabulary comes from the checkpoint
expect 0 "checkpoint:" "${TRAIN[@]}" --rounds 8 --output whole
expect 0 "checkpoint:" "${TRAIN[@]}" --rounds 4 --output halves
expect 0 "checkpoint:" "$C" train --resume halves --rounds 8 --quiet
"$C" evaluate whole/latest --json >evaluation.json 2>errors.txt || bad "evaluate failed: $(tail -3 errors.txt)"
[ "$(python3 -c "print($(json evaluation.json accuracy) > 0.8)")" = True ] || bad "texts were not learnt: $(head -3 evaluation.json)"
if command -v h5diff >/dev/null; then
  for group in /model /segments /state/text; do
    h5diff whole/latest halves/latest $group >diff.txt || bad "$group differs after the resume: $(head -3 diff.txt)"
  done
fi
# the checkpoint has the vocabulary: an evaluation needs no option, and gives the figures of the run
expect 0 "100 test samples of glue" "$C" evaluate whole/latest
expect 0 "texts of up to 16 word pieces out of" "$C" inspect whole/latest
expect 0 '"lower_case": true' "$C" inspect whole/latest --json
# CSV, compressed, with a vocabulary from a file; between ranks
CSV=(--dataset ag-news --data-dir news --vocabulary news/vocab.txt --cased --max-length 24 "${SMALL[@]}")
expect 0 "checkpoint:" bash "$LAUNCH" -n 4 -- train "${CSV[@]}" --rounds 2 --local-steps 3 --partition dirichlet --output ranks
expect 0 "out of 25 (cased)" "$C" inspect ranks/latest
expect 0 "checkpoint:" bash "$LAUNCH" -n 4 -- train --resume ranks --rounds 3
# plan
expect 0 '"vocabulary_size": 30522' "$C" plan --model base --text 128x30522 --classes 2 --memory-budget 1 --json
expect 0 "109[0-9]* parameters in the full model\|1[01][0-9]* parameters" "$C" plan --model bert-base --classes 2 --exits last
# refused: 3 data, 4 checkpoint
expect 4 "does not fit --dataset synthetic" "$C" evaluate whole/latest --dataset synthetic
printf 'a\nb\n' >bad.txt
expect 3 "no vocabulary of a BERT model (\[PAD\], \[UNK\], \[CLS\], \[SEP\]" "$C" train --transport in-process --dataset glue --data-dir sst-2 --vocabulary bad.txt "${SMALL[@]}" --output bad
LC_ALL=C sed -i '5s/.*/caf\xe9 \t1/' sst-2/train.tsv
expect 3 "train.tsv is not UTF-8 (line 5, byte 4" "${TRAIN[@]}" --output bad
LC_ALL=C sed -i '5s/.*/no label/' sst-2/train.tsv
expect 3 "train.tsv, line 5: a row with 1 fields (2 are expected)" "${TRAIN[@]}" --output bad
finish
