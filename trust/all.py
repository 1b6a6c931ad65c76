"""Run every program of this folder, one after the other; exit code 1 where one of them failed.

python trust/all.py
python trust/all.py kills growth
"""

import subprocess
import sys
import time
from pathlib import Path

FOLDER = Path(__file__).parent


def main() -> None:
    """Run the programs named, or all, and say at the end which failed."""
    wanted = sys.argv[1:]
    # What the programs share is no program.
    programs = [
        path
        for path in sorted(FOLDER.glob("*.py"))
        if path != Path(__file__) and "\nif __name__ ==" in path.read_text(encoding="utf-8")
    ]
    failed = []
    for program in programs:
        if wanted and program.stem not in wanted:
            continue
        print(f"\n== {program.name}", flush=True)
        began = time.monotonic()
        code = subprocess.run([sys.executable, str(program)], check=False).returncode
        print(
            f"== {program.name}: exit code {code} after {(time.monotonic() - began) / 60:.1f} min", flush=True
        )
        if code:
            failed.append(program.name)
    if failed:
        print(f"failed: {', '.join(failed)}")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
