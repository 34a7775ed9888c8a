"""``python -m einthoven``: the command line, where the script ``einthoven`` is not on the path."""

from einthoven.cli.main import run

if __name__ == "__main__":
    run()
