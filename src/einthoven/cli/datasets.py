"""``einthoven datasets``: list, get, path."""

from typing import Annotated

import typer

from einthoven.cli import console

datasets_app = typer.Typer(help="Measured recordings and geometries: list, get, path.", no_args_is_help=True)


@datasets_app.command("list")
def list_(json: Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")] = False) -> None:
    """List the datasets with size, licence and whether they are here."""
    from einthoven.datasets import is_local, list_datasets

    rows = [
        {
            "name": d.name,
            "title": d.title,
            "size_mb": round(d.size / 1e6, 1),
            "licence": d.licence,
            "here": is_local(d.name),
        }
        for d in list_datasets()
    ]
    if json:
        console.say_json(rows)
        return
    for row in rows:
        console.say(f"{row['name']:<16}{row['size_mb']:>6.1f} MB  {'here' if row['here'] else 'to download'}")
        console.say(f"    {row['title']}")
        console.say(f"    licence: {row['licence']}")


@datasets_app.command()
def get(
    name: Annotated[str, typer.Argument(help="A name from `einthoven datasets list`.")],
    json: Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")] = False,
) -> None:
    """Fetch a dataset (checksums verified) and show its licence and citation."""
    from einthoven.datasets import dataset, dataset_path

    record = dataset(name)
    folder = dataset_path(name)
    if json:
        console.say_json({"name": name, "path": str(folder), "licence": record.licence, "citation": record.citation})
        return
    console.say(f"{name}: {folder}")
    console.say(f"  licence   {record.licence}")
    console.say(f"  citation  {record.citation}")
    console.say(f"  origin    {record.origin}")


@datasets_app.command()
def path(name: Annotated[str, typer.Argument(help="A name from `einthoven datasets list`.")]) -> None:
    """Print the folder of a dataset, fetching it first if needed."""
    from einthoven.datasets import dataset_path

    console.say(str(dataset_path(name)))
