"""Small pictures in the layout of BOP's `lm_train`: coloured rectangles that stand for objects."""

import json
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.spatial.transform import Rotation

# The camera in front of an object at azimuth and elevation 0: it looks along -x, its right is y.
AHEAD = np.array([[0.0, 1, 0], [0, 0, -1], [-1, 0, 0]])


def rotation_of(azimuth: float, elevation: float, in_plane: float = 0.0) -> np.ndarray:
    """Rotation from object to camera for angles in degrees; an angle in the plane turns counter-clockwise."""
    around = Rotation.from_euler("z", azimuth, degrees=True)
    above = Rotation.from_euler("y", -elevation, degrees=True)
    # y points down in a picture, so that a turn by a positive angle about z is one clockwise.
    turned = Rotation.from_euler("z", -in_plane, degrees=True)
    return turned.as_matrix() @ AHEAD @ (around * above).as_matrix().T


def box_of(view: int) -> tuple[int, int, int, int]:
    """Top, left, height and width of the object in a picture of 96×128."""
    return 12 + view % 3, 20 + view % 5, 48, 48


def write_pictures(
    folder: Path, objects: int = 2, views: int = 6, in_plane: float = 0.0
) -> dict[str, np.ndarray]:
    """Write `000001`, …; returns what each object looks like in its box with a margin of 8 pixels."""
    rng = np.random.default_rng(0)
    expected = {}
    for number in range(1, objects + 1):
        home = folder / f"{number:06d}"
        for name in ("rgb", "depth", "mask"):
            (home / name).mkdir(parents=True)
        annotations = {}
        for view in range(views):
            top, left, height, width = box_of(view)
            picture = np.zeros((96, 128, 3), dtype=np.uint8)
            picture[top : top + height, left : left + width] = rng.integers(1, 256, (height, width, 3))
            mask = np.zeros((96, 128), dtype=np.uint8)
            # A mask with a hole, of which only the corners tell where the box ends.
            mask[top, left] = mask[top + height - 1, left + width - 1] = 255
            Image.fromarray(picture).save(home / "rgb" / f"{view:06d}.png")
            Image.fromarray(picture[..., 0]).save(home / "depth" / f"{view:06d}.png")
            Image.fromarray(mask).save(home / "mask" / f"{view:06d}_000000.png")
            matrix = rotation_of(60.0 * view - 170, 15.0 * view, in_plane * view)
            annotations[str(view)] = [
                {"cam_R_m2c": matrix.ravel().tolist(), "cam_t_m2c": [0, 0, 400.0], "obj_id": number}
            ]
            expected[f"{home.name}/{view:06d}"] = picture[
                top - 8 : top + height + 8, left - 8 : left + width + 8
            ]
        (home / "scene_gt.json").write_text(json.dumps(annotations))
    return expected


def zip_pictures(folder: Path, archive: Path) -> None:
    """Pack pictures as BOP does: below `train`."""
    with zipfile.ZipFile(archive, "w") as opened:
        for file in sorted(folder.rglob("*")):
            opened.write(file, Path("train") / file.relative_to(folder))
