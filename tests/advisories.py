"""The known advisories of the packages of hashes.txt, by pip-audit; without a connection, the last.

    python -m tests.advisories PIP-AUDIT FOLDER

FOLDER keeps the last answer of the database, for the packages that it was asked about. Exit code 0
without advisories, 1 with some, 2 if nothing is known.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import click

from lmedge.files import write_json
from tests.locations import ROOT

WORDS = ("--strict", "--require-hashes", "--disable-pip", "--format", "json", "--progress-spinner")
KEPT = "advisories.json"


def main(command: str, folder: Path, packages: Path = ROOT / "hashes.txt") -> int:
    """Ask, keep the answer, and print it in lines; return the exit code."""
    digest = hashlib.sha256(packages.read_bytes()).hexdigest()
    words = [command, *WORDS, "off", "--requirement", str(packages)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    answer: dict[str, Any] | None = _answer(done.stdout)
    day = datetime.datetime.now(tz=datetime.UTC).date().isoformat()
    if answer is not None:
        write_json(folder / KEPT, {"day": day, "packages": digest, "answer": answer})
    else:
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        click.echo(f"not answered: {reason[:200]}")
        kept = json.loads((folder / KEPT).read_text("utf-8")) if (folder / KEPT).exists() else {}
        if kept.get("packages") != digest:
            click.echo("no answer for these packages was kept; run `make audit` with a connection")
            return 2
        answer, day = kept["answer"], kept["day"]
    found = [
        f"{one['name']} {one['version']}: {', '.join(each['id'] for each in one['vulns'])}"
        for one in answer["dependencies"]
        if one.get("vulns")
    ]
    checked = len(answer["dependencies"])
    click.echo("\n".join([*found, f"{day}: {checked} packages, {len(found)} with advisories"]))
    return 1 if found else 0


def _answer(text: str) -> dict[str, Any] | None:
    """Return what pip-audit found; None if it could not look up every package."""
    try:
        answer = json.loads(text)
        whole = all("vulns" in one for one in answer["dependencies"])
    except (ValueError, TypeError, LookupError):
        return None
    return answer if whole else None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2])))
