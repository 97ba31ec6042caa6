#!/usr/bin/env python3
"""How long an agent waits: ChronoTick's door and the reference time server for agents, in the same run.

    benches/mcp/compare.py PROGRAM [--seconds 60] [--callers 1000] [--rounds 10000]

PROGRAM is a release build of chronotick. Starts a chronyd on loopback, a daemon that measures it, and measures
  * round trips of `get_time` (the reference server: `get_current_time`) over a raw pipe: with the processors kept awake, and as they
    are, which on a virtual machine means that each wake-up of a sleeping processor is in it,
  * from starting the process to its first answer,
  * resident memory after that,
  * CALLERS clients at once on kept HTTP connections for SECONDS, each calling `get_time` again and again.
The reference server (`mcp-server-time` of the Python package index) is installed into a throw-away environment.
"""

import argparse
import asyncio
import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path

MODERN = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
}


def call(number: int, tool: str, arguments: dict, meta: dict | None) -> bytes:
    params = {"name": tool, "arguments": arguments} | ({"_meta": meta} if meta else {})
    return json.dumps({"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": params}).encode() + b"\n"


def hello() -> list[bytes]:
    client = {"name": "bench", "version": "1"}
    params = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": client}
    begin = {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params}
    return [json.dumps(m).encode() + b"\n" for m in (begin, {"jsonrpc": "2.0", "method": "notifications/initialized"})]


def quantiles(times: list[float]) -> tuple[float, float]:
    times.sort()
    return times[len(times) // 2], times[int(len(times) * 0.99)]


class Pipe:
    """A server on raw pipes."""

    def __init__(self, command: list[str], env: dict):
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=env)
        self.input, self.output, self.rest = self.process.stdin.fileno(), self.process.stdout.fileno(), b""

    def ask(self, line: bytes) -> bytes:
        os.write(self.input, line)
        while b"\n" not in self.rest:
            more = os.read(self.output, 65536)
            if not more:
                raise SystemExit("the server has ended")
            self.rest += more
        answer, self.rest = self.rest.split(b"\n", 1)
        return answer

    def memory(self) -> float:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0]) / 1024

    def end(self) -> None:
        self.process.stdin.close()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()


@contextlib.contextmanager
def awake():
    """Keeps every processor from sleeping, by loops that run only where nothing else wants to."""
    spin = "import os\nos.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))\nwhile True: pass"
    loops = [subprocess.Popen([sys.executable, "-c", spin]) for _ in range(os.cpu_count() or 1)]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


def echo(rounds: int) -> None:
    """What the pipes alone take: `cat`, with lines as long as an answer."""
    server, times = Pipe(["cat"], dict(os.environ)), []
    for _ in range(rounds):
        begun = time.perf_counter()
        server.ask(b"x" * 1999 + b"\n")
        times.append(time.perf_counter() - begun)
    p50, p99 = quantiles(times)
    print(f"| the pipes alone (cat) | {p50 * 1e6:.0f} µs | {p99 * 1e6:.0f} µs | | |", flush=True)
    server.end()


def over_a_pipe(name: str, command: list[str], env: dict, tool: str, arguments: dict, rounds: int, meta: dict | None) -> None:
    starts, server = [], None
    for _ in range(5):
        if server:
            server.end()
        begun = time.perf_counter()
        server = Pipe(command, env)
        if meta is None:
            server.ask(hello()[0])
            os.write(server.input, hello()[1])
        answer = server.ask(call(1, tool, arguments, meta))
        starts.append(time.perf_counter() - begun)
        assert b'"result"' in answer and b'"isError":true' not in answer, answer
    times = []
    for number in range(rounds):
        line = call(number, tool, arguments, meta)
        begun = time.perf_counter()
        server.ask(line)
        times.append(time.perf_counter() - begun)
    p50, p99 = quantiles(times)
    starts.sort()
    print(f"| {name} | {p50 * 1e6:.0f} µs | {p99 * 1e6:.0f} µs | {starts[2] * 1e3:.1f} ms | {server.memory():.0f} MB |", flush=True)
    server.end()


