"""Record the cassettes again: `python -m tests.cassettes_record [vendor …]`.

Against a real org where its credentials are in the environment (the vendors' `recordings.real` say which), else against the
sandbox. Real orgs are only read: their scenarios are those whose name does not begin with `write`.
"""

import importlib
import os
import re
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import connectors
from tests.cassette_kit import FOLDER, Recordings, Session, faults_of, recordings_of, tape


def main(arguments: list[str]) -> int:
    vendors = arguments or list(connectors.names())
    for vendor in vendors:
        try:
            module = importlib.import_module(f"tests.connectors.{vendor}.recordings")
        except ModuleNotFoundError:
            print(f"{vendor}: no recordings")
            continue
        provenance, names = _record(vendor, recordings_of(module))
        _note(vendor, provenance, names)
    return 0


def _record(vendor: str, recordings: Recordings) -> tuple[str, list[str]]:
    """Record every scenario of a vendor; (provenance, names)."""
    provenance, names = "", []
    real = recordings.real(os.environ)
    for name in sorted(recordings.SCENARIOS):
        if real is not None:
            if name.startswith("write"):
                continue
            _record_one(vendor, name, recordings, real)
            provenance = real.provenance
        else:
            with tempfile.TemporaryDirectory() as folder, recordings.practice(Path(folder)) as session:
                _record_one(vendor, name, recordings, session)
                provenance = session.provenance
        names.append(name)
        print(f"{vendor}/{name}: recorded from {provenance}")
    return provenance, names


def _record_one(vendor: str, name: str, recordings: Recordings, session: Session) -> None:
    (FOLDER / vendor).mkdir(parents=True, exist_ok=True)
    connector = session.connect()
    with tape(vendor, name, session):
        recordings.SCENARIOS[name](connector)
    connector.close()
    path = FOLDER / vendor / f"{name}.yaml"
    faults = sorted(set(faults_of(path.read_text("utf-8"))))
    if faults:
        path.unlink()
        raise SystemExit(f"{path.name} was not kept: it holds {', '.join(faults)}")


def _note(vendor: str, provenance: str, names: list[str]) -> None:
    """Provenance and date of a vendor's cassettes, into the table of the README."""
    readme = FOLDER / "README.md"
    today = datetime.now(UTC).date().isoformat()
    row = f"| {vendor} | {', '.join(names)} | {provenance} | {today} |"
    text = readme.read_text("utf-8")
    pattern = re.compile(rf"^\| {vendor} \|.*$", re.MULTILINE)
    text = pattern.sub(lambda _: row, text) if pattern.search(text) else text.rstrip("\n") + f"\n{row}\n"
    readme.write_text(text, "utf-8")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
