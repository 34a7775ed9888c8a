"""A bounded run of the fuzzer over every reader and study, and that it sees what it looks for."""

from pathlib import Path

import pytest
from fuzz_files import attempt, fuzzed
from fuzz_samples import ALL, Sample

from einthoven.core import FileFormatError, InputError

#: Executions of every group: counted, not timed, so that a run is the same everywhere.
RUNS = 400


@pytest.mark.long
@pytest.mark.parametrize("group", ALL)
def test_any_bytes_end_in_a_result_or_in_one_sentence(group, tmp_path):
    row = fuzzed(group, RUNS, 1, tmp_path)
    assert row["findings"] == []
    assert row["executions"] == RUNS
    assert row["samples"] > 0


def raising(error: BaseException) -> Sample:
    def call():
        raise error

    return Sample("made", (Path("a.mat"),), call)


def from_memory() -> None:
    try:
        raise MemoryError("Unable to allocate 3 TiB")
    except MemoryError as error:
        raise FileFormatError("a.mat", "damaged.") from error


def test_the_fuzzer_sees_what_is_no_sentence():
    assert attempt(raising(InputError("a.mat: is damaged."))) is None
    assert attempt(Sample("fine", (Path("a.mat"),), lambda: 1)) is None
    for error, kind in [
        (KeyError("a"), "KeyError from"),
        (MemoryError(), "MemoryError from"),
        (RecursionError(), "RecursionError from"),
        (InputError("a\nb"), "a message of several lines"),
        (InputError("a" * 3000), "a message of more than 2000 characters"),
    ]:
        found = attempt(raising(error))
        assert found is not None
        assert found[0].startswith(kind)
    found = attempt(Sample("large", (Path("a.mat"),), from_memory))
    assert found is not None
    assert found[0].startswith("more than 512 MB asked for")
