"""What every script of the gallery does when it is run: write its picture, print its numbers."""

import argparse
import io
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def show(script: str, numbers: Mapping[str, float], figure: "Figure") -> None:
    """Print the numbers, write the picture ``NAME.png`` to ``--out``."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, default=Path("out/gallery"))
    for key, value in numbers.items():
        print(f"{key.replace('_', ' ')}: {value:.4g}")
    print(f"picture: {save(figure, parser.parse_args().out / f'{Path(script).stem}.png')}")


def save(figure: "Figure", path: Path) -> Path:
    """Write a figure as a small PNG: at most 900 pixels wide, 256 colors, no time stamp."""
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    raw = io.BytesIO()
    figure.savefig(raw, format="png", dpi=min(110.0, 900.0 / figure.get_size_inches()[0]))
    picture = Image.open(raw).convert("RGB")
    picture.quantize(256, dither=Image.Dither.NONE).save(path, optimize=True)
    return path
