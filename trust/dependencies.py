"""What the package depends on: licences, a bill of materials, known holes, and the lowest versions.

`python trust/dependencies.py` prints the table of licences and what `pip-audit` finds, where that is
installed (`pip install pip-audit`) and reaches its database; `--holes insecure.json` looks in that file of
the Safety database instead (pyupio/safety-db), which needs no network. `--sbom FILE` writes a bill of
materials (CycloneDX 1.6, JSON). `--lowest` prints the lowest version of each dependency that pyproject.toml
allows, for `pip install -r`. Exit code 1 where a licence is unknown or does not go with MIT, or a known hole
is found.
"""

import argparse
import json
import re
import shutil
import subprocess
import sys
import tomllib
import uuid
from importlib.metadata import Distribution, PackageNotFoundError, distribution, requires
from pathlib import Path

from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

PACKAGE = "dualcontrast"
PYPROJECT = Path(__file__).parents[1] / "pyproject.toml"
# Names as packages write them. MPL asks that changes to its own files stay open, which asks nothing of us.
COMPATIBLE = re.compile(
    r"\b(MIT|BSD|Apache|Python Software Foundation|PSF|ISC|Zlib|0BSD|CC0|HPND|MPL|Mozilla|Unlicense|BSL)\b"
)
FORBIDDEN = re.compile(r"\b(A?GPL|LGPL|GNU|SSPL|proprietary|commercial)\b", re.IGNORECASE)
# What a CUDA build of torch brings: NVIDIA's, free to use and no part of what is given on with this package.
OF_CUDA = re.compile(r"(nvidia|cuda)-")
# Licences of a part that is not imported: here, a mode for the editor Emacs.
OF_A_PART = {"docutils": "General Public License"}
# Some licences are told in the text of the file only.
TOLD_BY_TEXT = {
    "Permission is hereby granted, free of charge": "MIT",
    "Redistribution and use in source": "BSD",
}


def closure(name: str = PACKAGE) -> list[Distribution]:
    """Return what is installed of a package's dependencies, and theirs, without its extras."""
    found: dict[str, Distribution] = {}
    left = [name]
    while left:
        for requirement in requires(left.pop()) or []:
            wanted, _, marker = requirement.partition(";")
            if "extra" in marker:
                continue
            dependency = re.match(r"[\w.-]+", wanted)
            assert dependency is not None
            key = canonicalize_name(dependency[0])
            if key in found:
                continue
            try:
                found[key] = distribution(dependency[0])
            except PackageNotFoundError:
                # For another platform or Python.
                continue
            left.append(dependency[0])
    return [found[key] for key in sorted(found)]


def licence(package: Distribution) -> str:
    """Say under what a package is licensed; "unknown" where neither its metadata nor its files say so."""
    told = package.metadata
    if told.get("License-Expression"):
        return told["License-Expression"]
    kinds = [
        line.split(" :: ")[-1] for line in told.get_all("Classifier") or [] if line.startswith("License ::")
    ]
    kinds = [kind for kind in kinds if kind != "OSI Approved"]
    if kinds:
        return ", ".join(kinds)
    short = (told.get("License") or "").strip()
    if short and "\n" not in short and len(short) < 60:
        return short
    texts = [short] + [
        file.read_text() for file in package.files or [] if re.search(r"LICEN[CS]E|COPYING", file.name)
    ]
    for text in texts:
        for mark, name in TOLD_BY_TEXT.items():
            if mark in (text or ""):
                return name
    return "unknown"


def licence_table() -> tuple[str, list[str]]:
    """Return the table of licences in Markdown, and the packages whose licence has to be looked at."""
    lines, open_questions = ["| package | version | licence |", "|---|---|---|"], []
    for package in closure():
        found = licence(package)
        if OF_CUDA.match(package.name):
            found += "; comes with torch for CUDA"
        elif OF_A_PART.get(package.name, "no part") in found:
            found += "; the last of them for a part that is not imported"
        elif not COMPATIBLE.search(found) or FORBIDDEN.search(found):
            open_questions.append(f"{package.name}: {found}")
        lines.append(f"| {package.name} | {package.version} | {found} |")
    return "\n".join(lines), open_questions


