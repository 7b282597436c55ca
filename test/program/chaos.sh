# A minute of random faults, one seed for each policy; test/chaos/chaos.py does longer ones by hand.
source "$(dirname "$0")/lib.sh"
for policy in semi-async sync; do
  timeout 280 python3 "$SOURCE/test/chaos/chaos.py" --program "$COS2P_BINARY" --hostile-peer "$3" --directory $policy --policy $policy --steps 5 \
    --server-every 4 --seed 3 >$policy.txt 2>&1 || bad "$policy: $(tail -n 3 $policy.txt; tail -n 5 $policy/log.txt)"
  tail -n 1 $policy.txt
done
finish
