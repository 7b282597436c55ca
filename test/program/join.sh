# Workers that join a run: who may, what they are given, how they leave; peers that send what no honest one would.
source "$(dirname "$0")/lib.sh"
hostile=$3
more_rounds() { wait_for 60 rounds "$1" $(($(wc -l <"$1/metrics.csv") + $2)) || bad "$1: the run does not go on: $(tail -5 "$1.txt")"; }
start() { local ranks=$1; shift; bash "$LAUNCH" -n "$ranks" -- train "${TINY[@]}" --accept-joins --event-log --rounds 100000 --output "$@" >"$1.txt" 2>&1 & launcher=$!; }
stop() { kill -TERM $launcher; wait $launcher; local code=$?; [ $code -eq 0 ] || bad "$1: the run ended with $code: $(tail -5 "$1.txt")"; }
delivered() { awk -F, -v c="$2" '$2 == c' "$1/clients.csv" | wc -l; }

for policy in sync semi-async; do
  # Two workers and three clients: the last seat is open.
  start 3 $policy --policy $policy --open-seats 1
  wait_for 60 rounds $policy 3 || bad "$policy: the run did not start: $(tail -5 $policy.txt)"
  [ "$(stat -c %a $policy/join.json)" = 600 ] || bad "$policy: the key has mode $(stat -c %a $policy/join.json)"
  [ "$(delivered $policy 2)" -eq 0 ] || bad "$policy: somebody executes the client of the open seat"
  "$COS2P_BINARY" join $policy >third.txt 2>&1 &
  third=$!
  wait_for 60 grep -q "worker 3 executes client 2 from its local round 0 on" $policy.txt || bad "$policy: the newcomer gets no client: $(tail -n 5 $policy.txt third.txt)"
  more() { [ "$(delivered $policy 2)" -gt 2 ]; }
  wait_for 60 more || bad "$policy: the newcomer delivers nothing: $(tail -n 5 $policy.txt third.txt)"
  # A second newcomer finds no client without a worker, and stands by until a rank of the job is killed.
  "$COS2P_BINARY" join $policy/join.json >fourth.txt 2>&1 &
  fourth=$!
  wait_for 60 grep -q "worker 4 on .* has joined" $policy.txt || bad "$policy: no second newcomer: $(tail -5 fourth.txt)"
  more_rounds $policy 3
  kill -KILL "$(worker $policy 1)"
  wait_for 60 grep -q "worker 4 executes client 0" $policy.txt || bad "$policy: the client of the killed worker stays without one: $(tail -5 $policy.txt)"
  before=$(delivered $policy 0)
  more() { [ "$(delivered $policy 0)" -gt $((before + 2)) ]; }
  wait_for 60 more || bad "$policy: client 0 delivers nothing after its worker was killed: $(tail -5 $policy.txt)"
  # SIGTERM: a newcomer and a rank of the job leave in order, with exit code 0.
  kill -TERM $third
  wait $third
  code=$?
  [ $code -eq 0 ] && grep -q "left the run on request" third.txt || bad "$policy: SIGTERM ended the newcomer with $code: $(tail -3 third.txt)"
  kill -TERM "$(worker $policy 2)"
  wait_for 60 grep -q "worker 2 left" $policy.txt || bad "$policy: SIGTERM did not make worker 2 leave: $(tail -5 $policy.txt)"
  more_rounds $policy 3
  stop $policy
  wait $fourth
  code=$?
  [ $code -eq 0 ] && grep -q "the run has ended" fourth.txt || bad "$policy: the end of the run ended the newcomer with $code: $(tail -3 fourth.txt)"
  case $(states $policy 3) in joining*active*left) ;; *) bad "$policy: /history/members has '$(states $policy 3)' of worker 3" ;; esac
  case $(states $policy 1) in *gone) ;; *) bad "$policy: /history/members has '$(states $policy 1)' of worker 1" ;; esac
  expect 0 "the newest checkpoint holds the same" "$COS2P_BINARY" replay $policy
done

# No rank but the server: everybody joins. The server is killed and resumed, and its worker finds it again.
start 1 alone --open-seats 1 --clients 1
wait_for 60 test -f alone/join.json || bad "alone: no key: $(tail -5 alone.txt)"
"$COS2P_BINARY" join alone --retry-for 120 >alone_worker.txt 2>&1 &
joined=$!
wait_for 60 rounds alone 5 || bad "alone: the run did not start: $(tail -n 5 alone.txt alone_worker.txt)"
kill -KILL "$(worker alone 0)"
wait $launcher
wait_for 30 grep -q "trying again" alone_worker.txt || bad "alone: the worker did not notice: $(tail -5 alone_worker.txt)"
bash "$LAUNCH" -n 1 -- train --resume alone >>alone.txt 2>&1 &
launcher=$!
wait_for 60 grep -q "worker 1 executes client 0 from its local round [1-9]" alone.txt || bad "alone: the worker did not find the resumed server: $(tail -n 5 alone.txt alone_worker.txt)"
more_rounds alone 5
stop alone
wait $joined || bad "alone: the worker ended with $?: $(tail -3 alone_worker.txt)"
expect 0 "part 2: .* the same bits" "$COS2P_BINARY" replay alone

# Who cannot reach the server goes on trying within its limit, then ends with 5.
expect 5 "nobody answers at" "$COS2P_BINARY" join alone --retry-for 2
cp alone/join.json open.json && chmod 644 open.json
expect 2 "may be read by others" "$COS2P_BINARY" join open.json
expect 2 "FILE is missing" "$COS2P_BINARY" join
expect 2 "cannot be read" "$COS2P_BINARY" join nowhere
expect 2 "has no meaning" "$COS2P_BINARY" train --open-seats 1
expect 4 "holds no event log" "$COS2P_BINARY" replay .

# Peers that send what cannot be used are put out; the others' rounds do not change.
start 3 hostile --open-seats 1 --bad-messages 20
wait_for 60 rounds hostile 3 || bad "hostile: the run did not start: $(tail -5 hostile.txt)"
sed 's/"secret": "......../"secret": "00000000/' hostile/join.json >forged.json && chmod 600 forged.json
expect 6 "its secret is not this run's" "$COS2P_BINARY" join forged.json
# Somebody who speaks no language that is known here, and somebody who says nothing.
port=$(json hostile/join.json port)
(exec 3<>"/dev/tcp/127.0.0.1/$port" && head -c 4096 /dev/urandom >&3) 2>/dev/null
(exec 3<>"/dev/tcp/127.0.0.1/$port" && sleep 12) 2>/dev/null &
for kind in nan huge scale size type forged segment replay; do
  expect 0 "put out" "$hostile" hostile $kind 100
  more_rounds hostile 2
done
[ "$(grep -c "put out: .* messages that could not be used" hostile.txt)" -eq 8 ] || bad "hostile: $(grep -c "put out" hostile.txt) of 8 peers were put out: $(grep "put out" hostile.txt)"
grep -q "is not one of its own" hostile.txt || bad "hostile: no word about forged messages"
stop hostile
expect 0 "the newest checkpoint holds the same" "$COS2P_BINARY" replay hostile

# A damaged log is good up to the damage; a log of something else is found out.
cp -r hostile damaged
size=$(stat -c %s damaged/events/part-0001.log)
printf '\377' | dd of=damaged/events/part-0001.log bs=1 seek=$((size / 2)) conv=notrunc status=none
expect 0 "were not read" "$COS2P_BINARY" replay damaged
cp alone/events/part-0001.h5 damaged/events/part-0001.h5
expect 4 "NOT the same\|names client\|no meaning\|otherwise" "$COS2P_BINARY" replay damaged
finish
