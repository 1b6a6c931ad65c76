import sys
from pathlib import Path

# The blobs whose codes are known by construction.
sys.path.insert(0, str(Path(__file__).parents[1] / "evaluation"))
