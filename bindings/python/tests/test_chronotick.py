"""What the README and the stubs promise."""

import datetime
import pickle
import subprocess
import sys
import threading
import time

import pytest

import chronotick

MS = 1_000_000


@pytest.fixture
def clock(publisher):
    return chronotick.Clock(publisher.page)


def test_a_reading_has_a_bound_an_interval_and_a_state(clock):
    now = clock.now()
    assert now.earliest <= now.estimate <= now.latest
    assert MS <= now.max_error < 2 * MS
    assert abs(now.estimate - time.time_ns()) < 500 * MS
    assert now.sigma == 100_000
    assert now.state == "synced" and now.trustworthy
    assert "majority" in now.reason


def test_the_interval_follows_the_level(clock):
    now = clock.now()
    assert 195_000 < now.interval() < 197_000
    assert now.interval(0.5) < now.interval(0.95) < now.interval(0.999)
    assert now.confidence_within(now.interval(0.9)) == pytest.approx(0.9, abs=0.01)
    for nonsense in (1.0, -0.1, float("nan")):
        with pytest.raises(ValueError, match="0.95 for 95 of 100"):
            now.interval(nonsense)


def test_a_narrow_bound_says_what_it_assumes(clock):
    now = clock.now()
    assert now.earliest < now.narrow.earliest < now.estimate < now.narrow.latest < now.latest
    assert "1 %" in now.narrow.assumes


@pytest.mark.parametrize(
    ("state", "trustworthy"),
    [("warmup", False), ("synced", True), ("holdover", True), ("unsynced", False), ("error", False)],
)
def test_each_state_is_told_with_its_reason(publisher, clock, state, trustworthy):
    publisher.becomes(state)
    now = clock.now()
    assert (now.state, now.trustworthy) == (state, trustworthy)
    assert now.reason
    if state in ("warmup", "error"):
        assert now.narrow is None and now.sigma > 10**18


def test_a_stopped_daemon_is_not_trusted_and_a_new_one_is_found(publisher, clock, program):
    publisher.stop()
    stopped = clock.now()
    assert (stopped.state, stopped.reason) == ("unsynced", "the daemon has been stopped")
    again = type(publisher)(program, publisher.page)
    deadline = time.monotonic() + 30
    while clock.now().state != "synced" and time.monotonic() < deadline:
        time.sleep(0.05)
    assert clock.now().trustworthy
    again.stop()
    again.process.stdout.close()


def test_events_are_ordered_as_far_as_can_be_told(publisher, clock):
    raw = chronotick.raw_now()
    first, second, near = clock.at(raw), clock.at(raw + 100 * MS), clock.at(raw + 50_000)
    assert first.compare(second).order == "before"
    assert second.compare(first).order == "after"
    assert first.compare(near).order == "indistinguishable"
    assert 0.5 < first.compare(near).probability_before < 0.9
    publisher.becomes("unsynced")
    assert clock.now().compare(first).probability_before is None


def test_datetimes_are_utc_and_never_narrower_than_the_bound(clock):
    now = clock.now()
    utc = datetime.timezone.utc
    assert now.datetime.tzinfo is utc
    epoch = datetime.datetime(1970, 1, 1, tzinfo=utc)
    micros = [
        (at - epoch) // datetime.timedelta(microseconds=1)
        for at in (now.earliest_datetime, now.datetime, now.latest_datetime)
    ]
    assert micros[0] * 1000 <= now.earliest < micros[0] * 1000 + 1000
    assert micros[1] == now.estimate // 1000
    assert micros[2] * 1000 - 1000 < now.latest <= micros[2] * 1000


def test_a_reading_survives_pickling(publisher, clock):
    for state in ("synced", "error"):
        publisher.becomes(state)
        now = clock.now()
        again = pickle.loads(pickle.dumps(now))
        assert again == now and hash(again) == hash(now)
        assert (again.narrow, again.reason, again.interval(0.9)) == (now.narrow, now.reason, now.interval(0.9))
    assert clock.now() != now


def test_the_system_clock_beside_corrected_time(clock):
    reading, system = clock.now_and_system()
    assert abs(reading.estimate - system) < MS
    assert clock.now_checked().state == "synced"


def test_readings_cannot_be_changed_or_made_up(clock):
    now = clock.now()
    with pytest.raises(AttributeError):
        now.earliest = 0
    with pytest.raises(TypeError):
        chronotick.Reading()


def test_words_for_people(publisher, clock):
    assert "synced: a majority" in repr(clock.now())
    assert str(publisher.page) in repr(clock) and clock.path == publisher.page
    assert repr(clock.now().compare(clock.now())).startswith("<Comparison indistinguishable, before with probability 0.5")
    assert "if the fastest" in repr(clock.now().narrow)
    for thing in (chronotick.now, chronotick.Clock, chronotick.Clock.now, chronotick.Reading.sigma, chronotick):
        assert thing.__doc__


def test_without_a_page_the_error_says_where_it_looked(tmp_path):
    with pytest.raises(chronotick.ClockError, match="chronotick run") as error:
        chronotick.Clock(tmp_path / "clock.page")
    assert str(tmp_path) in str(error.value) and isinstance(error.value, OSError)
    (tmp_path / "other").write_text("something else")
    with pytest.raises(chronotick.ClockError, match="not a clock page"):
        chronotick.Clock(tmp_path / "other")


def test_the_clock_of_the_machine_is_found_when_its_daemon_comes(publisher, tmp_path):
    program = """
import os, chronotick
os.environ["CHRONOTICK_RUNTIME_DIR"] = "/nowhere"
try:
    chronotick.now()
except chronotick.ClockError as error:
    assert "/nowhere" in str(error)
"""
    subprocess.run([sys.executable, "-c", program], check=True)
    said = subprocess.run(
        [sys.executable, "-c", "import chronotick; print(chronotick.now().state)"],
        env={"CHRONOTICK_RUNTIME_DIR": str(tmp_path)},
        check=True,
        capture_output=True,
        text=True,
    )
    assert said.stdout == "synced\n"


def test_threads_share_a_clock(clock):
    wrong = []

    def read():
        for _ in range(20_000):
            now = clock.now()
            if not (now.earliest <= now.estimate <= now.latest and now.state == "synced"):
                wrong.append(now)

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
