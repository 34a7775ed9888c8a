"""From a CASE text to a case: a built-in phantom, a dataset name, or a path."""

from pathlib import Path

from einthoven.core import Case, InputError
from einthoven.core.progress import Progress, silent

#: The beat of the phantom's ventricles, by number of electrodes; needs no file.
PHANTOMS = {"phantom": 120, "phantom-12": 12, "phantom-64": 64, "phantom-120": 120, "phantom-192": 192}

#: The wave on the phantom's heart surface.
PHANTOM_SURFACE = "phantom-surface"

#: Names of all cases that need no file.
BUILT_IN = (*PHANTOMS, PHANTOM_SURFACE)


def dataset_names() -> tuple[str, ...]:
    """Names of the datasets."""
    from einthoven.datasets import list_datasets

    return tuple(record.name for record in list_datasets())


def is_named(text: str) -> bool:
    """Whether the text names a built-in case or a dataset, rather than a path."""
    return text in BUILT_IN or text in dataset_names()


def open_case(text: str, *, keep: bool = True, progress: Progress = silent) -> Case:
    """Return the case that a name or a path stands for; the built-in ones are simulated, once on a machine.

    Parameters
    ----------
    text
        ``phantom`` (or ``phantom-64`` and the like), ``phantom-surface``, the name of a dataset, a folder with
        ``case.toml``, the ``case.toml`` itself, or a Zarr store. A path wins over a name when it is written as one
        (``./phantom``).
    keep
        Take what a built-in case is made of from the user's cache, and keep it there (`einthoven.studies.kept`).
    progress
        Told about the simulation of a built-in case.

    Raises
    ------
    InputError
        If it is none of these; the message lists the names.
    """
    from einthoven.datasets import load_case
    from einthoven.io.cases import read_case

    if text in PHANTOMS:
        from einthoven.studies.phantom_beat import phantom_case

        return phantom_case(electrodes=PHANTOMS[text], keep=keep, progress=progress)
    if text == PHANTOM_SURFACE:
        from einthoven.studies.phantom_surface import phantom_surface_case

        return phantom_surface_case(keep=keep, progress=progress)
    if text in dataset_names():
        return load_case(text)
    path = Path(text).expanduser()
    if not text.strip() or not path.exists():
        raise InputError(
            f"{text or 'an empty name'}: no such case; give a folder with case.toml, a case.zarr store, or one of: "
            f"{', '.join([*BUILT_IN, *dataset_names()])}."
        )
    return read_case(path)


def convert(source: str, target: Path, *, unit: str | None = None) -> None:
    """Write a case, a dataset or a file in the form the target's name asks for.

    A named case is written as a folder, or as a Zarr store if the target ends in ``.zarr``; for paths see
    `einthoven.io.cases.convert`. A recording whose file does not state its unit needs `unit`.
    """
    from einthoven.io import cases, read, write

    path = Path(source).expanduser()
    if is_named(source):
        cases.write_case(open_case(source), target)
        return
    if unit is None and (cases.is_case(path) or path.suffix in (".npz", ".zarr") or not path.is_file()):
        cases.convert(path, target)
        return
    content = read(path)
    if content.time_series is None:
        if unit is not None:
            raise InputError(f"{path}: holds no recording with times, so that --unit means nothing; leave it out.")
        cases.convert(path, target)
        return
    if unit is None and not content.states_unit:
        raise InputError(f"{path}: does not state the unit of its potentials; give --unit mV, uV or V.")
    write(content.recording(unit=unit), target)
