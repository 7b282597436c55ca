# The job scripts on a real Slurm: the time limit, requeue, a node that is drained, scancel, a heterogeneous job, a job array, and their messages.
source "$(dirname "$0")/lib.sh"
if [ -z "${INSIDE_SLURM:-}" ]; then
  INSIDE_SLURM=1 exec bash "$SOURCE/test/harness/slurm_cluster.sh" "$PWD/cluster" bash "$0" "$@"
fi

state_of() { scontrol show job "$1" | sed -n 's/^ *JobState=\([A-Z_]*\).*/\1/p' | head -1; }
is_in() { [[ " $2 " == *" $(state_of "$1") "* ]]; }
says() { grep -qs -- "$2" "$1"; }
submit() { sbatch --parsable "$@" | cut -d';' -f1; }
ended="COMPLETED FAILED CANCELLED TIMEOUT"
slow=("${TINY[@]}" --policy sync --emulate-speeds 0.002 --evaluate-every 0)

# Server on one node, workers on the one with GPUs.
mixed=$(submit --ntasks=1 --output=mixed.txt : --ntasks=3 "$SOURCE/slurm/train_het.sbatch" "${TINY[@]}" --rounds 5 --output mixed)
wait_for 60 is_in "$mixed" "$ended" || bad "the heterogeneous job is $(state_of "$mixed"): $(tail -5 mixed.txt)"
says mixed.txt "mixed is finished (round 5 of 5)" || bad "the heterogeneous job said: $(tail -8 mixed.txt)"

# Ranks on both nodes: mpirun asks Slurm where. (The nodes are one machine, whose shared memory their ranks would fight for.)
both=$(OMPI_MCA_btl=self,tcp submit --nodes=2 --ntasks-per-node=2 --output=both.txt "$SOURCE/slurm/train.sbatch" "${TINY[@]}" --rounds 5 --output both)
wait_for 60 is_in "$both" "$ended" || bad "the job on two nodes is $(state_of "$both"): $(tail -5 both.txt)"
says both.txt "both is finished (round 5 of 5)" || bad "the job on two nodes said: $(tail -8 both.txt)"
scontrol show job "$both" | grep -q "NodeList=one,two" || bad "the job was not on both nodes: $(scontrol show job "$both" | grep NodeList)"

# More rounds than one time limit holds (20 to 100 s until the signal, as Slurm sees fit; 0.4 s each): the job ends with a checkpoint and
# queues itself again.
limited=$(submit --time=2 --signal=B:USR1@40 --output=limited.txt "$SOURCE/slurm/train.sbatch" "${slow[@]}" --rounds 330 --output limited)
limited_mixed=$(submit --time=2 --signal=B:USR1@40 --ntasks=1 --output=limited_mixed.txt : --time=2 --ntasks=2 "$SOURCE/slurm/train_het.sbatch" "${slow[@]}" --rounds 100000 \
  --output limited_mixed)
limited_array=$(submit --time=2 --signal=B:USR1@40 --array=0-1 --cpus-per-task=1 --output=limited_array-%a.txt "$SOURCE/slurm/compare.sbatch" "${TINY[@]}" --clients 3 \
  --rounds 100000 --methods co-s2p --seeds 4,7 --output limited_array)
sleep 4
# Meanwhile: asked to end, a job ends with a checkpoint and is not queued again.
asked=$(submit --output=asked.txt "$SOURCE/slurm/train.sbatch" "${slow[@]}" --rounds 100000 --output asked)
cancelled=$(submit --output=cancelled.txt "$SOURCE/slurm/train.sbatch" "${slow[@]}" --rounds 100000 --output=cancelled)
wait_for 30 says asked.txt "^round  *3/" || bad "the run to be asked did not start: $(cat asked.txt)"
scancel --batch --signal=TERM "$asked"
wait_for 20 is_in "$asked" "$ended" || bad "the run that was asked to end goes on: $(tail -5 asked.txt)"
is_in "$asked" COMPLETED || bad "asked to end, the job is $(state_of "$asked"): $(tail -5 asked.txt)"
says asked.txt "stopped after round" || bad "asked to end, it said: $(tail -5 asked.txt)"
# scancel: Slurm kills, the last checkpoint is whole.
wait_for 30 says cancelled.txt "^round  *3/" || bad "the run to be cancelled did not start: $(cat cancelled.txt)"
scancel "$cancelled"
wait_for 40 is_in "$cancelled" CANCELLED || bad "scancel left the job $(state_of "$cancelled")"
wait_for 20 bash -c '! pgrep -f "[o]utput cancelled" >/dev/null' || bad "scancel left processes behind"
expect 0 "segment" "$COS2P_BINARY" inspect cancelled/latest

