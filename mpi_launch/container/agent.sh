#!/usr/bin/env bash
# The way into the container `cos2p` of another host, for cluster.sh, join.sh and mpirun (--agent, COS2P_LAUNCH_AGENT).
# agent.sh HOST TEXT... runs TEXT in a shell in that host's container; several words become one text, as with ssh.
# COS2P_CONTAINER names another container. ssh without passwords must reach HOST, and its user must be allowed to use docker.
set -euo pipefail

[[ $# -ge 2 ]] || { echo "agent.sh: a host and a command are needed, try: agent.sh nano-1 hostname" >&2 && exit 2; }
host=$1
shift
# Two shells read the text: that of ssh's login, which must find it in one piece, and the one in the container.
text=$*
text=${text//\'/\'\\\'\'}
exec ssh -o BatchMode=yes -o ConnectTimeout=10 "$host" "docker exec '${COS2P_CONTAINER:-cos2p}' bash -c '$text'"
