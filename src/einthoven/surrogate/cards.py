"""The card of a surrogate as text: its data, training, scores and limits, and the commands that make it again."""

from collections.abc import Mapping, Sequence
from typing import Any

#: Columns of the scores, with the number of digits.
_COLUMNS = {
    "n": ("ECGs", 0),
    "r2_mean": ("R2 mean", 4),
    "r2_p05": ("5 %", 4),
    "r2_min": ("least", 3),
    "activation_error_ms": ("LAT ms", 2),
    "flagged": ("flagged", 2),
    "below": ("in bound", 2),
}


def card_text(name: str, card: Mapping[str, Any]) -> str:
    """Return a card as Markdown.

    Parameters
    ----------
    name
        Of the weights.
    card
        As stored with them (`einthoven.surrogate.models.load_surrogate`).
    """
    parts = [f"# {name}", card["title"] + ".", _facts(card)]
    if card.get("scores"):
        parts.append("Scores on sheets that were neither trained on nor chose anything:")
        parts += [_scores(group) for group in card["scores"]]
    parts.append(_ends(card["limits"]))
    if card.get("commands"):
        parts.append("Made again by:\n\n```\n" + "\n".join(card["commands"]) + "\n```")
    return "\n\n".join(parts) + "\n"


def _facts(card: Mapping[str, Any]) -> str:
    origin, recipe, configuration = card["origin"], card["recipe"], card["configuration"]
    trained_on = [c for c in recipe["condition"] if c["name"] not in configuration.get("leave_out", ())]
    conditions = ", ".join(f"{c['sheets']} {c['name']}" for c in trained_on)
    found = ", ".join(f"{k} {v:.4g}" for k, v in card["validation"].items() if k not in ("loss", "score"))
    network = ", ".join(f"{k} {_plain(v)}" for k, v in configuration["network"].items())
    rows = {
        "model": f"`{configuration['model']}` ({network}), {card['parameters']} parameters",
        "trained on": f"{card['training_sheets']} sheets of the set “{recipe['title']}” ({conditions}), set seed "
        f"{recipe['seed']}",
        "sheets": f"{origin['size']:g} x {origin['size']:g} mm, grid of {origin['spacing']:g} mm, cells "
        f"`{origin['membrane']}`",
        "training": f"seed {card['seed']}, {configuration['epochs']} epochs of which {card['best_epoch']} is kept, "
        f"{card['training_seconds'] / 60:.0f} min on {card['machine']['processor']}",
        "validation sheets": found,
        "versions": ", ".join(f"{k} {v}" for k, v in card["versions"].items()),
    }
    if "pixel" in configuration:
        rows["movie"] = f"pixels of {configuration['pixel']:g} mm, a frame every {recipe['movie_every']:g} ms"
    return "\n".join(f"- **{k}**: {v}" for k, v in rows.items())


def _plain(value: Any) -> str:
    return " + ".join(map(str, value)) if isinstance(value, list) else str(value)


def _scores(group: Mapping[str, Any]) -> str:
    """One set: its table."""
    rows: Sequence[Mapping[str, Any]] = group["rows"]
    columns = {k: v for k, v in _COLUMNS.items() if k in rows[0]}
    head = "| " + " | ".join(["condition", *(title for title, _ in columns.values())]) + " |"
    lines = [head, "|" + "---|" * (1 + len(columns))]
    for row in rows:
        cells = [f"{row[k]:.{digits}f}" for k, (_, digits) in columns.items()]
        lines.append(f"| {row['condition']} | " + " | ".join(cells) + " |")
    return f"“{group['set']}”, {group['split']} sheets:\n\n" + "\n".join(lines)


def _ends(limits: Mapping[str, Any]) -> str:
    rows = zip(limits["names"], limits["mean"], limits["spread"], strict=True)
    known = "\n".join(f"| {name} | {mean:.3g} | {spread:.3g} |" for name, mean, spread in rows)
    return (
        "Limits: a sheet is flagged where these numbers, taken together, are farther from those of the most similar "
        "training sheet than 98 of 100 training sheets are from theirs.\n\n"
        "| number | mean | standard deviation |\n|---|---|---|\n" + known
    )
