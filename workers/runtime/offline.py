"""A stage's computation on folders, without broker or store: what each `python -m workers.<stage>` runs."""

import argparse
import json
import sys
from importlib import import_module
from pathlib import Path
from typing import Any


def main(module: str, parameters: dict[str, Any]) -> None:
    """`module.run` on `--in` and `--out`; prints what it returns, as JSON.

    The input folder holds what a job's does: `upload/`, or `dataset/`, `masks/` and `mesh/`.
    """
    parser = argparse.ArgumentParser(prog=f"python -m {module.rpartition('.')[0]}")
    parser.add_argument("--in", dest="inputs", type=Path, required=True, metavar="DIR")
    parser.add_argument("--out", dest="outputs", type=Path, required=True, metavar="DIR")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=JSON",
        help=f"a parameter; the defaults are {json.dumps(parameters)}",
    )
    arguments = parser.parse_args()
    for setting in arguments.set:
        name, _, value = setting.partition("=")
        if name not in parameters:
            parser.error(f"there is no parameter {name!r}; there are {', '.join(parameters)}")
        try:
            parameters = parameters | {name: json.loads(value)}
        except ValueError:
            parser.error(f"{name} wants JSON, as in --set '{name}={json.dumps(parameters[name])}'")
    if not arguments.inputs.is_dir():
        parser.error(f"there is no folder {arguments.inputs}")
    arguments.outputs.mkdir(parents=True, exist_ok=True)

    def report(fraction: float, info: dict[str, Any]) -> None:
        print(f"{fraction:6.1%}  {info.get('step', '')}", file=sys.stderr)

    try:
        result = import_module(module).run(arguments.inputs, arguments.outputs, parameters, report)
    except Exception as error:
        if not hasattr(error, "code"):
            raise
        sys.exit(f"{error} ({error.code})")
    print(json.dumps(result, indent=1))
