"""The tests of `kill_points.py`, in an interpreter of their own.

They fork, and a fork of a process in which other tests have used threads may wait for a lock that no thread
holds any more.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow


@pytest.mark.timeout(400)
def test_runs_killed_at_marked_points_end_with_the_same():
    tests = Path(__file__).with_name("kill_points.py")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tests)],
        cwd=tests.parents[2],
        env=environment,
        capture_output=True,
        text=True,
        timeout=380,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert " passed" in ended.stdout
