# shellcheck shell=bash
# Sourced by local.sh and cluster.sh: runs a job under mpirun, passes signals to its server and ends with the server's exit code.
# The caller defines on_server TEXT: runs a shell command on the server's host.

job_signals=0
job_mpirun=""
job_name=""
job_files=""  # a directory of the caller's that goes with the job

# shellcheck disable=SC2317  # called by trap
job_on_signal() {
  job_signals=$((job_signals + 1))
  local server
  if ! server=$(on_server "cat '$COS2P_SERVER_PID_FILE' 2>/dev/null || true" 2>/dev/null); then
    if [[ $job_signals -eq 1 ]]; then
      job_signals=0
      echo "$job_name: the server's host cannot be reached now, nothing was done; try again" >&2
      return 0  # without a number: the status from before the signal, with which this script would end
    fi
    server=""
  fi
  if [[ $COS2P_TERMINAL == 1 ]]; then echo >&2; fi  # below the ^C and the progress bar
  if [[ $job_signals -eq 1 && -n $server ]]; then
    echo "$job_name: asking the server to end after this local round; once more ends everything at once" >&2
    on_server "kill -TERM $server" 2>/dev/null || true
  elif [[ -n $job_mpirun ]]; then
    if [[ -n $server ]]; then on_server "kill -KILL $server" 2>/dev/null || true; fi
    kill -TERM "$job_mpirun" 2>/dev/null || true
  fi
}

# run_job NAME COMMAND...: NAME stands in front of messages, COMMAND is mpirun with --enable-recovery. A worker that dies leaves the
# others running; mpirun then returns 0 whatever happened, so the server leaves its exit code, and its process id for signals, in
# files on its host. Does not return.
run_job() {
  job_name=$1
  shift
  # mpirun refuses root unless told twice; in a container everybody is root.
  if [[ $(id -u) -eq 0 ]]; then
    export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
  fi
  local state
  # shellcheck disable=SC2016  # the server's host has a TMPDIR of its own
  if ! state=$(on_server 'mktemp -d "${TMPDIR:-/tmp}/cos2p-launch.XXXXXX"'); then
    echo "$job_name: no directory can be made on the server's host (see above), set TMPDIR or make room there" >&2
    exit 6
  fi
  export COS2P_EXIT_CODE_FILE=$state/exit_code COS2P_SERVER_PID_FILE=$state/server_pid
  # mpirun gives its ranks a terminal of its own making: only this script knows whether a person looks on.
  if [[ -t 1 ]]; then export COS2P_TERMINAL=${COS2P_TERMINAL:-1}; else export COS2P_TERMINAL=${COS2P_TERMINAL:-0}; fi
  # Ranks end without MPI_Finalize then (it would wait for the dead), which PMIx remarks upon: its remarks go to descriptor 9.
  exec 9>/dev/null
  export PMIX_OUTPUT_STDERR_FD=9
  export COS2P_RECOVERY_ENABLED=1  # mpirun of Open MPI 5 does not tell its ranks
  printf '%s:' "$job_name" >&2
  printf ' %q' "$@" >&2
  printf '\n' >&2
  trap job_on_signal INT TERM
  trap 'rm -rf "$job_files"; on_server "rm -rf '"'$state'"'" >/dev/null 2>&1' EXIT

  # A session of its own: the terminal's Ctrl-C must reach the server alone, not mpirun, which would kill all ranks within a
  # second or two. If this script is killed, mpirun ends too.
  local guard=()
  setpriv --pdeathsig TERM true 2>/dev/null && guard=(setpriv --pdeathsig TERM)
  setsid "${guard[@]}" "$@" </dev/null &
  job_mpirun=$!

  # Workers end when the server tells them to, or when its heartbeat stands still. One that is stuck must not keep the job.
  (
    exec >/dev/null 2>&1
    on_server "until [ -r '$COS2P_SERVER_PID_FILE' ]; do [ -d '$state' ] || exit; sleep 1; done; while kill -0 \$(cat '$COS2P_SERVER_PID_FILE'); do sleep 1; done; sleep 15"
    # It waits for its daemons on hosts that cannot be reached, until it is told twice.
    kill -TERM "$job_mpirun" && sleep 2 && kill -TERM "$job_mpirun" && sleep 5 && kill -KILL "$job_mpirun"
  ) &
  local watcher=$!
  trap 'kill '"$watcher"' 2>/dev/null || true; rm -rf "$job_files"; on_server "rm -rf '"'$state'"'" >/dev/null 2>&1' EXIT

  local status=0
  while :; do
    wait "$job_mpirun" && status=0 || status=$?
    kill -0 "$job_mpirun" 2>/dev/null || break  # else a signal has interrupted wait
  done

  [[ $job_signals -ge 2 ]] && exit 130
  local code try
  for try in 1 2 3; do
    if code=$(on_server "cat '$COS2P_EXIT_CODE_FILE' 2>/dev/null || true" 2>/dev/null); then break; fi
    sleep "$try"
    code=unreachable
  done
  if [[ $code == unreachable ]]; then
    echo "$job_name: the job has ended, but its server's host cannot be reached to ask how; look into run.log there" >&2
    exit 6
  fi
  if [[ -n $code ]]; then exit "$code"; fi
  if [[ $status -eq 0 ]]; then
    echo "$job_name: the server ended without an exit code (killed, or out of memory); the last checkpoint is intact, go on with --resume" >&2
    status=1
  fi
  exit "$status"
}
