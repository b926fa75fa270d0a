"""What the drill of files makes of its evidence, and what its program does, without a lab."""

from __future__ import annotations

import hashlib
import json
import subprocess
import time
from pathlib import Path

import pytest
from hafailover.vagrant.drill.loads.client import program
from hafailover.vagrant.drill.loads.command import command
from hafailover.vagrant.drill.loads.files import oracle as files_oracle
from hafailover.vagrant.drill.loads.files.drill import FilesDrill, FilesRun
from hafailover.vagrant.drill.loads.files.oracle import Written
from hafailover.vagrant.drill.loads.result import as_table
from topologies import invoke

SUM = "0" * 64
SUMMARY = """Brick 10.0.0.1:/b/brick
Status: Connected
Total Number of entries: {pending}
Number of entries in heal pending: {pending}
Number of entries in split-brain: {split}
Number of entries possibly healing: 0

Brick 10.0.0.2:/b/brick
Status: {status}
Total Number of entries: {other}
Number of entries in heal pending: {other}
Number of entries in split-brain: {other}
Number of entries possibly healing: {other}
"""


def written(name: str, at: float, node: str = "a") -> Written:
    return Written(name, SUM, at, node)


@pytest.mark.parametrize(
    ("pending", "split", "status", "other", "done"),
    [
        (0, 0, "Connected", "0", True),
        (2, 0, "Connected", "0", False),
        (2, 1, "Connected", "0", False),
        (0, 0, "Transport endpoint is not connected", "-", False),
    ],
)
def test_healing(pending: int, split: int, status: str, other: str, done: bool) -> None:
    found = files_oracle.healing(SUMMARY.format(pending=pending, split=split, status=status, other=other))
    assert found.done == done
    assert (found.pending, found.split) == (pending, split)
    assert found.away == (() if status == "Connected" else ("10.0.0.2:/b/brick",))


def test_every_node_must_read_every_acknowledged_file() -> None:
    ledger = [written("f1", 1), written("f2", 2, "b")]
    whole = {"f1": SUM, "f2": SUM, "unacknowledged": "1" * 64}
    assert files_oracle.missing(ledger, {"a": whole, "b": whole}) == (0, [])
    lost, said = files_oracle.missing(ledger, {"a": whole, "b": {"f1": "1" * 64}})
    assert lost == 2
    assert said == [
        "f1 was acknowledged on a, and on b it is another content",
        "f2 was acknowledged on b, and on b it is not there",
    ]
    _, said = files_oracle.missing(ledger, {"b": {"f1": "Input/output error", "f2": SUM}})
    assert said == ["f1 was acknowledged on a, and on b it is Input/output error"]
    many = [written(f"f{number}", number) for number in range(9)]
    assert files_oracle.missing(many, {"a": {}})[1][-1] == "and 4 more files"


def test_the_gap_is_that_of_one_of_the_others() -> None:
    ledger = [
        written("1", 1.0, "b"),
        written("2", 2.0, "c"),
        written("3", 4.0, "b"),
        written("4", 9.0, "c"),
        written("5", 99.0),
    ]
    found = files_oracle.gap(ledger, "a")
    assert found is not None
    assert found.seconds == 7.0
    assert files_oracle.gap([], "a") is None


def writing(directory: Path, every: float) -> subprocess.Popen[str]:
    process = subprocess.Popen(program("files"), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None
    process.stdin.write(json.dumps({"directory": str(directory), "prefix": "a-1", "every": every}) + "\n")
    process.stdin.flush()
    return process


def test_the_program_writes_until_it_is_told_to_stop(tmp_path: Path) -> None:
    directory = tmp_path / "new"
    with writing(directory, 0.01) as process:
        deadline = time.monotonic() + 60
        while len(list(directory.glob("*"))) < 4 and time.monotonic() < deadline:
            time.sleep(0.01)
        out, _ = process.communicate("")
    ledger = files_oracle.sums(out)
    assert len(ledger) >= 3
    orders = json.dumps({"directory": str(directory)}) + "\n"
    read = subprocess.run(program("sums"), input=orders, capture_output=True, text=True, check=True, timeout=60)
    assert files_oracle.sums(read.stdout) == ledger
    name = min(ledger)
    assert ledger[name] == hashlib.sha256((directory / name).read_bytes()).hexdigest()
    assert {len(file.read_bytes()) for file in directory.iterdir()} >= {96, 4992, 69984}


def test_a_file_that_cannot_be_written_is_not_acknowledged(tmp_path: Path) -> None:
    (tmp_path / "a-1-000000").touch()
    with writing(tmp_path, 30) as process:
        assert process.stdout is not None
        entry = json.loads(process.stdout.readline())
        process.communicate("")
    assert entry["error"] == "File exists"


def test_the_table_and_the_faults() -> None:
    runs = [
        FilesRun("power-off", "a", (), 10, 0, 0, 12.34, 40.0, 50.0),
        FilesRun("cut", "b", problems=("volume v is not whole",)),
    ]
    lines = as_table(runs, FilesDrill.columns).splitlines()
    assert lines[1].split() == ["power-off", "a", "10", "0", "0", "12.3", "40.0", "50.0", "ok"]
    assert lines[2].split() == ["cut", "b", "0", "-", "-", "-", "-", "-", "FAILED"]
    assert lines[3:] == ["cut b: volume v is not whole", "2 runs, 1 failed"]
    assert json.loads(json.dumps(runs[0].as_json()))["gap_s"] == 12.34
    listed = invoke(command(FilesDrill), "--list")
    assert "power-off" in listed.stdout
    refused = invoke(command(FilesDrill), "explode")
    assert "unknown fault 'explode'" in str(refused.exception)
