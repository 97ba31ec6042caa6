"""Faults for a real daemon, and what a reader sees of each: `.ci/peers/chaos` runs this. Time servers are in this process and say
what a fault wants them to say; nothing leaves loopback, and no clock is touched."""

import argparse
import contextlib
import glob
import json
import os
import random
import re
import shutil
import signal
import socket
import sqlite3
import struct
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

PATIENCE = 60


def until(good, otherwise):
    """Waits for a condition; `otherwise` says what was missed."""
    end = time.monotonic() + PATIENCE
    while not good():
        assert time.monotonic() < end, otherwise()
        time.sleep(0.1)


class TimeServers:
    """NTP servers on loopback. `ahead` is what each adds to the system clock, in seconds; `loss` what it does not answer."""

    def __init__(self, count=4):
        self.ahead = [0.0] * count
        self.loss = 0.0
        self.asked = 0
        self.addresses = []
        for i in range(count):
            s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            s.bind(("127.0.0.1", 0))
            self.addresses.append(f"127.0.0.1:{s.getsockname()[1]}")
            threading.Thread(target=self.serve, args=(i, s), daemon=True).start()

    def serve(self, i, s):
        def stamp():
            ns = time.time_ns() + int(self.ahead[i] * 1e9)
            seconds = (ns // 10**9 + 2208988800) & 0xFFFFFFFF
            return struct.pack("!II", seconds, (ns % 10**9 << 32) // 10**9)

        while True:
            request, client = s.recvfrom(1024)
            received = stamp()
            self.asked += 1
            if len(request) < 48 or random.random() < self.loss:
                continue
            head = struct.pack("!BBbb", 0x24, 1, request[2] if request[2] < 128 else 6, -20)
            body = head + bytes(8) + b"TEST" + received + request[40:48] + received
            s.sendto(body + stamp(), client)


class Daemon:
    """A daemon with directories of its own."""

    def __init__(self, program, dir, servers, *arguments, wrap=(), state=None, log="warning"):
        self.program, self.dir = program, dir
        self.state = state or f"{dir}/state"
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            self.port = s.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.env = {
            "PATH": os.environ["PATH"],
            "CHRONOTICK_NTP_SERVERS": ",".join(servers),
            "CHRONOTICK_RUNTIME_DIR": f"{dir}/run",
            "CHRONOTICK_STATE_DIR": self.state,
            "XDG_CONFIG_HOME": dir,
            "HOME": dir,
        }
        self.logfile = f"{dir}/log"
        preset = [] if "--preset" in arguments else ["--preset", "minimal"]
        command = [*wrap, program, "run", *preset, "--http-listen", str(self.port), "--log-level", log, *arguments]
        self.process = subprocess.Popen(command, env=self.env, stdout=subprocess.DEVNULL, stderr=open(self.logfile, "ab"))

    def ask(self, path="/v1/time", timeout=30):
        with urllib.request.urlopen(self.url + path, timeout=timeout) as r:
            return json.load(r)

    def wait(self, what, good, patience=PATIENCE):
        end = time.monotonic() + patience
        last = None
        while time.monotonic() < end:
            assert self.process.poll() is None, f"{what}: the daemon has ended:\n{self.log()}"
            try:
                last = self.ask()
                if good(last):
                    return last
            except OSError as e:
                last = e
            time.sleep(0.1)
        raise AssertionError(f"never {what}: {last}\n{self.log()}")

    def synced(self, **more):
        return self.wait("synced", lambda t: t["state"] == "synced", **more)

    def log(self):
        return open(self.logfile, errors="replace").read()

    def says(self, *words):
        """The log, once it has a line with all of these words."""
        until(lambda: any(all(word in line for word in words) for line in self.log().splitlines()), lambda: f"never said: {words}\n{self.log()}")
        return self.log()

    def rss(self):
        return int(re.search(r"VmRSS:\s+(\d+)", open(f"/proc/{self.process.pid}/status").read())[1])

    def command(self, *arguments):
        return subprocess.run([self.program, *arguments], env=self.env, capture_output=True, text=True, timeout=60)

    def now(self):
        """What a reader sees, also of a dead daemon: the page, through the command line."""
        return self.command("now", "--json")

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(PATIENCE)
        return self.process.returncode

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


def report(fault, sees):
    print(f"| {fault} | {sees} |", flush=True)


def kills(a, dir):
    """kill -9 at random instants; every other time while it is stopping, when it writes what it learned."""
    servers = TimeServers()
    database = f"{dir}/state/history.sqlite"
    begun = time.monotonic()
    states = {}
    for i in range(a.kills):
        d = Daemon(a.program, dir, servers.addresses)
        time.sleep(random.uniform(0.02, 1.2))
        if i % 2:
            d.process.send_signal(signal.SIGTERM)
            time.sleep(random.uniform(0, 0.03))
        d.process.kill()
        d.process.wait()
        if os.path.exists(database):
            with contextlib.closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as c:
                (found,) = c.execute("PRAGMA integrity_check").fetchone()
                assert found == "ok", found
        for name in ("state/learned.json", "run/status.json", "run/monitor.json"):
            if os.path.exists(f"{dir}/{name}"):
                json.load(open(f"{dir}/{name}"))
        if os.path.exists(f"{dir}/run/clock.page") and i % 10 == 0:
            reader = subprocess.run(
                [a.program, "status", "--json"], env=d.env, capture_output=True, text=True, timeout=60
            )
            if reader.stdout:
                state = json.loads(reader.stdout)["state"]
                states[state] = states.get(state, 0) + 1
                assert state != "error", reader
    with Daemon(a.program, dir, servers.addresses) as d:
        d.synced()
        rows = sqlite3.connect(f"file:{database}?mode=ro", uri=True).execute("SELECT count(*) FROM runs").fetchone()[0]
        assert d.stop() == 0
    aside = [n for n in os.listdir(f"{dir}/state") if "damaged" in n or "broken" in n or "corrupt" in n]
    assert not aside, aside
    said = open(f"{dir}/log", errors="replace").read()
    assert "is not understood" not in said and "panicked" not in said, said[-2000:]
    verified = d.command("audit", "verify")
    report(
        f"kill -9, {a.kills} times",
        f"page, history, learned state and status intact each time ({rows} runs in the history, nothing set aside, "
        f"audit log: {verified.stdout.splitlines()[0] if verified.stdout else verified.stderr.strip()}); "
        f"readers of the dead daemon's page: {states}; {time.monotonic() - begun:.0f} s",
    )


def in_mounts(script):
    """Runs a shell script with mounts of its own."""
    return ["unshare", "--mount", "--map-root-user", "--user"] if os.geteuid() else ["unshare", "--mount"], script


def mounted(a, dir, fault, mount, after=""):
    """A daemon whose state directory is on a disk of its own."""
    servers = TimeServers()
    state = f"{dir}/state"
    os.makedirs(state, exist_ok=True)
    script = f'{mount}\nexec "$@"'
    wrap = in_mounts("")[0] + ["sh", "-ec", script, "sh"]
    with Daemon(a.program, dir, servers.addresses, wrap=wrap) as d:
        d.synced()
        said = [line.split("] ", 1)[-1] for line in d.says("history").splitlines()]
        answer = d.ask()
        assert answer["state"] == "synced", answer
        assert d.stop() == 0, d.log()
        report(fault, f"{answer['state']}, as without the fault; the log: {said[0][:150]}")


def full(a, dir):
    mounted(a, dir, "disk full", f"mount -t tmpfs -o size=64k none {dir}/state; dd if=/dev/zero of={dir}/state/ballast bs=4k 2>/dev/null || true")


def read_only(a, dir):
    mounted(a, dir, "disk read-only", f"mount -t tmpfs -o ro none {dir}/state")


def corrupt(a, dir):
    servers = TimeServers()
    with Daemon(a.program, dir, servers.addresses) as d:
        d.synced()
        until(lambda: os.path.exists(f"{dir}/state/history.sqlite"), lambda: f"no history\n{d.log()}")
        time.sleep(6)
        d.stop()
    for name in ("history.sqlite", "learned.json"):
        size = os.path.getsize(f"{dir}/state/{name}")
        with open(f"{dir}/state/{name}", "wb") as f:
            f.write(random.randbytes(size))
    os.remove(f"{dir}/log")
    with Daemon(a.program, dir, servers.addresses) as d:
        answer = d.synced()
        d.says("learned.json is not understood")
        until(lambda: glob.glob(f"{dir}/state/history.damaged*"), lambda: f"nothing was set aside\n{d.log()}")
        d.stop()
    with contextlib.closing(sqlite3.connect(f"{dir}/state/history.sqlite")) as c:
        assert c.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    aside = sorted(n for n in os.listdir(f"{dir}/state") if n.startswith("history.damaged"))
    assert aside, os.listdir(f"{dir}/state")
    report("corrupt history database", f"{answer['state']}; the file is set aside ({', '.join(aside)}), a new one begun")
    report("corrupt saved state", f"{answer['state']}; one line in the log, it starts as new")


def bad_model(a, dir):
    servers = TimeServers()
    if a.program_has_models:
        folder = f"{dir}/model"
        os.makedirs(folder)
        open(f"{folder}/config.json", "w").write("{")
        open(f"{folder}/model.safetensors", "wb").write(random.randbytes(4096))
        with Daemon(a.program, dir, servers.addresses, "--preset", "cpu_only_chronos", "--model", folder) as d:
            answer = d.synced()
            d.says(folder)
            d.stop()
        report("corrupt model folder", f"{answer['state']}; the log names the folder, the statistical engine answers alone")
    else:
        print("skipped: this program was built without models")


def names_gone(a, dir):
    """Names that nobody resolves, beside servers that are there, and alone."""
    servers = TimeServers(3)
    with Daemon(a.program, dir, ["time.invalid", "pool.invalid", *servers.addresses]) as d:
        answer = d.synced()
        d.stop()
    with Daemon(a.program, dir, ["time.invalid"]) as d:
        alone = d.wait("a reason", lambda t: t["state"] in ("warmup", "unsynced"))
        said = d.log()
        d.stop()
    assert "panicked" not in said
    report("DNS gone", f"{answer['state']} while three other servers answer; alone {alone['state']}: {alone.get('reason')}")


def lossy(a, dir):
    """90 % of the requests unanswered (in the servers: not every kernel has netem), then all."""
    servers = TimeServers()
    with Daemon(a.program, dir, servers.addresses) as d:
        before = d.synced()
        servers.loss = 0.9
        time.sleep(20 if a.quick else 60)
        during = d.ask()
        servers.loss = 1.0
        gone = d.wait("holdover", lambda t: t["state"] == "holdover", patience=120)
        servers.loss = 0.0
        after = d.synced(patience=120)
        assert during["state"] in ("synced", "holdover")
        d.stop()
    report(
        "90 % of the packets lost, then all, then none",
        f"{before['state']}, {during['state']} (bound {bound(before)} -> {bound(during)}), "
        f"{gone['state']} ({gone.get('reason')}), {after['state']}",
    )


def bound(answer):
    width = answer.get("bound_ns") or max(answer.get("early_ns", 0), answer.get("late_ns", 0))
    if not width and "earliest_ns" in answer:
        width = (int(answer["latest_ns"]) - int(answer["earliest_ns"])) // 2
    return f"{width / 1e3:.0f} µs"


def flap(a, dir):
    """The interface goes down and comes back, in a network of its own; run by itself within that network."""
    wrap = ["unshare", "--net"] if os.geteuid() == 0 else ["unshare", "--net", "--user", "--map-root-user"]
    ran = subprocess.run([*wrap, sys.executable, __file__, a.program, "--inside-flap", dir], text=True, capture_output=True, timeout=300)
    if ran.returncode:
        raise AssertionError(ran.stderr)
    print(ran.stdout, end="")


def inside_flap(a, dir):
    link = lambda how: subprocess.run(["ip", "link", "set", "lo", how], check=True)
    link("up")
    servers = TimeServers()
    with Daemon(a.program, dir, servers.addresses) as d:
        before = d.synced()
        seen = []
        for _ in range(3):
            link("down")
            time.sleep(4)
            seen.append(json.loads(d.command("status", "--json").stdout)["state"])
            link("up")
            time.sleep(1)
        link("down")
        end = time.monotonic() + 120
        while (gone := json.loads(d.command("status", "--json").stdout))["state"] != "holdover" and time.monotonic() < end:
            time.sleep(0.5)
        link("up")
        after = d.synced(patience=120)
        d.stop()
    assert gone["state"] == "holdover", gone
    report("interface flaps, then stays away", f"{before['state']}, {'/'.join(seen)}, {gone['state']} ({gone['reason']}), {after['state']}")


def liars(a, dir):
    """One server of four lies, then all of them lie at once, by the same 10 s."""
    servers = TimeServers()
    with Daemon(a.program, dir, servers.addresses) as d:
        d.synced()
        time.sleep(6)
        error = lambda: (int(d.ask()["estimate_ns"]) - time.time_ns()) / 1e9
        servers.ahead[0] = 10.0
        time.sleep(8)
        one, state_one = error(), d.ask()["state"]
        assert abs(one) < 1, one
        servers.ahead = [10.0, 20.0, -30.0, 40.0]
        apart = d.wait("no majority", lambda t: t["state"] not in ("synced",), patience=120)
        servers.ahead = [10.0] * 4
        time.sleep(15 if a.quick else 45)
        every, told = error(), d.ask()
        d.stop()
    report("one of four servers lies by 10 s", f"{state_one}; the answer is {abs(one) * 1e3:.0f} ms off or less, the liar is out-voted")
    report("all four lie, each otherwise", f"{apart['state']}: {apart.get('reason')}")
    report("all four tell the same lie (10 s)", f"{told['state']} ({told.get('reason')}), {every:+.1f} s off: who asks nobody else cannot tell")


def malformed(a, dir):
    """Rubbish on every door, and callers who never read; everybody else is answered meanwhile."""
    servers = TimeServers()
    ports = []
    for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
        with socket.socket(socket.AF_INET, kind) as s:
            s.bind(("127.0.0.1", 0))
            ports.append(s.getsockname()[1])
    ntp, probe = ports
    config = f"{dir}/chaos.yaml"
    with open(config, "w") as f:
        f.write(f'serve:\n  ntp:\n    enabled: true\n    listen: ["127.0.0.1:{ntp}"]\nmcp:\n  probe_port: {probe}\n')
    rubbish = lambda: random.randbytes(random.randrange(1, 400))
    with Daemon(a.program, dir, servers.addresses, "-f", config) as d:
        d.synced()
        before = d.rss()
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        worst = 0.0

        def other():
            nonlocal worst
            asked = time.monotonic()
            assert d.ask()["state"] == "synced"
            worst = max(worst, time.monotonic() - asked)

        def tcp(port, data, read=True):
            with socket.create_connection(("127.0.0.1", port), timeout=5) as s:
                with contextlib.suppress(OSError):
                    s.sendall(data)
                    s.shutdown(socket.SHUT_WR)
                    if read:
                        while s.recv(65536):
                            pass

        for i in range(a.malformed):
            udp.sendto(bytes([0x23]) + rubbish() if i % 2 else rubbish(), ("127.0.0.1", ntp))
            tcp(d.port, rubbish() if i % 3 else b"GET /v1/history?since=" + rubbish().hex().encode() + b" HTTP/1.1\r\nHost: localhost\r\n\r\n")
            body = rubbish() if i % 2 else b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":' + rubbish().hex().encode() + b"}}"
            head = f"POST /mcp HTTP/1.1\r\nHost: 127.0.0.1:{d.port}\r\nContent-Type: application/json\r\nAccept: application/json, text/event-stream\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
            tcp(d.port, head.encode() + body)
            if i % 20 == 0:
                # One after the other by design: the probe is closed quickly, whatever it was sent.
                tcp(probe, rubbish() + b"\n")
                other()
        calls = b'{"jsonrpc":"2.0","id":1,"method":"tools/list"}'
        head = f"POST /mcp HTTP/1.1\r\nHost: 127.0.0.1:{d.port}\r\nContent-Type: application/json\r\nAccept: application/json, text/event-stream\r\nContent-Length: {len(calls)}\r\n\r\n"
        deaf = []
        for _ in range(32):
            s = socket.create_connection(("127.0.0.1", d.port))
            s.setblocking(False)
            with contextlib.suppress(OSError):
                while True:
                    s.send((head.encode() + calls) * 50)
            deaf.append(s)
        for _ in range(20):
            other()
            time.sleep(0.1)
        after = d.rss()
        for s in deaf:
            s.close()
        assert "panicked" not in d.log(), d.log()
        assert d.stop() == 0
    assert after - before < 64_000, (before, after)
    report(
        f"{a.malformed} malformed requests each over HTTP, MCP, NTP, {a.malformed // 20} to the probe, then 32 MCP clients that never read",
        f"synced throughout; the slowest answer to others {worst * 1e3:.0f} ms; memory {before} -> {after} kB",
    )


FAULTS = [kills, full, read_only, corrupt, bad_model, names_gone, lossy, flap, liars, malformed]


def main():
    p = argparse.ArgumentParser()
    p.add_argument("program")
    p.add_argument("--kills", type=int, default=25)
    p.add_argument("--malformed", type=int, default=300)
    p.add_argument("--quick", action="store_true")
    p.add_argument("--only")
    p.add_argument("--inside-flap")
    a = p.parse_args()
    a.program_has_models = subprocess.run([a.program, "models", "--help"], capture_output=True).returncode == 0
    if a.inside_flap:
        return inside_flap(a, a.inside_flap)
    for fault in FAULTS:
        if a.only and fault.__name__ not in a.only.split(","):
            continue
        dir = tempfile.mkdtemp(prefix="chronotick-chaos-")
        try:
            fault(a, dir)
        finally:
            shutil.rmtree(dir, ignore_errors=True)


main()
