"""What a training on so many images costs: time, disk and memory, from one measured speed.

The formulas stand in the documentation (How large can I go?), with what they were checked against.
"""

from dataclasses import dataclass

from dualcontrast.errors import SettingError
from dualcontrast.training.batches import WINDOW_BYTES

# Python with its libraries, and the windows of a streamed training with what reading them takes besides;
# both measured with benchmarks/larger_than_memory.py.
PROGRAM_BYTES, WINDOWS = 0.45e9, 2.5
# Positions, blocks and orders of every image, as 64-bit numbers.
BOOKKEEPING_BYTES = 80


@dataclass(frozen=True)
class Cost:
    """What one training takes.

    Attributes
    ----------
    training_hours : float
        Of every device.
    encoding_hours : float
        Of every device, for the codes of all images once.
    device_hours : float
        Of all devices together, training and encoding.
    disk_gb : float
        Of the pack, before compression, which hardly shrinks noise.
    memory_gb : float
        Of every process, apart from the networks.
    codes_gb : float
        Of all codes with their variances.
    """

    training_hours: float
    encoding_hours: float
    device_hours: float
    disk_gb: float
    memory_gb: float
    codes_gb: float


def estimate(
    images: float,
    box: int,
    epochs: float,
    images_per_second: float,
    *,
    devices: int = 1,
    efficiency: float = 1.0,
    encoding_speedup: float = 3.0,
    bytes_a_voxel: int = 2,
    id_length: int = 40,
    code_numbers: int = 40,
) -> Cost:
    """Estimate the cost of a training on volumes that are packed ready for the networks.

    Parameters
    ----------
    images : float
        How many.
    box : int
        Voxels a side, of what the networks take.
    epochs : float
        Passes over the images.
    images_per_second : float
        Training speed of one device, as the progress bar and `metrics.jsonl` show it after the first minute.
    devices : int
        Devices that share the work.
    efficiency : float
        Speed of several devices, divided by their number and by the speed of one.
    encoding_speedup : float
        Images that are encoded in the time of one that is trained on.
    bytes_a_voxel : int
        2 for float16, 4 for float32.
    id_length : int
        Characters of a particle's id.
    code_numbers : int
        Means and log-variances of both codes together.

    Returns
    -------
    Cost

    Raises
    ------
    SettingError
        For a number that is not positive.
    """
    given = {
        "images": images,
        "box": box,
        "epochs": epochs,
        "images_per_second": images_per_second,
        "devices": devices,
        "efficiency": efficiency,
        "encoding_speedup": encoding_speedup,
    }
    for name, value in given.items():
        if not value > 0:
            raise SettingError(f"{name} is {value}; give a number above 0")
    an_hour = 3600 * images_per_second * devices * efficiency
    training, encoding = images * epochs / an_hour, images / (an_hour * encoding_speedup)
    return Cost(
        training_hours=training,
        encoding_hours=encoding,
        device_hours=(training + encoding) * devices,
        disk_gb=images * box**3 * bytes_a_voxel / 1e9,
        # NumPy keeps a text as four bytes a character.
        memory_gb=(PROGRAM_BYTES + WINDOWS * WINDOW_BYTES + images * (4 * id_length + BOOKKEEPING_BYTES))
        / 1e9,
        codes_gb=images * (4 * code_numbers + id_length) / 1e9,
    )
