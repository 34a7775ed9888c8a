"""Coverage-guided fuzzing of every reader and of every TOML that users write, with atheris.

Any bytes must end in a result or in an `InputError` of one line: no other exception, no hang, no allocation beyond a
bound, no crash of a library. Starts from small valid files (`fuzz_samples`); of a file set one file at a time is
replaced. Runs are counted, not timed, and seeded.

    python tests/fuzz/fuzz_files.py --runs 20000 --out out/fuzz [GROUP ...]

prints formats x executions x findings; each finding is kept with its bytes and its traceback under ``--out``.
"""

import argparse
import contextlib
import hashlib
import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import traceback
from importlib.util import find_spec
from pathlib import Path
from typing import Any

#: Seconds and bytes (beyond what the process had) that one file may take.
SECONDS, BYTES = 20, 512 << 20
#: Modules whose branches guide the search.
GUIDED = ["einthoven.io", "einthoven.inverse.physics.registry", "einthoven.studies.simulation_config"]
GUIDED += [
    "einthoven.studies.simulation_tables",
    "einthoven.studies.bench_inverse",
    "einthoven.studies.bench_surrogate",
]
GUIDED += ["einthoven.surrogate.configuration", "einthoven.surrogate.recipe", "einthoven.surrogate.weights"]
GUIDED += ["einthoven.studies.sheet_sets", "tomllib", "wfdb", "edfio"]
#: Longest file, bytes.
LONGEST = 65536


def main() -> int:
    """Fuzz the named groups, all by default; exit code 1 if there are findings."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("groups", nargs="*", help="default: all")
    parser.add_argument("--runs", type=int, default=20000, help="executions per group")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("out/fuzz"))
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        _fuzz(options.groups[0], options.runs, options.seed, options.out)
    import fuzz_samples

    rows = [fuzzed(group, options.runs, options.seed, options.out) for group in options.groups or fuzz_samples.ALL]
    print("group            samples  executions  findings")
    for row in rows:
        print(f"{row['group']:<16} {row['samples']:>7}  {row['executions']:>10}  {len(row['findings']):>8}")
        for finding in row["findings"]:
            print(f"    {finding}")
    return int(any(row["findings"] for row in rows))


def fuzzed(group: str, runs: int, seed: int, out: Path) -> dict[str, Any]:
    """Fuzz one group in a process of its own; return its name, numbers of samples and executions, and findings."""
    folder = out / group
    folder.mkdir(parents=True, exist_ok=True)
    words = [sys.executable, __file__, group, "--runs", str(runs), "--seed", str(seed), "--out", str(folder), "--child"]
    environment = {**os.environ, "PYTHONHASHSEED": "0", "OPENBLAS_NUM_THREADS": "1"}
    with (folder / "log.txt").open("w") as log:
        code = subprocess.run(words, stdout=log, stderr=subprocess.STDOUT, env=environment, check=False).returncode
    text = (folder / "log.txt").read_text(errors="replace")
    findings = [p.read_text().splitlines()[0] for p in sorted(folder.glob("finding-*.txt"))]
    crashes = [p.name for p in sorted(folder.iterdir()) if p.name.startswith(("crash-", "timeout-", "oom-", "leak-"))]
    if code and not crashes:
        crashes = [f"ended with code {code}; see {folder / 'log.txt'}"]
    samples = json.loads((folder / "samples.json").read_text()) if (folder / "samples.json").is_file() else 0
    counts = [int(n) for n in re.findall(r"^#(\d+)\s", text, re.MULTILINE)]
    return {
        "group": group,
        "samples": samples,
        "executions": max(counts, default=0),
        "findings": findings + crashes,
    }


# --- the child: one group until its runs are done -----------------------------------------------------------------


def _fuzz(group: str, runs: int, seed: int, out: Path) -> None:
    import atheris

    with atheris.instrument_imports(include=[name.split(".")[0] for name in GUIDED], exclude=_unguided()):
        from einthoven.io import formats

        formats()
        import fuzz_samples

        with tempfile.TemporaryDirectory(dir=_memory_folder()) as place:
            samples = fuzz_samples.samples_of(group, Path(place) / "s")
            _warm(samples)
            _start(atheris, samples, Path(place), runs=runs, seed=seed, out=out)


def _unguided() -> set[str]:
    """Modules of the package that are left as they are: numba compiles some of them."""
    root = Path(find_spec("einthoven").origin).parent
    files = [p.relative_to(root.parent).with_suffix("") for p in root.rglob("*.py")]
    names = {".".join(p.parts).removesuffix(".__init__") for p in files}
    return {name for name in names if not any(f"{name}.".startswith(f"{guided}.") for guided in GUIDED)}


def _memory_folder() -> str | None:
    """A folder in memory, where there is one: a file is written for every execution."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