async def caller(port: int, until: float, times: list[float], errors: list[str]) -> None:
    body = call(1, "get_time", {}, MODERN).strip()
    head = (
        f"POST /mcp HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
        "Accept: application/json, text/event-stream\r\nMCP-Protocol-Version: 2026-07-28\r\nMcp-Method: tools/call\r\n"
        f"Mcp-Name: get_time\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode()
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while time.perf_counter() < until:
            begun = time.perf_counter()
            writer.write(head + body)
            header = await reader.readuntil(b"\r\n\r\n")
            length = int(header.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            answer = await reader.readexactly(length)
            times.append(time.perf_counter() - begun)
            if b" 200 " not in header.split(b"\r\n")[0] or b'"isError":false' not in answer:
                errors.append(answer[:200].decode())
        writer.close()
    except Exception as error:  # whatever it is, it counts
        errors.append(repr(error))


async def crowd(port: int, callers: int, seconds: float) -> None:
    times: list[float] = []
    errors: list[str] = []
    until = time.perf_counter() + seconds
    await asyncio.gather(*(caller(port, until, times, errors) for _ in range(callers)))
    p50, p99 = quantiles(times)
    rate = len(times) / seconds
    print(f"| {callers} callers, {seconds:.0f} s | {p50 * 1e3:.0f} ms | {p99 * 1e3:.0f} ms | {rate:.0f}/s | {len(errors)} |", flush=True)
    for error in errors[:5]:
        print("error:", error)


def over_http(port: int, rounds: int) -> None:
    """One caller on one connection."""
    body = call(1, "get_time", {}, MODERN).strip()
    head = (
        f"POST /mcp HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
        "Accept: application/json, text/event-stream\r\nMCP-Protocol-Version: 2026-07-28\r\nMcp-Method: tools/call\r\n"
        f"Mcp-Name: get_time\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode()
    times = []
    with socket.create_connection(("127.0.0.1", port)) as stream:
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(rounds):
            begun = time.perf_counter()
            stream.sendall(head + body)
            answer = b""
            while b"\r\n\r\n" not in answer:
                answer += stream.recv(65536)
            header, rest = answer.split(b"\r\n\r\n", 1)
            length = int(header.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            while len(rest) < length:
                rest += stream.recv(65536)
            times.append(time.perf_counter() - begun)
    p50, p99 = quantiles(times)
    print(f"| 1 caller, {rounds} calls | {p50 * 1e3:.2f} ms | {p99 * 1e3:.2f} ms | {1 / p50:.0f}/s | 0 |", flush=True)


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def daemon(program: str, dirs: Path, env: dict) -> tuple[list[subprocess.Popen], int]:
    ntp, port = free_port(), free_port()
    user = subprocess.run(["id", "-un"], capture_output=True, text=True, check=True).stdout.strip()
    lines = [f"port {ntp}", "cmdport 0", "bindaddress 127.0.0.1", "allow 127.0.0.0/8", "local stratum 1", f"pidfile {dirs}/pid"]
    (dirs / "chrony.conf").write_text("\n".join(lines) + "\n")
    chronyd = next((p for p in ("/usr/sbin/chronyd", "/usr/local/sbin/chronyd") if Path(p).exists()), None)
    if not chronyd:
        raise SystemExit("there is no chronyd here (Debian package chrony)")
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    servers = [subprocess.Popen([chronyd, "-x", "-U", "-u", user, "-d", "-f", str(dirs / "chrony.conf")], **quiet)]
    run = [program, "run", "--warmup", "1", "--http-listen", f"127.0.0.1:{port}", "--ntp-servers", f"127.0.0.1:{ntp}"]
    servers.append(subprocess.Popen(run, env=env, **quiet))
    for _ in range(300):
        now = subprocess.run([program, "now", "--json"], env=env, capture_output=True, text=True).stdout
        if now and json.loads(now)["state"] == "synced" and json.loads(now)["answered_by"] == "daemon":
            return servers, port
        time.sleep(0.2)
    raise SystemExit("the daemon never became synced")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--callers", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=10_000)
    options = parser.parse_args()
    program = os.path.abspath(options.program)
    servers = []
    with tempfile.TemporaryDirectory() as work:
        dirs = Path(work)
        env = os.environ | {
            "CHRONOTICK_RUNTIME_DIR": f"{dirs}/run",
            "CHRONOTICK_STATE_DIR": f"{dirs}/state",
            "XDG_CONFIG_HOME": work,
        }
        try:
            print("installing the reference server", file=sys.stderr)
            venv.create(dirs / "venv", with_pip=True)
            subprocess.run([dirs / "venv/bin/pip", "install", "--quiet", "mcp-server-time"], check=True)
            servers, port = daemon(program, dirs, env)
            reference = [str(dirs / "venv/bin/python"), "-m", "mcp_server_time", "--local-timezone", "UTC"]
            zone = {"timezone": "UTC"}
            for how, while_ in {"processors awake": awake(), "processors sleep between calls": contextlib.nullcontext()}.items():
                print(f"| raw pipe, {how} | p50 | p99 | from start to first answer | resident memory |\n|---|---|---|---|---|")
                with while_:
                    echo(options.rounds)
                    over_a_pipe("chronotick, 2026-07-28", [program, "mcp"], env, "get_time", {}, options.rounds, MODERN)
                    over_a_pipe("chronotick, 2025-06-18", [program, "mcp"], env, "get_time", {}, options.rounds, None)
                    few = min(options.rounds, 2000)
                    over_a_pipe("mcp-server-time (Python)", reference, env, "get_current_time", zone, few, None)
                print()
            print("| HTTP, JSON replies | p50 | p99 | rate | errors |\n|---|---|---|---|---|")
            over_http(port, min(options.rounds, 5000))
            asyncio.run(crowd(port, options.callers, options.seconds))
        finally:
            for server in servers:
                server.terminate()
                server.wait()


main()