def bill_of_materials() -> dict[str, object]:
    """Return a bill of materials of what is installed, as CycloneDX 1.6 has it."""

    def component(package: Distribution) -> dict[str, object]:
        purl = f"pkg:pypi/{canonicalize_name(package.name)}@{package.version}"
        return {
            "type": "library",
            "bom-ref": purl,
            "name": package.name,
            "version": package.version,
            "purl": purl,
            "licenses": [{"license": {"name": licence(package)}}],
        }

    own = distribution(PACKAGE)
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid4()}",
        "version": 1,
        "metadata": {"component": {**component(own), "type": "application"}},
        "components": [component(package) for package in closure()],
    }


def lowest() -> list[str]:
    """Return `name==version` for the lowest version that pyproject.toml names of each dependency."""
    asked = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"]["dependencies"]
    return [re.sub(r"\[.*\]|;.*", "", line).replace(">=", "==").strip() for line in asked]


def audit() -> tuple[str, bool]:
    """Ask for known holes in what is installed; True where none is known or nobody could be asked."""
    if shutil.which("pip-audit") is None and not _importable("pip_audit"):
        return "pip-audit is not installed: known holes were not looked for", True
    with_versions = "\n".join(f"{package.name}=={package.version.split('+')[0]}" for package in closure())
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pip_audit"),
            *("--no-deps", "--disable-pip", "--requirement", "/dev/stdin"),
        ],
        input=with_versions,
        capture_output=True,
        text=True,
        check=False,
    )
    said = (done.stdout + done.stderr).strip()
    count = len(with_versions.splitlines())
    unseen = said.count("could not be audited")
    if done.returncode and re.search(r"ConnectionError|ServiceError|Max retries", said):
        unseen = count
    if unseen:
        # pip-audit itself calls this "no known vulnerabilities".
        return f"the database of known holes does not answer for {unseen} of {count} packages", True
    return said, done.returncode == 0


def audit_by_file(file: Path) -> tuple[str, bool]:
    """Look up what is installed in a list of holes, `{package: ["<1.2", ">=2,<2.3", ...]}`.

    Returns
    -------
    tuple of str and bool
        What was found, and whether that is nothing.
    """
    holes: dict[str, list[str]] = {}
    for name, specifiers in json.loads(file.read_text(encoding="utf-8")).items():
        # The file says of itself when it was made under a name that is no package's.
        if not name.startswith("$"):
            holes.setdefault(canonicalize_name(name), []).extend(specifiers)
    packages = closure()
    listed = [package for package in packages if canonicalize_name(package.name) in holes]
    found = [
        f"known hole: {package.name} {package.version} ({specifier})"
        for package in listed
        for specifier in holes[canonicalize_name(package.name)]
        if SpecifierSet(specifier).contains(Version(package.version).base_version, prereleases=True)
    ]
    count = f"{file.name} knows holes in some version of {len(listed)} of {len(packages)} packages"
    return "\n".join([count, *(found or ["none in the versions that are installed"])]), not found


def _importable(name: str) -> bool:
    from importlib.util import find_spec

    return find_spec(name) is not None


def main() -> int:
    """Do what is asked; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sbom", type=Path, help="write a bill of materials to this file")
    parser.add_argument("--holes", type=Path, metavar="FILE", help="insecure.json of pyupio/safety-db")
    parser.add_argument("--lowest", action="store_true", help="print the lowest versions and no more")
    asked = parser.parse_args()
    if asked.lowest:
        print("\n".join(lowest()))
        return 0
    if asked.sbom is not None:
        asked.sbom.write_text(json.dumps(bill_of_materials(), indent=1) + "\n", encoding="utf-8")
        print(f"{asked.sbom}: {len(closure())} packages")
        return 0
    table, open_questions = licence_table()
    print(table)
    for question in open_questions:
        print(f"to be looked at: {question}")
    try:
        said, fine = audit() if asked.holes is None else audit_by_file(asked.holes)
    except (OSError, ValueError, AttributeError, TypeError) as error:
        parser.error(f"--holes {asked.holes}: not a list of holes ({error}); give insecure.json of safety-db")
    print(said)
    return 0 if fine and not open_questions else 1


if __name__ == "__main__":
    sys.exit(main())
