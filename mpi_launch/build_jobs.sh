#!/usr/bin/env bash
# Prints how many compilers to run at once: one a core, but each has 2 GB (LibTorch's headers are large).
set -euo pipefail

cores=$(nproc)
kilobytes=$(awk '$1 == "MemAvailable:" {print $2}' /proc/meminfo 2>/dev/null || true)
jobs=$((${kilobytes:-2000000} / 2000000))
if ((jobs > cores)); then jobs=$cores; fi
if ((jobs < 1)); then jobs=1; fi
echo "$jobs"
