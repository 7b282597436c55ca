# shellcheck shell=bash
# What the job scripts of this directory share: sourced by them on the first node of a job.
set -uo pipefail

say() { echo "$(date +%T) ${SLURM_JOB_NAME:-job} $SLURM_JOB_ID: $1"; }
refuse() {  # MESSAGE [EXIT CODE]
  say "$1" >&2
  exit "${2:-2}"
}

binary=${COS2P_BINARY:-$root/build/release/src/main/cos2p}
[[ -x $binary ]] || refuse "$binary is missing or not executable, build it with: cmake --preset release -DCOS2P_TESTS=OFF && cmake --build --preset release --target cos2p, or name another in COS2P_BINARY" 6
export COS2P_BINARY=$binary
# Without a limit by cgroups the program would see all cores of a host, also those of other jobs.
if [[ -n ${SLURM_CPUS_PER_TASK:-} ]]; then
  export COS2P_THREADS=${COS2P_THREADS:-$SLURM_CPUS_PER_TASK} SRUN_CPUS_PER_TASK=$SLURM_CPUS_PER_TASK
fi

# take_output ARGUMENTS...: sets `output` and, to what is left, `options`.
output=runs/slurm-$SLURM_JOB_ID
options=()
asked_rounds=""
take_output() {
  while [[ $# -gt 0 ]]; do
    case $1 in
      --output)
        [[ $# -ge 2 ]] || refuse "--output needs a directory"
        output=$2
        shift
        ;;
      --output=*) output=${1#*=} ;;
      *)
        if [[ $1 == --rounds ]]; then asked_rounds=${2:-}; fi
        if [[ $1 == --rounds=* ]]; then asked_rounds=${1#*=}; fi
        options+=("$1")
        ;;
    esac
    shift
  done
}

# The number of the newest whole checkpoint in directory $1; nothing where there is none.
checkpoint_round() {
  local name
  name=$(basename "$(readlink -e "$1/latest" 2>/dev/null)" .h5)
  [[ $name =~ ^checkpoint-0*([0-9]+)$ ]] && echo "${BASH_REMATCH[1]}"
}
# What the job was asked for, or what the run has been started with.
wanted_rounds() {
  if [[ -n $asked_rounds ]]; then echo "$asked_rounds"; else sed -n 's/^rounds = //p' "$1/options.toml" 2>/dev/null; fi
}
is_finished() {
  local reached wanted
  reached=$(checkpoint_round "$1") wanted=$(wanted_rounds "$1")
  [[ -n $reached && -n $wanted && $reached -ge $wanted ]]
}

# Slurm's signal before the time limit (#SBATCH --signal=B:USR1@SECONDS) ends the run with a checkpoint and queues the job again;
# SIGTERM (scancel --batch --signal=TERM, preemption) ends it with a checkpoint. Again: everything ends at once.
stopping=""
running=""
stop_signal=TERM
# shellcheck disable=SC2317  # called by trap
on_signal() {  # WHY
  stopping=$1
  say "$2"
  [[ -z $running ]] || kill -"$stop_signal" "$running" 2>/dev/null
}
trap 'on_signal limit "the time limit is near, ending with a checkpoint"' USR1
trap 'on_signal asked "asked to end, ending with a checkpoint"' TERM INT

# run COMMAND...: its exit code; a signal to this script interrupts only the waiting.
run() {
  "$@" &
  running=$!
  local status=0
  while :; do
    wait "$running" && status=0 || status=$?
    kill -0 "$running" 2>/dev/null || break
  done
  running=""
  return "$status"
}

# train_to_the_end OUTPUT STARTER...: a fresh start or the next part of a run; STARTER gets the options of `cos2p train` that differ.
train_to_the_end() {
  local output=$1 before after status=0
  shift
  if is_finished "$output"; then
    say "$output is finished (round $(checkpoint_round "$output") of $(wanted_rounds "$output")), nothing to do"
    exit 0
  fi
  before=$(checkpoint_round "$output")
  if [[ -n $before ]]; then
    say "$output goes on after round $before of $(wanted_rounds "$output") (start $((${SLURM_RESTART_COUNT:-0} + 1)) of this job)"
    run "$@" --resume "$output" || status=$?
  else
    say "$output begins"
    run "$@" --output "$output" || status=$?
  fi
  after=$(checkpoint_round "$output")
  if is_finished "$output"; then
    say "$output is finished (round $after of $(wanted_rounds "$output"))"
    exit "$status"
  fi
  # A limit too short for a single round would queue this job for ever.
  if [[ $stopping == limit && ${after:-0} -le ${before:-0} ]]; then
    refuse "$output has no new round in this start (time limit too short: data, start and a round must fit), give sbatch a larger --time" 1
  fi
  [[ $status -eq 0 ]] || refuse "$output ended with exit code $status after round ${after:-0}, the last checkpoint is intact; go on with: sbatch $root/slurm/resume.sbatch $output" "$status"
  if [[ $stopping != limit ]]; then
    say "$output stopped after round ${after:-0}; go on with: sbatch $root/slurm/resume.sbatch $output"
    exit 0
  fi
  say "$output stopped after round $after of $(wanted_rounds "$output"), queued again"
  scontrol requeue "$SLURM_JOB_ID" || refuse "scontrol requeue failed (see above); go on with: sbatch $root/slurm/resume.sbatch $output" 1
  exit 0
}
