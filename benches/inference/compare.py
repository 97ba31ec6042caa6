"""Both implementations, one thread each, in turns: `compare.py LATENCY FOLDER [NAME[@CONTEXT][/half|/eight]..]` prints a table.

The processes live side by side and forecast in short turns, so what else the machine does falls on both.
"""

import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

HORIZON = 64
ROUNDS = 15
DEFAULT = [
    "chronos-bolt-tiny@100", "chronos-bolt-tiny@512", "chronos-bolt-mini@100", "chronos-bolt-small@100",
    "chronos-bolt-small@512", "chronos-bolt-base@100", "chronos-bolt-base@512", "chronos-2@100", "chronos-2@512",
    "ttm-512-96@512", "timesfm-2.5@100", "timesfm-2.5@512", "toto@512", "time-moe-50m@100", "timesfm-2.0@512",
]
ONE_THREAD = {name: "1" for name in ["OMP_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS"]}


class Worker:
    """A process that forecasts when asked."""

    def __init__(self, command):
        start = time.perf_counter()
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env=os.environ | ONE_THREAD,
        )
        while (line := self.process.stdout.readline()) and not line.startswith("ready"):
            pass
        if not line:
            raise RuntimeError(self.process.stderr.read().strip().splitlines()[-1:])
        self.forecast = [float(word) for word in line.split()[1:]]
        self.start = time.perf_counter() - start

    def milliseconds(self, times):
        self.process.stdin.write(f"{times}\n")
        self.process.stdin.flush()
        return [int(word) / 1e6 for word in self.process.stdout.readline().split()]

    def megabytes(self, key):
        status = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) / 1000 for line in status if line.startswith(key))

    def end(self):
        self.process.stdin.close()
        self.process.wait()


def measure(command):
    """The start with files in the cache: the second one counts."""
    Worker(command).end()
    return Worker(command)


def apart(ours, torch):
    largest = max(abs(a - b) for a, b in zip(ours.forecast, torch.forecast, strict=True))
    return largest / statistics.pstdev(torch.forecast)


def main(latency, folder, names):
    print("Milliseconds: median (quickest). Apart: the largest difference of the forecasts, in deviations of theirs.\n")
    print("| model | context | torch ms | ours ms | ratio | torch MB | ours MB (peak) | torch start s | ours start ms | apart |")
    print("|---|---|---|---|---|---|---|---|---|---|", flush=True)
    for name in names:
        name, _, precision = name.partition("/")
        name, _, context = name.partition("@")
        arguments = [str(Path(folder) / name), context or "100", str(HORIZON)]
        ours = measure([latency, *arguments, *filter(None, [precision])])
        try:
            torch = measure([sys.executable, str(Path(__file__).with_name("reference.py")), *arguments])
        except RuntimeError as error:
            print(f"{name}: {error}", file=sys.stderr)
            torch = None
        once = max(ours.milliseconds(3))
        turn = max(1, min(20, int(100 / once)))
        times = [[], []]
        for _ in range(ROUNDS):
            for worker, taken in zip([ours, torch], times):
                if worker:
                    taken.extend(worker.milliseconds(turn))
        (fast, fast_least), (slow, slow_least) = (
            (statistics.median(taken), min(taken)) if taken else (float("nan"), float("nan")) for taken in times
        )
        print(
            f"| {' '.join([name, precision])} | {arguments[1]} | {slow:.2f} ({slow_least:.2f}) "
            f"| {fast:.2f} ({fast_least:.2f}) | {slow / fast:.1f} ({slow_least / fast_least:.1f}) "
            f"| {torch.megabytes('VmRSS') if torch else float('nan'):.0f} | {ours.megabytes('VmRSS'):.0f} ({ours.megabytes('VmHWM'):.0f}) "
            f"| {torch.start if torch else float('nan'):.1f} | {1000 * ours.start:.0f} "
            f"| {apart(ours, torch) if torch else float('nan'):.1e} |",
            flush=True,
        )
        for worker in filter(None, [ours, torch]):
            worker.end()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3:] or DEFAULT)
