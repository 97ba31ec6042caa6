"""A page of made-up time (± 1 ms, sigma 100 µs) in any state, published by an example of the crate chronotick-clock."""

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


class Publisher:
    def __init__(self, program: Path, page: Path):
        self.page = page
        self.process = subprocess.Popen(
            [program, page], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )
        assert self.process.stdout.readline() == "synced\n"

    def becomes(self, state: str) -> None:
        self.process.stdin.write(state + "\n")
        assert self.process.stdout.readline() == state + "\n"

    def stop(self) -> None:
        self.process.stdin.close()
        assert self.process.wait(10) == 0


@pytest.fixture(scope="session")
def program() -> Path:
    subprocess.run(
        ["cargo", "build", "--quiet", "--locked", "-p", "chronotick-clock", "--example", "publish"], cwd=ROOT, check=True
    )
    return Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "debug/examples/publish"


@pytest.fixture
def publisher(program, tmp_path):
    publisher = Publisher(program, tmp_path / "clock.page")
    yield publisher
    if publisher.process.poll() is None:
        publisher.process.kill()
        publisher.process.wait()
    publisher.process.stdout.close()
