"""Judges the score of clock-set.toml: the raw clock carries the time, so nobody who asks notices what was done to the system clock."""

import json
import sys

(score,) = json.load(sys.stdin)["scores"]
assert score["bound"] == 1.0, score
assert score["synced"] > 0.99, score
print(
    f"| system clock set by +1 h, -2 h, to 1970 and to 2040; an hour's sleep (simulated) | truth inside the bound in "
    f"{100 * score['bound']:.1f} % of the readings, synced in {100 * score['synced']:.2f} %, "
    f"largest error {score['max']:.0f} µs |"
)
