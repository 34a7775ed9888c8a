"""Datasets as cases: which file is what, in which unit, and what had to be mended."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from einthoven.core import (
    Case,
    Electrodes,
    FileFormatError,
    InputError,
    Recording,
    Region,
    Source,
    Surface,
    VolumeConductor,
)
from einthoven.datasets.registry import Dataset, Downloader, dataset, dataset_file

#: S/m of the torsos here: the usual mean of a human torso, also for the tanks, where it cancels.
TORSO_CONDUCTIVITY = 0.2


@dataclass(frozen=True)
class _Files:
    """The files of one dataset, fetched and verified one by one as they are read."""

    record: Dataset
    downloader: Downloader | None = None
    repairs: list[str] = field(default_factory=list)

    def path(self, name: str) -> Path:
        return dataset_file(self.record.name, name, downloader=self.downloader)

    def array(self, name: str, array: str | None = None) -> np.ndarray:
        from einthoven.io.registry import read

        return np.asarray(read(self.path(name)).array(array))

    def surface(self, name: str, surface_name: str) -> Surface:
        """A surface as its file has it, winding mended where that is needed and said."""
        from einthoven.io.registry import read

        return self.mended(read(self.path(name)).surface().renamed(surface_name))

    def pair(self, points: str, faces: str, surface_name: str) -> Surface:
        """A surface of a ``.pts`` and a ``.fac`` file."""
        from einthoven.io.map3d import read_faces, read_points

        triangles, _ = read_faces(self.path(faces))
        return self.mended(Surface(read_points(self.path(points)), triangles, surface_name))

    def mended(self, surface: Surface) -> Surface:
        flips = int(surface.flips().sum())
        if not flips:
            return surface
        self.repairs.append(f"{surface.name}: the winding of {flips} of {surface.n_triangles} triangles was mended.")
        return surface.repaired()

    def info(self) -> dict[str, str]:
        found = self.record.info
        return found | {"repairs": " ".join(self.repairs)} if self.repairs else found


def load_case(name: str, *, downloader: Downloader | None = None) -> Case:
    """Read a dataset as a case.

    Winding is mended where the original files need it; ``case.info["repairs"]`` says where, and
    ``case.info["notes"]`` what else is to be known. Data recorded against an unknown or unavailable
    reference are average-referenced.

    Parameters
    ----------
    name
        ``utah-cage-tank``, ``utah-sock``, ``dalhousie-2007``, ``dalhousie-map3d`` or ``kit-ventricles``.
    downloader
        As in `einthoven.datasets.dataset_path`.

    Raises
    ------
    InputError
        If there is no such dataset, it has no geometry, or its files are neither at hand nor downloadable.
    """
    record = dataset(name)
    if name not in _LOADERS:
        raise InputError(
            f"{name}: holds a recording without a geometry; read it with einthoven.datasets.load_recording."
        )
    return _LOADERS[name](_Files(record, downloader))


def load_recording(name: str, *, downloader: Downloader | None = None) -> Recording:
    """Read the recording of a dataset.

    Raises
    ------
    InputError
        If there is no such dataset, or it has no recording.
    """
    if name == "ptb-s0010":
        return _ptb(_Files(dataset(name), downloader))
    recording = load_case(name, downloader=downloader).recording
    if recording is None:
        raise InputError(f"{name}: is a geometry without a recording.")
    return recording


def _millisecond_frames(n: int) -> Float[np.ndarray, " n"]:
    return np.arange(n, dtype=np.float64)


def _node_electrodes(skin: Surface, index: Sequence[int] | np.ndarray) -> Electrodes:
    """Electrodes at nodes of the skin, named as those nodes."""
    return Electrodes(tuple(skin.node_names[int(i)] for i in index), skin.points[np.asarray(index)])


def _coinciding_nodes(
    path: Path, skin: Surface, positions: Float[np.ndarray, "n 3"], *, tolerance: float
) -> Int[np.ndarray, " n"]:
    """Node of the skin at every position; all within `tolerance` mm and different."""
    from scipy.spatial import KDTree

    distance, index = (np.atleast_1d(found) for found in KDTree(skin.points).query(positions))
    if distance.max() > tolerance or len(np.unique(index)) < len(index):
        raise FileFormatError(
            path,
            f"its points should be nodes of {skin.name}; one is {distance.max():.3g} mm away, or two share a node.",
        )
    return index.astype(np.int64)


def _homogeneous(skin: Surface) -> VolumeConductor:
    return VolumeConductor(Region(skin, TORSO_CONDUCTIVITY))


def _utah_cage_tank(files: _Files) -> Case:
    tank, cage = files.surface("tank.fld", "tank"), files.surface("cage.fld", "cage")
    measured = files.path("tank_measured_only.fld")
    from einthoven.io.registry import read

    index = _coinciding_nodes(measured, tank, read(measured).surface().points, tolerance=1e-3)
    electrodes = _node_electrodes(tank, index)
    values = files.array("Utankr.mat")
    recording = Recording(values, _millisecond_frames(values.shape[1]), electrodes.names, "bsp", "average")
    potentials = files.array("Ucager.mat")
    truth = Recording(potentials, _millisecond_frames(potentials.shape[1]), cage.node_names, "hsp", "recorder")
    return Case(
        files.record.name,
        _homogeneous(tank),
        (Source(cage, "hsp", truth),),
        electrodes,
        recording,
        files.info(),
    )


def _utah_sock(files: _Files) -> Case:
    tank = files.pair("tank_full_771.pts", "tank_full_771.fac", "tank")
    sock = files.pair("25feb97_sock_closed.pts", "25feb97_sock_closed.fac", "sock")
    from einthoven.io.map3d import read_points

    leads = files.path("tank_leads_192.pts")
    electrodes = _node_electrodes(tank, _coinciding_nodes(leads, tank, read_points(leads), tolerance=1e-3))
    stored = files.array("cool1-atdr-run1.mat")
    if stored.shape[0] != 512:
        raise FileFormatError(files.path("cool1-atdr-run1.mat"), f"should have 512 channels; got {stored.shape}.")
    millivolts = stored.astype(np.float64) / 1000.0
    times = _millisecond_frames(stored.shape[1])
    raw = Recording(millivolts[0:192], times, electrodes.names, "bsp", "recorder")
    truth = Recording(millivolts[192:320], times, sock.node_names, "hsp", "recorder")
    return Case(
        files.record.name,
        _homogeneous(tank),
        (Source(sock, "hsp", truth),),
        electrodes,
        raw.average_referenced(),
        files.info(),
    )


def _dalhousie_2007(files: _Files) -> Case:
    torso = files.pair("case0003_b352.pts", "daltorso.fac", "torso")
    heart = files.pair("case0003_h1100.pts", "case0003_h1100.fac", "epicardium")
    times, potentials = _glasgow_map(files.path("case0001.dat"))
    electrodes = _node_electrodes(torso, np.arange(torso.n_points))
    raw = Recording(potentials / 1000.0, times, electrodes.names, "bsp", "wilson")
    return Case(
        files.record.name,
        _homogeneous(torso),
        (Source(heart, "hsp"),),
        electrodes,
        raw.average_referenced(),
        files.info(),
    )


def _glasgow_map(path: Path) -> tuple[Float[np.ndarray, " n_times"], Float[np.ndarray, "352 n_times"]]:
    """Times, ms, and potentials, uV, of 4 header lines and rows of sample, time, flags, RA, LA, LL, nodes 1..352."""
    try:
        with path.open(encoding="ascii", errors="replace") as file:
            table = np.loadtxt(file, skiprows=4, ndmin=2)
    except ValueError as error:
        raise FileFormatError(path, f"is not the map it should be: {str(error).splitlines()[0]}") from error
    if table.shape[1] != 6 + 352:
        raise FileFormatError(path, f"should have 358 numbers per line; got {table.shape[1]}.", where="line 5")
    return table[:, 1], np.ascontiguousarray(table[:, 6:].T)


def _dalhousie_map3d(files: _Files) -> Case:
    torso = files.pair("daltorso.pts", "daltorso.fac", "torso")
    heart = files.pair("dalepi.pts", "dalepi.fac", "epicardium")
    frames = [files.array(f"dipole2_00{k}.pot").reshape(-1) for k in range(1, 7)]
    electrodes = _node_electrodes(torso, np.arange(torso.n_points))
    raw = Recording(np.stack(frames, axis=1), _millisecond_frames(len(frames)), electrodes.names, "bsp", "recorder")
    return Case(
        files.record.name,
        _homogeneous(torso),
        (Source(heart, "hsp"),),
        electrodes,
        raw.average_referenced(),
        files.info(),
    )


def _kit_ventricles(files: _Files) -> Case:
    torso = files.surface("ventricles/torso.mat", "torso")
    heart = files.surface("ventricles/heart_res1.mat", "ventricles")
    pericardium = files.surface("ventricles/heart_peri_res1.mat", "pericardium")
    path = files.path("ventricles/electrodes_torso.mat")
    nodes = files.array("ventricles/electrodes_torso.mat").reshape(-1)
    if nodes.min() < 1 or nodes.max() > torso.n_points or (nodes != np.round(nodes)).any():
        raise FileFormatError(path, f"should hold nodes 1..{torso.n_points}; got {nodes.min()}..{nodes.max()}.")
    electrodes = _node_electrodes(torso, nodes.astype(np.int64) - 1)
    sources = (Source(heart, "vm"), Source(pericardium, "hsp"))
    return Case(files.record.name, _homogeneous(torso), sources, electrodes, None, files.info())


def _ptb(files: _Files) -> Recording:
    from einthoven.io.registry import read

    files.path("s0010_re.dat")
    return read(files.path("s0010_re.hea")).recording(quantity="ecg", reference="wilson")


_LOADERS: dict[str, Callable[[_Files], Case]] = {
    "utah-cage-tank": _utah_cage_tank,
    "utah-sock": _utah_sock,
    "dalhousie-2007": _dalhousie_2007,
    "dalhousie-map3d": _dalhousie_map3d,
    "kit-ventricles": _kit_ventricles,
}
