"""How long `default` trains on MNIST until it reaches the paper's scores, and until it stops improving."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from dualcontrast.benchmark.rows import PUBLISHED
from dualcontrast.codes import Codes
from dualcontrast.data.open import open_source
from dualcontrast.data.split import make_split
from dualcontrast.evaluation.d_score import d_score
from dualcontrast.evaluation.inference import encode_images, read_prepared
from dualcontrast.model import Model
from dualcontrast.random_streams import numpy_stream

# Classifiers are fitted on so many training images, and tested on all that are held out.
FITTED = 10_000
# Scores are taken after so many seconds more, and later at longer distances: scoring takes as long.
EVERY_SECONDS, EVERY_SHARE = 5.0, 0.2
SETTLED = 0.01
ASKED_SECONDS = 60.0


@dataclass(frozen=True)
class Reached:
    """Scores at one point of a training.

    Attributes
    ----------
    seconds : float
        Of training until then; evaluations do not count.
    step : int
        Steps done.
    content, transformation : float
        D_score of the digit from c and from z.
    """

    seconds: float
    step: int
    content: float
    transformation: float


@dataclass(frozen=True)
class QualityTime:
    """The scores of a training over time.

    Attributes
    ----------
    content, transformation : float
        What is to be reached: at least this from c, at most this from z.
    points : list of Reached
        In the order of the training; the last is its end.
    """

    content: float
    transformation: float
    points: list[Reached]

    @property
    def reached(self) -> Reached | None:
        """The first point at which both scores are reached."""
        return next(
            (
                point
                for point in self.points
                if point.content >= self.content and point.transformation <= self.transformation
            ),
            None,
        )

    @property
    def settled(self) -> Reached:
        """The first point from which on both scores stay within `SETTLED` of the best that comes."""
        settled = self.points[-1]
        for index in reversed(range(len(self.points))):
            point, rest = self.points[index], self.points[index:]
            best_content = max(other.content for other in rest)
            best_transformation = min(other.transformation for other in rest)
            if best_content - point.content > SETTLED or point.transformation - best_transformation > SETTLED:
                break
            settled = point
        return settled

    @property
    def sentence(self) -> str:
        """Say it in words."""
        reached, settled = self.reached, self.settled

        def scores(point: Reached) -> str:
            return f"{point.content:.3f} from c, {point.transformation:.3f} from z"

        asked = f"{self.content} from c and {self.transformation} from z"
        if reached is None:
            first = f"`default` on MNIST does not reach {asked}"
        else:
            verdict = "met" if reached.seconds <= ASKED_SECONDS else "missed"
            first = (
                f"`default` on MNIST reaches {asked} after {reached.seconds:.0f} s of training "
                f"({scores(reached)}; target {ASKED_SECONDS:.0f} s: {verdict})"
            )
        return (
            f"{first}, stops improving after {settled.seconds:.0f} s ({scores(settled)}), and ends after "
            f"{self.points[-1].seconds:.0f} s ({scores(self.points[-1])})."
        )


def time_to_quality(
    device: str, precision: str = "32-true", on_progress: Callable[[str], None] = lambda doing: None
) -> QualityTime:
    """Train `default` on MNIST, seed 0, and score its codes again and again.

    Parameters
    ----------
    device, precision : str
        See `Model`.
    on_progress : callable
        Told how far it is.

    Raises
    ------
    DataError
        When MNIST is not there.
    """
    published = PUBLISHED["mnist"]["dualcontrast:reference"]
    source = open_source("mnist")
    labels, split = source.labels, make_split(source)
    assert labels is not None
    fitted = numpy_stream(0, "fitted").permutation(split.train)[:FITTED]
    model = Model(preset="default", device=device, precision=precision, progress=False)
    preparation = model.choose_preparation(source)
    ids = np.concatenate((fitted, split.test))
    images = read_prepared(source, preparation, ids)
    points: list[Reached] = []
    trained, started = 0.0, time.perf_counter()

    def score(row: dict[str, Any]) -> None:
        nonlocal trained, started
        trained += time.perf_counter() - started
        last = row["epoch"] >= model.recipe.epochs
        if last or not points or trained - points[-1].seconds >= EVERY_SECONDS + EVERY_SHARE * trained:
            network = model.network
            assert network is not None
            network.eval()
            content, transformation = (posterior.mean.numpy() for posterior in encode_images(network, images))
            network.train()
            found = d_score(
                Codes(ids=ids, content=content, transformation=transformation), labels, fitted, split.test
            )
            scores = found["content"]
            points.append(
                Reached(trained, row["step"], scores["from_content"], scores["from_transformation"])
            )
            on_progress(
                f"time to quality: {trained:.0f} s, {points[-1].content:.3f} from c, "
                f"{points[-1].transformation:.3f} from z"
            )
        started = time.perf_counter()

    started = time.perf_counter()
    model.fit(source, ids=split.train, preparation=preparation, report=score)
    return QualityTime(published.from_content[0], published.from_transformation[0], points)
