# shellcheck shell=bash
# Sourced by cluster.sh: asks the program, on the server's host, what each client of a command may use.
# shellcheck disable=SC2154  # the hosts, the options and the directory of what was found are cluster.sh's

option_of() {  # NAME: its value where it is given: on the command line, in the file of --config, in the environment
  local file=${config[1]:-} variable
  if says "$1"; then value_of "$1" && return; fi
  if says config; then file=$(value_of config); fi
  if [[ -r $file ]] && grep -qE "^ *$1 *=" "$file"; then
    sed -nE "s/^ *$1 *= *[\"']?([^\"'#]*[^\"'# ]).*/\\1/p" "$file"
  else
    variable=COS2P_$(tr a-z- A-Z_ <<<"$1")
    echo "${!variable:-}"
  fi
}

# ask_plan COMMAND...: leaves the plan, or what was said in its place, and the line itself in $found/plan.json, plan.err and plan.asked; in
# plan.note, where that is so, why nobody knows yet what budgets that are shares of the model come to.
ask_plan() {
  local asked=("$program") known word name keep=false replaced=("${budgets[@]}") i seats
  if [[ ! -s $found/plan.help ]]; then return; fi  # that host is not ready, which its row says
  if [[ ${1:-} == train ]] && says resume; then
    # Its clients have the budgets that the checkpoint has.
    asked+=(inspect "$(value_of resume)" --json)
  else
    asked+=(plan --json "${config[@]}")
    if [[ ${1:-} == train ]]; then
      # Most options of train are none of plan's.
      known=" $(grep -oE '^  --[a-z-]+(, --[a-z-]+)*' "$found/plan.help" | tr -s ', \n' ' ') "
      for word in "${given[@]}" "${@:2}"; do
        if [[ $word == --* ]]; then
          name=${word%%=*} keep=false
          if [[ $known == *" $name "* || $known == *" ${name/#--no-/--} "* ]]; then keep=true; fi
        fi
        if $keep; then asked+=("$word"); fi
      done
      case $(option_of dataset) in
        "" | synthetic | fashion-mnist | mnist) ;;
        cifar-10) asked+=(--image 32x32x3 --classes 10) ;;
        cifar-100) asked+=(--image 32x32x3 --classes 100) ;;
        *)
          if [[ -z $(option_of image)$(option_of text) ]]; then
            echo "may use ?: shares of a model that is known when the data have been read (--dataset $(option_of dataset)); they were not compared with the memory
    -> write image = \"HxWxC\" or text = \"LxV\" (longest text, vocabulary), and classes, into the file of --config: train skips them" >"$found/plan.note"
          fi
          ;;
      esac
    else
      # The model is not known: a share counts as the whole here, so that whether a part of a model fits does not matter.
      for i in "${!replaced[@]}"; do if [[ ${replaced[i]} =~ ^[0-9.]+%?$ ]]; then replaced[i]=1; fi; done
      if [[ -n $named || ${#config[@]} -eq 0 ]]; then asked+=(--budgets "$(IFS=,; echo "${replaced[*]}")"); fi
      echo "may use ?: shares of a model that no command names yet; they were not compared with the memory
    -> give the command that will run: cluster.sh --check ... -- train OPTIONS" >"$found/plan.note"
    fi
    # Where nobody counts clients, train has one for each worker; plan would have one for each budget.
    if [[ -z $(option_of fleet) && $(option_of clients) =~ ^0*$ ]]; then
      seats=$(option_of open-seats)
      [[ $seats =~ ^[1-9][0-9]{0,5}$ ]] || seats=0
      asked+=(--clients $((${#budgets[@]} + seats)))
    fi
  fi
  printf '%q ' "${asked[@]}" >"$found/plan.asked"
  # mpirun starts the ranks in this directory.
  ask "${hosts[0]}" "cd $(printf %q "$PWD") 2>/dev/null; $(<"$found/plan.asked")" >"$found/plan.json" 2>"$found/plan.err" || true
}