# The run that was asked to end goes on to more rounds in a job of its own; once it is there, nothing is left to do.
reached=$(basename "$(readlink asked/latest)" .h5)
rounds=$((10#${reached#checkpoint-} + 3))
resumed=$(submit --output=resumed.txt "$SOURCE/slurm/resume.sbatch" asked --rounds $rounds)
wait_for 40 is_in "$resumed" "$ended"
says resumed.txt "asked is finished (round $rounds of $rounds)" || bad "resumed, it said: $(tail -5 resumed.txt)"
again=$(submit --output=again.txt "$SOURCE/slurm/resume.sbatch" asked)
wait_for 20 is_in "$again" "$ended"
says again.txt "nothing to do" && is_in "$again" COMPLETED || bad "finished work was started again: $(tail -5 again.txt)"

# Drained nodes take nothing new: the job waits, and goes on when they are back.
wait_for 90 says limited.txt "queued again" || bad "the time limit was not noticed: $(tail -5 limited.txt)"
for job in limited_mixed limited_array-0 limited_array-1; do
  wait_for 30 says $job.txt "queued again" || bad "$job did not notice its time limit: $(tail -5 $job.txt)"
done
# A requeued heterogeneous job goes on where it was, an array's task too; then they have shown it.
scontrol update JobId="$limited_mixed" StartTime=now
for task in 0 1; do scontrol update JobId="${limited_array}_$task" StartTime=now; done
wait_for 60 says limited_mixed.txt "limited_mixed goes on after round" || bad "the heterogeneous job did not start again ($(state_of "$limited_mixed")): $(tail -5 limited_mixed.txt)"
wait_for 30 says limited_mixed.txt "start 2 of this job" || bad "the heterogeneous job's second start said: $(tail -5 limited_mixed.txt)"
scancel "$limited_mixed" "$limited_array"
scontrol update NodeName=one,two State=drain Reason="tried by a test"
scontrol update JobId="$limited" StartTime=now TimeLimit=10
sleep 4
is_in "$limited" "PENDING" || bad "the job is $(state_of "$limited") though all nodes are drained"
scontrol update NodeName=one,two State=resume
wait_for 30 says limited.txt "limited goes on after round" || bad "the job did not start again: $(tail -5 limited.txt)"

array=$(submit --array=0-1 --cpus-per-task=1 --output=array-%a.txt "$SOURCE/slurm/compare.sbatch" "${TINY[@]}" --clients 3 --rounds 2 \
  --methods co-s2p,fedavg --seeds 4,7 --output compared)
wait_for 60 test -e compared/compare.csv || bad "the array wrote no tables: $(tail -n 5 array-*.txt)"
[ "$(cut -d, -f1,2 compared/compare.csv | sort | tr '\n' ' ')" = "co-s2p,4 co-s2p,7 fedavg,4 fedavg,7 method,seed " ] || bad "compare.csv: $(cat compared/compare.csv)"

refusal() {  # TEXT SBATCH ARGUMENTS...
  local text=$1 job
  shift
  job=$(submit --output=refusal.txt "$@")
  wait_for 20 is_in "$job" "$ended"
  says refusal.txt "$text" && is_in "$job" FAILED || bad "not refused with '$text' but $(state_of "$job"): $(cat refusal.txt)"
  rm -f refusal.txt
}
refusal "a server and at least one worker" --ntasks=1 "$SOURCE/slurm/train.sbatch" --rounds 1
refusal "has no checkpoint" "$SOURCE/slurm/resume.sbatch" nowhere
refusal "a task is a seed" --array=0 "$SOURCE/slurm/compare.sbatch" --seeds 0,1

wait_for 200 is_in "$limited" "$ended"
is_in "$limited" COMPLETED && says limited.txt "limited is finished (round 330 of 330)" || bad "the requeued job is $(state_of "$limited"): $(tail -5 limited.txt)"
expect 0 '"round": 330' "$COS2P_BINARY" inspect limited/latest --json
finish