def _warm(samples: list[Any]) -> None:
    """Read every sample once: it must be valid, and what readers import late is there before memory is bounded."""
    for sample in samples:
        sample.call()


def _start(atheris: Any, samples: list[Any], place: Path, *, runs: int, seed: int, out: Path) -> None:
    corpus = place / "corpus"
    corpus.mkdir()
    for k, sample in enumerate(samples):
        for n, file in enumerate(sample.files):
            (corpus / f"{k}-{n}").write_bytes(bytes([k, n]) + file.read_bytes())
    (out / "samples.json").write_text(json.dumps(sum(len(s.files) for s in samples)))
    flags = [f"-runs={runs}", f"-seed={seed}", f"-max_len={LONGEST}", f"-timeout={SECONDS}", "-rss_limit_mb=0"]
    if any(s.files[0].suffix == ".toml" for s in samples):
        (place / "words").write_text(_dictionary([f for s in samples for f in s.files]))
        flags.append(f"-dict={place / 'words'}")
    _bound_memory()
    atheris.Setup([sys.argv[0], *flags, f"-artifact_prefix={out}/", str(corpus)], _Attempt(samples, out))
    atheris.Fuzz()


def _dictionary(files: list[Path]) -> str:
    """Words of TOML files for the mutator."""
    words = {w for f in files for w in re.findall(r'[A-Za-z_][\w.-]*|-?\d+\.?\d*|"[^"\n]*"|\[\[?|\]\]?', f.read_text())}
    words |= {
        "nan",
        "inf",
        "-1",
        "0",
        "1e300",
        "1e-300",
        "99999999999999999999",
        "true",
        "1979-05-27",
        '""',
        "{}",
        "[]",
    }
    return "\n".join('"' + w.replace("\\", "\\\\").replace('"', '\\"') + '"' for w in sorted(words)) + "\n"


def _bound_memory() -> None:
    """Let an allocation of more than `BYTES` beyond what is used now fail."""
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + BYTES, used + BYTES))


class _Attempt:
    """One execution: the first byte names the sample, the second its file, the rest replaces it."""

    def __init__(self, samples: list[Any], out: Path):
        self.samples, self.out = samples, out
        self.originals = [{f: f.read_bytes() for f in s.files} for s in samples]

    def __call__(self, data: bytes) -> None:
        if len(data) < 2:
            return
        k = data[0] % len(self.samples)
        sample = self.samples[k]
        victim = sample.files[data[1] % len(sample.files)]
        victim.write_bytes(data[2:])
        try:
            with contextlib.redirect_stdout(None), contextlib.redirect_stderr(None):
                problem = attempt(sample)
        finally:
            victim.write_bytes(self.originals[k][victim])
        if problem is not None:
            self._keep(problem, sample, victim, data[2:])

    def _keep(self, problem: tuple[str, str], sample: Any, victim: Path, data: bytes) -> None:
        """Keep each kind of finding once."""
        kind, told = problem
        name = f"finding-{hashlib.sha256(kind.encode()).hexdigest()[:10]}"
        if not (self.out / f"{name}.txt").exists():
            (self.out / f"{name}.bin").write_bytes(data)
            (self.out / f"{name}.txt").write_text(f"{sample.name}, {victim.name}: {kind}\n{told}\n")


def attempt(sample: Any) -> tuple[str, str] | None:
    """Read the sample; return what is wrong with how it ended (kind, details), or None."""
    from einthoven.core import InputError

    try:
        sample.call()
    except InputError as error:
        message = str(error)
        if "\n" in message or "\r" in message:
            return f"a message of several lines from {_place(error)}", repr(message)
        if len(message) > 2000:
            return f"a message of more than 2000 characters from {_place(error)}", message[:300]
        if _out_of_memory(error):
            return f"more than {BYTES >> 20} MB asked for, {_place(error)}", _trace(error)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:
        return f"{type(error).__name__} from {_place(error)}", _trace(error)
    return None


def _out_of_memory(error: BaseException | None) -> bool:
    """Whether memory ran out on the way to this error."""
    while error is not None:
        if isinstance(error, MemoryError) or "Unable to allocate" in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False


def _place(error: BaseException) -> str:
    """The innermost line of the package that it came through."""
    frames = [
        f for f in traceback.extract_tb(error.__traceback__) if "einthoven" in f.filename and "fuzz" not in f.name
    ]
    return f"{Path(frames[-1].filename).name}:{frames[-1].lineno} ({frames[-1].name})" if frames else "outside"


def _trace(error: BaseException) -> str:
    return "".join(traceback.format_exception(error))


if __name__ == "__main__":
    sys.exit(main())
