#!/usr/bin/env python3
"""Random faults over a real run, from a seed: workers are killed, stopped, asked to leave and joined by peers that send
what no honest one would; the server is killed and resumed. After every step each segment that was merged is computed
again from the server's own event log (cos2p replay), and compared to the bit; so is the model, in the end. No client may
have two workers, and a server that was killed goes on from the last word of its log.

  chaos.py --program build/release/src/main/cos2p --steps 20
  ../harness/netns_hosts.sh --hosts 4 -- chaos.py ...    # the server and the workers on hosts of their own, whose cables are pulled and worse

Exit code: 0 where everything held, 1 otherwise. The last line is a JSON object with what was done.
"""
import argparse
import json
import os
import pathlib
import random
import re
import shutil
import signal
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
LAUNCH = HERE.parent.parent / "mpi_launch" / "local.sh"
LINK = HERE.parent / "harness" / "netns_link.sh"
MODEL = ("--dataset synthetic --synthetic-train 240 --synthetic-test 100 --dim 32 --blocks 3 --heads 2 --feed-forward 64 "
         "--patch 7 --batch-size 20 --partition iid --budgets 1,0.7,0.5 --micro-batch 0 --evaluate-every 50 --rounds 10000000").split()


class Failed(Exception):
    pass


class Run:
    """A server, alone in its job, and workers that join it."""

    def __init__(self, options):
        self.options = options
        self.random = random.Random(options.seed)
        self.directory = pathlib.Path(options.directory)
        self.output = self.directory / "run"
        self.workers = []
        # The server's host, then the workers'; empty where all are on this one (netns_hosts.sh).
        self.hosts = os.environ["COS2P_HOSTS"].split(",") if "COS2P_HOSTS" in os.environ else []
        self.counts = dict.fromkeys(["worker_kills", "stops", "leaves", "hostile", "cables", "server_kills", "merges_checked", "seats_checked", "joins"], 0)
        self.log = open(self.directory / "log.txt", "a")
        self.told = open(self.directory / "log.txt")
        self.here, self.seats = set(), {}  # workers that the server has not lost, and who executes which client
        self.started = 0

    def environment(self):
        return dict(os.environ, OMP_NUM_THREADS="1", OMP_WAIT_POLICY="PASSIVE")

    def on(self, host, command):
        """The command as it is started on the host of that index (a process id is that of the program)."""
        return [os.environ["COS2P_ON_HOST"], self.hosts[host % len(self.hosts)], *command] if self.hosts else command

    def on_workers_host(self, command):
        return self.on(self.random.randint(1, len(self.hosts) - 1) if self.hosts else 0, command)

    def check_seats(self):
        """By the server's own words: no client is given to somebody while another who executes it is here."""
        while True:
            at = self.told.tell()
            line = self.told.readline()
            if not line.endswith("\n"):  # the end, perhaps in the middle of a line
                self.told.seek(at)
                break
            if match := re.search(r"\[server\] worker (\d+) (.*)", line):
                worker, what = match.groups()
                if "has joined" in what:
                    self.here.add(worker)
                elif what.startswith(("is gone", "left")):
                    self.here.discard(worker)
                elif client := re.match(r"executes client (\d+)", what):
                    before = self.seats.get(client[1])
                    if before in self.here and before != worker:
                        raise Failed(f"client {client[1]} was given to worker {worker} while worker {before} executes it")
                    self.seats[client[1]] = worker
                    self.counts["seats_checked"] += 1

    def start_server(self, resume=False):
        parts = self.part() if resume else 0
        command = [str(LAUNCH), "-n", "1", "--binary", self.options.program, "--", "train"]
        if resume:
            command += ["--resume", str(self.output)]
        else:
            command += MODEL + ["--policy", self.options.policy, "--clients", str(self.options.workers),
                                "--open-seats", str(self.options.workers), "--accept-joins", "--event-log",
                                "--event-log-limit", "0", "--history-rows", "1000", "--suspect-after", "1", "--bad-messages", "20",
                                "--seed", str(self.options.seed), "--output", str(self.output)]
        self.launcher = subprocess.Popen(self.on(0, ["bash"] + command), stdout=self.log, stderr=self.log, env=self.environment())
        self.wait(lambda: self.part() > parts and (self.output / "join.json").exists(), "the server starts")

    def server(self):
        """The server's process: the only descendant of the launcher that is the program."""
        below = [self.launcher.pid]
        for parent in below:
            try:
                children = pathlib.Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
                below += [int(child) for child in children]
            except OSError:
                continue
        for pid in below:
            try:
                if os.path.samefile(f"/proc/{pid}/exe", self.options.program):
                    return pid
            except OSError:
                continue
        return None

    def join(self):
        command = [self.options.program, "join", str(self.output), "--retry-for", "120", "--threads", "1"]
        if self.hosts:
            command += ["--server", self.hosts[0]]
        self.workers.append(subprocess.Popen(self.on_workers_host(command), stdout=self.log, stderr=self.log, env=self.environment()))
        self.counts["joins"] += 1

    def wait(self, condition, what, limit=90):
        limit *= max(1.0, os.getloadavg()[0] / os.cpu_count())
        until = time.monotonic() + limit
        while not condition():
            if time.monotonic() > until:
                raise Failed(f"{what}: not within {limit:.0f} s")
            if self.launcher.poll() is not None:
                raise Failed(f"{what}: the launcher ended with {self.launcher.returncode}")
            time.sleep(0.05)

    def round(self):
        try:
            return int((self.output / "metrics.csv").read_text().splitlines()[-1].split(",")[0])
        except (OSError, IndexError, ValueError):
            return 0

    def goes_on(self, rounds=3):
        at = self.round()
        self.wait(lambda: self.round() >= at + rounds, f"the run goes on after round {at}")

    def replay(self, part=None):
        command = [self.options.program, "replay", str(self.output), "--json"]
        if part is not None:
            command += ["--part", str(part)]
        done = subprocess.run(command, capture_output=True, text=True, env=self.environment())
        try:
            parts = json.loads(done.stdout)
        except ValueError:
            raise Failed(f"replay ended with {done.returncode}: {done.stderr}")
        for each in parts:
            if each["difference"]:
                raise Failed(f"replay of part {each['part']}: {each['difference']}")
        if done.returncode != 0:
            raise Failed(f"replay ended with {done.returncode}: {done.stderr}")
        return parts

    def part(self):
        return max((int(path.stem.split("-")[1]) for path in (self.output / "events").glob("part-*.log")), default=0)

    # What may happen.

    def some_workers(self):
        living = [worker for worker in self.workers if worker.poll() is None]
        return self.random.sample(living, self.random.randint(1, len(living)))

    def replace(self, worker, expected):
        code = worker.wait(timeout=120)
        if code != expected:
            raise Failed(f"a worker ended with {code} instead of {expected}")
        self.workers.remove(worker)
        self.join()

    def kill_workers(self):
        for worker in self.some_workers():
            time.sleep(self.random.uniform(0, 0.3))
            worker.kill()
            self.counts["worker_kills"] += 1
            self.replace(worker, -signal.SIGKILL)

    def stop_workers(self):
        stopped = self.some_workers()
        for worker in stopped:
            worker.send_signal(signal.SIGSTOP)
        time.sleep(self.random.uniform(0.1, 3))
        for worker in stopped:
            worker.send_signal(signal.SIGCONT)
            self.counts["stops"] += 1

    def ask_to_leave(self):
        for worker in self.some_workers():
            # A process that has not come so far as to know signals may end by this one.
            worker.terminate()
            code = worker.wait(timeout=120)
            if code not in (0, -signal.SIGTERM):
                raise Failed(f"a worker that was asked to leave ended with {code}")
            self.workers.remove(worker)
            self.join()
            self.counts["leaves"] += 1

    def send_in_hostile_peer(self):
        if not self.options.hostile_peer:
            return self.kill_workers()
        # It needs a client, which somebody has to give up.
        self.counts["worker_kills"] += 1
        self.workers[0].kill()
        self.workers[0].wait()
        kind = self.random.choice(["nan", "huge", "size", "forged", "segment", "replay", "version"])
        done = subprocess.run(self.on_workers_host([self.options.hostile_peer, str(self.output), kind, "100"]), capture_output=True, text=True,
                              env=self.environment(), timeout=180)
        if "failed" in done.stdout:  # another worker was faster: a peer without a client can do no harm
            pass
        elif "put out" not in done.stdout:
            raise Failed(f"a peer that sends '{kind}' was not put out: {done.stdout}{done.stderr}")
        else:
            self.counts["hostile"] += 1
        self.workers.pop(0)
        self.join()

    def link(self, host, *action):
        done = subprocess.run(["bash", str(LINK), host, *action], capture_output=True, text=True)
        if done.returncode != 0:
            raise Failed(f"{' '.join(action)}: {done.stderr}")

    def hurt_a_cable(self):
        """Of one of the workers' hosts, for some seconds, in which the others go on."""
        host = self.random.choice(self.hosts[1:])
        what, value, end = self.random.choice([("down", [], ["up"]), ("rate", ["1mbit"], ["rate", "none"]),
                                               ("loss", ["30"], ["loss", "none"]), ("delay", ["5"], ["delay", "none"])])
        self.link(host, what, *value)
        time.sleep(self.random.uniform(0.1, 6))
        self.link(host, *end)
        self.counts["cables"] += 1

    def kill_server(self):
        time.sleep(self.random.uniform(0, 1))
        os.kill(self.server(), signal.SIGKILL)
        self.launcher.wait(timeout=120)
        self.counts["server_kills"] += 1
        before = self.replay(self.part())[0]
        self.counts["merges_checked"] += before["merges"]
        self.check_seats()
        self.here, self.seats = set(), {}
        self.start_server(resume=True)
        start = json.loads(subprocess.run([self.options.program, "inspect", "--json", str(self.output / "events" /
                                          f"part-{self.part():04d}.h5")], capture_output=True, text=True).stdout)
        lost = before["round"] - start["round"]
        if lost != 0:
            raise Failed(f"the server resumed from round {start['round']}, its log ended in round {before['round']}")

    def step(self):
        if self.options.server_every and self.random.randrange(self.options.server_every) == 0:
            what = self.kill_server
        else:
            faults = [self.kill_workers, self.stop_workers, self.ask_to_leave, self.send_in_hostile_peer]
            faults += [self.hurt_a_cable] if self.hosts else []
            what = self.random.choices(faults, weights=self.options.weights[:len(faults)])[0]
        what()
        self.goes_on()
        self.replay(self.part())
        self.check_seats()
        return what.__name__

    def memory(self):
        status = pathlib.Path(f"/proc/{self.server()}/status").read_text()
        resident = int(status.split("VmRSS:")[1].split()[0]) // 1024
        return {"server_mib": resident, "server_descriptors": len(os.listdir(f"/proc/{self.server()}/fd"))}

    def all_are_in(self):
        last = (self.output / "metrics.csv").read_text().splitlines()[-1].split(",")
        return last[-1] == str(len(self.workers))

    def end(self):
        # One that is still on its way would look for the server until its --retry-for is over.
        self.wait(self.all_are_in, "every worker has joined before the end")
        self.launcher.send_signal(signal.SIGTERM)
        code = self.launcher.wait(timeout=180)
        if code != 0:
            raise Failed(f"the run ended with {code}")
        for worker in self.workers:
            if worker.wait(timeout=60) != 0:
                raise Failed(f"a worker ended with {worker.returncode} when the run was over")
        last = self.replay(self.part())[-1]
        self.counts["merges_checked"] += last["merges"]
        if last["latest"] != "the same":
            raise Failed(f"the newest checkpoint holds {last['latest'] or 'another round'}")
        return last["round"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", required=True)
    parser.add_argument("--hostile-peer", default="", help="test/program/hostile_peer of the build")
    parser.add_argument("--directory", default="chaos", help="is made anew")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--policy", default="semi-async")
    parser.add_argument("--server-every", type=int, default=6, help="one of so many steps kills the server; 0 = never")
    parser.add_argument("--weights", type=lambda text: [float(word) for word in text.split(",")], default=[4, 2, 2, 2, 4],
                        help="of killing, stopping, asking to leave, hostile peers, hurt cables")
    options = parser.parse_args()
    options.program = os.path.abspath(options.program)
    shutil.rmtree(options.directory, ignore_errors=True)
    os.makedirs(options.directory)
    run = Run(options)
    begun = time.monotonic()
    failure = ""
    memory = []
    try:
        run.start_server()
        for _ in range(options.workers):
            run.join()
        run.goes_on(5)
        for step in range(options.steps):
            name = run.step()
            memory.append(run.memory())
            print(f"step {step + 1}/{options.steps}: {name}, round {run.round()}, {memory[-1]}", flush=True)
        rounds = run.end()
    except (Failed, OSError, subprocess.TimeoutExpired) as problem:
        failure = str(problem)
        rounds = run.round()
        print(f"FAILED: {failure}; the log is {options.directory}/log.txt", file=sys.stderr)
    finally:
        for process in run.workers + [run.launcher]:
            if process.poll() is None:
                process.kill()
        server = run.server()
        if server is not None:
            os.kill(server, signal.SIGKILL)
    print(json.dumps(dict(run.counts, steps=options.steps, seed=options.seed, policy=options.policy, rounds=rounds,
                          seconds=round(time.monotonic() - begun), memory_first=memory[:1], memory_last=memory[-1:],
                          failure=failure)))
    sys.exit(1 if failure else 0)


main()
