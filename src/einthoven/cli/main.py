"""The ``einthoven`` command: one subcommand per verb, one clear line per mistake."""

import os
import sys
from typing import Annotated

import typer
from typer.exceptions import TyperException

import einthoven
from einthoven.cli import console
from einthoven.cli.bench import bench_app
from einthoven.cli.calibrate import calibrate
from einthoven.cli.challenge import challenge_app
from einthoven.cli.datasets import datasets_app
from einthoven.cli.files import convert, info, score
from einthoven.cli.fit import fit
from einthoven.cli.forward import forward
from einthoven.cli.image import image
from einthoven.cli.simulate import simulate
from einthoven.cli.surrogate import surrogate_app
from einthoven.cli.worker import worker
from einthoven.core import InputError

app = typer.Typer(
    name="einthoven",
    help="The heart's electric field, both ways: forward operators and electrocardiographic imaging.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command()(image)
app.command()(fit)
app.command()(calibrate)
app.command()(forward)
app.command()(simulate)
app.command()(score)
app.command()(convert)
app.command()(info)
app.command()(worker)
app.add_typer(surrogate_app, name="surrogate")
app.add_typer(bench_app, name="bench")
app.add_typer(challenge_app, name="challenge")
app.add_typer(datasets_app, name="datasets")

#: Exit code of a run that was stopped by the user, and what is said then.
INTERRUPTED = 130
INTERRUPTION = "interrupted; results of an earlier run, if there were any, are as they were."


def _print_version(wanted: bool | None) -> None:
    if wanted:
        console.say(f"einthoven {einthoven.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool | None, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = None,
) -> None:
    """The heart's electric field, both ways."""


def run() -> None:
    """Run the command line; every failure is one line and a non-zero exit code.

    Exit codes: 0 success, 2 a mistake that the user can mend, 1 anything else, 130 interrupted. Set
    ``EINTHOVEN_TRACEBACK=1`` to see the traceback of an internal error.
    """
    try:
        code = app(standalone_mode=False)
    except TyperException as problem:
        if not str(problem):  # help was asked for by giving no command
            raise SystemExit(2) from None
        console.fail(f"{str(problem).rstrip('.')}. See `einthoven --help`.")
    except (KeyboardInterrupt, typer.Abort):
        console.fail(INTERRUPTION, code=INTERRUPTED)
    except InputError as problem:
        console.fail(str(problem))
    except MemoryError as problem:
        console.fail(f"out of memory: {problem or 'the case is too large'}. Decimate the surfaces.", code=1)
    except BrokenPipeError:
        sys.stderr.close()
        raise SystemExit(1) from None
    except OSError as problem:
        where = f"{problem.filename}: " if problem.filename else ""
        console.fail(f"{where}{problem.strerror or problem}.")
    except Exception as problem:
        if os.environ.get("EINTHOVEN_TRACEBACK"):
            raise
        console.fail(
            f"internal error: {type(problem).__name__}: {problem}. This is a bug in einthoven; set "
            "EINTHOVEN_TRACEBACK=1 to see where, and report it.",
            code=1,
        )
    if code == INTERRUPTED:
        console.fail(INTERRUPTION, code=INTERRUPTED)
    raise SystemExit(code or 0)
