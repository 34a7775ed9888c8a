"""Speed of the transfer operator: fresh processes, cold and warm compilation cache, scaling, peers.

    python benchmarks/forward_speed.py --out out/bench [--smoke] [--peers]

The main case is the cage in its tank (602 and 771 nodes) where ``EINTHOVEN_DATA_DIR`` names the measured data,
otherwise two spheres of 642 nodes. Every figure comes from a process of its own that measures from its very first
statement, so that imports count. ``--peers`` adds bempp-cl 0.4.2 and OpenMEEG 2.6.0, each in a virtual environment of
its own that is made below the cache folder when it is not there. Timings mean something on an idle machine only.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from _tables import markdown

#: Name of the package and version of every peer.
PEERS = {"bempp": ("bempp-cl==0.4.2",), "openmeeg": ("openmeeg==2.6.0",)}

# Put before every program. On Linux the resident peak of getrusage starts at what the parent held when it forked; the
# high water mark of the process's own memory does not.
PEAK = """
def peak_mib():
    try:
        with open("/proc/self/status") as lines:
            return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 2**10
    except OSError:
        import resource
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
"""

OURS = """
import time; start = time.perf_counter()
import json, sys
import numpy as np
from einthoven.core import Region, Surface, VolumeConductor
from einthoven.forward import bem
data = np.load(sys.argv[1])
heart = Surface(data["heart"], data["heart_triangles"], "heart")
volume = VolumeConductor(Region(Surface(data["skin"], data["skin_triangles"], "torso"), 0.2))
imported = time.perf_counter()
operator = bem.transfer(heart, volume)
first = time.perf_counter()
again = None
if sys.argv[2] == "twice":
    bem.transfer(heart, volume)
    again = time.perf_counter() - first
np.save(sys.argv[3], operator.matrix)
memory = peak_mib()
times = {"imports (s)": imported - start, "total (s)": first - start, "again (s)": again}
print(json.dumps(times | {"peak (MiB)": memory}))
"""

# Galerkin with linear elements: the equations of einthoven.forward.bem tested with the shape functions. The second pass
# of the same process shows the time without compilation.
BEMPP = """
import time; start = time.perf_counter()
import json, sys
import numpy as np
import bempp_cl.api as b
data = np.load(sys.argv[1])
imported = time.perf_counter()
def build():
    t0 = time.perf_counter()
    def grid(name):
        return b.Grid(data[name].T.copy(), data[name + "_triangles"].T.astype(np.uint32).copy())
    h, s = (b.function_space(grid(n), "P", 1) for n in ("heart", "skin"))
    lap, mass = b.operators.boundary.laplace, b.operators.boundary.sparse.identity
    K = lambda dom, test: lap.double_layer(dom, test, test, device_interface="numba").weak_form().A
    V = lambda dom, test: lap.single_layer(dom, test, test, device_interface="numba").weak_form().A
    M = lambda x: mass(x, x, x).weak_form().to_sparse().toarray()
    kss, ksh, khs, khh = K(s, s), K(h, s), K(s, h), K(h, h)
    vsh, vhh = V(h, s), V(h, h)
    t1 = time.perf_counter()
    y = np.linalg.solve(vhh.T, vsh.T).T
    left = 0.5 * M(s) + kss - y @ khs
    right = y @ (0.5 * M(h) - khh) + ksh
    matrix = np.linalg.solve(left, right)
    return matrix, t1 - t0, time.perf_counter() - t1
matrix, _, _ = build()
first = time.perf_counter() - start
_, assembly, solve = build()
np.save(sys.argv[3], matrix)
memory = peak_mib()
print(json.dumps({"imports (s)": imported - start, "total (s)": first, "again (s)": assembly + solve,
                  "again: assembly (s)": assembly, "again: solve (s)": solve, "peak (MiB)": memory}))
"""

# The symmetric formulation has no operator from heart to skin potentials: this times its system matrix for the same two
# surfaces (potentials on both and currents on the inner one) and its inversion.
OPENMEEG = """
import time; start = time.perf_counter()
import json, sys
import numpy as np
import openmeeg as om
from openmeeg._openmeeg_wrapper import OrientedMesh, SimpleDomain
data = np.load(sys.argv[1])
meshes = {n: (data[n], data[n + "_triangles"]) for n in ("heart", "skin")}
sides = {n: [(n, OrientedMesh.Normal)] for n in meshes}
inside, outside = SimpleDomain.Inside, SimpleDomain.Outside
domains = {"Torso": ([("heart", outside), ("skin", inside)], 0.2), "Heart": ([("heart", inside)], 0.2),
           "Air": ([("skin", outside)], 0.0)}
imported = time.perf_counter()
geometry = om.make_geometry(meshes, sides, domains)
system = om.HeadMat(geometry)
assembled = time.perf_counter()
system.invert()
end = time.perf_counter()
memory = peak_mib()
print(json.dumps({"imports (s)": imported - start, "total (s)": end - start, "assembly (s)": assembled - imported,
                  "solve (s)": end - assembled, "peak (MiB)": memory, "unknowns": int(system.nlin())}))
"""


def fibonacci(n: int, radius: float) -> tuple[np.ndarray, np.ndarray]:
    """Nodes spread evenly over a sphere, any number of them, and the triangles of their hull, outward."""
    from scipy.spatial import ConvexHull

    z = 1 - (2 * np.arange(n) + 1) / n
    angle = np.pi * (1 + np.sqrt(5)) * np.arange(n)
    ring = np.sqrt(1 - z**2)
    points = np.stack([ring * np.cos(angle), ring * np.sin(angle), z], axis=1)
    triangles = ConvexHull(points).simplices.astype(np.int64)
    a, b, c = points[triangles].transpose(1, 0, 2)
    inward = np.einsum("ij,ij->i", np.cross(b - a, c - a), a + b + c) < 0
    return radius * points, np.where(inward[:, None], triangles[:, ::-1], triangles)


def spheres(n: int, file: Path) -> Path:
    heart, skin = fibonacci(n, 50.0), fibonacci(n, 100.0)
    np.savez(file, heart=heart[0], heart_triangles=heart[1], skin=skin[0], skin_triangles=skin[1])
    return file


def main_case(folder: Path) -> tuple[str, Path]:
    """The cage and its tank as arrays, or two spheres."""
    data_dir = os.environ.get("EINTHOVEN_DATA_DIR")
    pair = Path(data_dir) / "utah_cage_tank" / "cage_tank.npz" if data_dir else None
    if pair is None or not pair.is_file():
        return "spheres 642 + 642", spheres(642, folder / "spheres.npz")
    z, file = np.load(pair), folder / "cage.npz"
    np.savez(
        file,
        heart=z["cage602_pts_mm"],
        heart_triangles=z["cage602_tri"].astype(np.int64),
        skin=z["tank771_pts_mm"],
        skin_triangles=z["tank771_tri"].astype(np.int64),
    )
    return "cage/tank 602 + 771", file


def timed(python: Path, program: str, case: Path, *, twice: bool = False, cache: Path | None = None) -> dict:
    """Run a program in a fresh process; its last line of output is a JSON record."""
    environment = os.environ | ({"NUMBA_CACHE_DIR": str(cache)} if cache else {})
    arguments = [str(case), "twice" if twice else "once", str(case.with_suffix(".npy"))]
    command = [str(python), "-c", PEAK + program, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        return {"failed": done.stderr.strip().splitlines()[-1] if done.stderr.strip() else str(done.returncode)}
    return json.loads(done.stdout.strip().splitlines()[-1])


def peer_python(name: str, cache: Path) -> Path | None:
    """Python of a peer's own environment, made when it is not there; None if it cannot be installed."""
    folder = cache / f"peer-{name}"
    python = folder / "bin" / "python"
    if not python.is_file():
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *PEERS[name]]
        if subprocess.run(install, check=False).returncode:
            return None
    return python


def peers(case: Path, cache: Path) -> list[dict]:
    """Time the peers on the main case and compare bempp-cl's matrix with ours."""
    ours, rows = np.load(case.with_suffix(".npy")), []
    for name, program in (("bempp", BEMPP), ("openmeeg", OPENMEEG)):
        python = peer_python(name, cache)
        row: dict = {"code": " ".join(PEERS[name])}
        if python is None:
            rows.append(row | {"failed": "could not be installed"})
            continue
        row |= timed(python, program, case)
        if name == "bempp" and "failed" not in row:
            matrix = np.load(case.with_suffix(".npy"))
            row["difference from ours (%)"] = 100 * float(np.linalg.norm(matrix - ours) / np.linalg.norm(ours))
        rows.append(row)
    return rows


def scaling(sizes: tuple[int, ...], folder: Path) -> list[dict]:
    """Time and peak memory over the number of nodes, warm cache, with the memory that was foretold."""
    from einthoven.forward.bem import estimate_memory

    rows = []
    for n in sizes:
        row = timed(Path(sys.executable), OURS, spheres(n, folder / f"spheres{n}.npz"))
        rows.append({"nodes": f"{n} + {n}"} | row | {"estimate (MiB)": estimate_memory(n, n, n) / 2**20})
    return rows


def machine() -> str:
    """Processor, cores and versions, for the table's head."""
    import numba

    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        lines = [
            line.split(":", 1)[1].strip() for line in cpuinfo.read_text().splitlines() if line.startswith("model name")
        ]
        model = lines[0] if lines else model
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    return (
        f"{model}, {os.cpu_count()} cores, Python {platform.python_version()}, NumPy {np.__version__}, Numba "
        f"{numba.__version__}, float64, load {load:.2f} at the start"
    )


def main(out: Path, smoke: bool, *, with_peers: bool = False, cache: Path | None = None) -> dict:
    """Time everything, print the tables and write them under `out`."""
    head = machine()
    tables: dict[str, list[dict]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if smoke:
            label, case = "spheres 100 + 100", spheres(100, folder / "small.npz")
        else:
            label, case = main_case(folder)
        compiled = folder / "numba"
        runs = [] if smoke else [("first run ever (compiles)", {"cache": compiled})]
        runs += [("fresh process", {"cache": None if smoke else compiled, "twice": True})] * (1 if smoke else 5)
        rows = [{"run": run} | timed(Path(sys.executable), OURS, case, **settings) for run, settings in runs]
        tables[f"Fresh processes, {label}"] = rows
        tables["Scaling, concentric spheres"] = scaling((100, 200) if smoke else (500, 1000, 2000, 5000), folder)
        if with_peers:
            where = cache or Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "einthoven"
            timed(Path(sys.executable), OURS, case)
            tables[f"Peers, {label}"] = peers(case, where)
    out.mkdir(parents=True, exist_ok=True)
    (out / "forward_speed.json").write_text(json.dumps({"machine": head, "tables": tables}, indent=1))
    text = f"# Speed of the transfer operator\n\n{head}\n\n" + markdown(tables, digits=3)
    (out / "forward_speed.md").write_text(text)
    print(text)
    return tables


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("out/bench"), help="folder for the tables")
    parser.add_argument("--smoke", action="store_true", help="small meshes, seconds")
    parser.add_argument("--peers", action="store_true", help="bempp-cl and OpenMEEG as well")
    parser.add_argument("--cache", type=Path, default=None, help="folder for the peers' environments")
    arguments = parser.parse_args()
    main(arguments.out, arguments.smoke, with_peers=arguments.peers, cache=arguments.cache)
