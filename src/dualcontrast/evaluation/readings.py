"""Every measure of an evaluation judged: its place on a scale, and what it says in a sentence."""

from dataclasses import dataclass
from typing import Any, Literal

from dualcontrast.codes import BOTH_CODES

Level = Literal["good", "fair", "poor", "unknown"]


@dataclass(frozen=True)
class Reading:
    """One measure, judged.

    Attributes
    ----------
    key : str
        Where the number stands in `evaluation.json`, for example `d_score.content.from_content`.
    title : str
        What is measured, in a few words.
    value : float or None
        The number; None where it could not be taken.
    text : str
        The number as it is shown.
    quality : float or None
        Place on a scale from 0 (as bad as it gets) to 1 (as good as it gets).
    level : {'good', 'fair', 'poor', 'unknown'}
        The judgement.
    meaning : str
        What the number says, in a sentence.
    bounds : tuple of float
        Qualities from which the measure is called fair, and good.
    """

    key: str
    title: str
    value: float | None
    text: str
    quality: float | None
    level: Level
    meaning: str
    bounds: tuple[float, float] = (0.0, 0.0)


LETTER = {"content": "c", "transformation": "z"}
CROSS = "diagnostics.cross_predictability."

# Quality from which a measure is called good, and fair. The first two follow the range between the paper's
# Table 1 and a perfect separation; the others are chosen by eye on runs that are plainly good or plainly not.
THRESHOLDS: dict[str, tuple[float, float]] = {
    "carried": (0.85, 0.5),
    "absent": (0.8, 0.55),
    "readout": (0.5, 0.25),
    "swap": (0.8, 0.5),
    "invariance": (0.75, 0.5),
    "reconstruction": (0.7, 0.4),
    "clusters": (0.85, 0.5),
    "groups": (0.7, 0.4),
}


# More classes than these stand in evaluation.json only, not in a sentence.
MOST_NAMED = 8


def lookup(evaluation: dict[str, Any], key: str) -> Any:
    """Follow a dotted key; None where it does not lead anywhere."""
    value: Any = evaluation
    for part in key.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


def readings(evaluation: dict[str, Any]) -> list[Reading]:
    """Judge every measure that the report shows, in the order in which it shows them.

    Parameters
    ----------
    evaluation : dict
        As `evaluate` returns it.
    """
    return [
        *(_d_score(evaluation, role, code) for role in BOTH_CODES for code in BOTH_CODES),
        *_curved(evaluation),
        _clustering(evaluation),
        *_within_content(evaluation),
        *_confounds(evaluation),
        _invariance(evaluation),
        *_groups(evaluation),
        *(_readout(evaluation, code) for code in ("transformation", "content")),
        *(_swap(evaluation, code) for code in BOTH_CODES),
        *(_cross(evaluation, code) for code in BOTH_CODES),
        _reconstruction(evaluation),
    ]


def judged(key: str, title: str, value: float, quality: float, kind: str, meaning: str) -> Reading:
    """Judge one number by where its quality falls between the thresholds of its kind."""
    good, fair = THRESHOLDS[kind]
    quality = min(1.0, max(0.0, quality))
    level: Level = "good" if quality >= good else "fair" if quality >= fair else "poor"
    return Reading(key, title, value, value_text(value), quality, level, meaning, (fair, good))


def unknown(key: str, title: str, reason: str | None) -> Reading:
    """Stand for a number that could not be taken."""
    return Reading(key, title, None, "–", None, "unknown", f"Not measured: {reason or 'no value'}.")


def value_text(value: float) -> str:
    """Show a score with two decimals."""
    return f"{value:.2f}"


def percent(value: float) -> str:
    """Show a share as a percentage."""
    return f"{100 * value:.0f} %"


def has_collapsed(evaluation: dict[str, Any], code: str) -> bool:
    """Whether the evaluation found one code dead."""
    return bool(lookup(evaluation, f"diagnostics.collapse.{code}.collapsed"))


def low_is_void(evaluation: dict[str, Any], *codes: str) -> str | None:
    """Say why a low number proves nothing: a code that tells nothing leaks nothing either."""
    dead = [LETTER[code] for code in codes if has_collapsed(evaluation, code)]
    return f" But {dead[0]} has collapsed, so a low number says nothing here." if dead else None


def _d_score(evaluation: dict[str, Any], role: str, code: str) -> Reading:
    key, letter = f"d_score.{role}.from_{code}", LETTER[code]
    title = f"{role.capitalize()} labels read from {letter}"
    block = evaluation["d_score"][role]
    value, chance = block[f"from_{code}"], block["chance"]
    if value is None:
        return unknown(key, title, block["reason"])
    names = ", ".join(factor["name"] for factor in block["factors"] if factor["reason"] is None)
    if block["measure"] == "accuracy":
        meaning = (
            f"A linear classifier that sees only {letter} names {names} correctly on {percent(value)} of the "
            f"held-out images; guessing gives {percent(chance)}."
        )
    elif block["measure"] == "r2":
        meaning = (
            f"A linear map of {letter} explains {percent(value)} of the variation of {names} on the held-out "
            "images; guessing gives 0 %."
        )
    else:
        meaning = f"Mean of accuracies and R² over {names}; guessing gives {value_text(chance)}."
    above_chance = (value - chance) / (1 - chance) if chance < 1 else 0.0
    if role == code:
        return judged(key, title, value, above_chance, "carried", f"{meaning} Higher is better.")
    void = low_is_void(evaluation, code)
    return judged(
        key,
        title,
        value,
        0 if void else 1 - above_chance,
        "absent",
        f"{meaning} Lower is better.{void or ''}",
    )


def _curved(evaluation: dict[str, Any]) -> list[Reading]:
    """Judge what a code tells a curved fit of the labels that are not its own."""
    found = []
    for role, code in (("content", "transformation"), ("transformation", "content")):
        # Earlier versions did not ask.
        block = lookup(evaluation, f"curved_read_out.{role}")
        if not block or block[f"from_{code}"] is None:
            continue
        value, chance, letter = block[f"from_{code}"], block["chance"], LETTER[code]
        linear = evaluation["d_score"][role][f"from_{code}"]
        above_chance = (value - chance) / (1 - chance) if chance < 1 else 0.0
        void = low_is_void(evaluation, code)
        what = {"accuracy": "accuracy", "r2": "R²"}.get(block["measure"], "a mean of accuracies and R² of")
        meaning = (
            f"A curved fit reads the {role} labels from {letter} with {what} {value_text(value)}, where a "
            f"linear one has {value_text(linear)}; guessing gives {value_text(chance)}. Lower is better: "
            f"what only a curved fit tells is in the code all the same.{void or ''}"
        )
        title = f"{role.capitalize()} labels read from {letter} by a curved fit"
        quality = 0 if void else 1 - above_chance
        found.append(judged(f"curved_read_out.{role}.from_{code}", title, value, quality, "absent", meaning))
    return found


def _clustering(evaluation: dict[str, Any]) -> Reading:
    key, title = "clustering.gmm_accuracy", "Clusters of c against content labels"
    block = evaluation["clustering"]
    value = block["gmm_accuracy"]
    if value is None:
        return unknown(key, title, block["reason"])
    meaning = (
        f"Grouping c without labels puts {percent(value)} of the held-out images with their own kind "
        f"(adjusted Rand index {value_text(block['ari'])}, mutual information {value_text(block['nmi'])}; "
        "of both, 0 is chance and 1 is exact)."
    )
    return judged(key, title, value, value, "clusters", meaning)


def _within_content(evaluation: dict[str, Any]) -> list[Reading]:
    """Judge what is told within one identity, where identities and states are labelled."""
    block = evaluation.get("within_content")
    if not block or block["from_transformation"] is None:
        return []
    chance = block["chance"]
    scored = [entry for entry in block["classes"] if entry["reason"] is None]
    what = f"{block['transformation']} within each {block['content']}"
    found = []
    for code in BOTH_CODES:
        letter, value = LETTER[code], block[f"from_{code}"]
        above_chance = (value - chance) / (1 - chance) if chance < 1 else 0.0
        void = low_is_void(evaluation, code) if code == "content" else None
        meaning = (
            f"Among particles of one {block['content']}, a linear classifier that sees only {letter} names "
            f"{block['transformation']} correctly on {percent(value)} of the held-out ones; guessing gives "
            f"{percent(chance)}. "
        )
        if 1 < len(scored) <= MOST_NAMED:
            each = (f"{entry['name']} {value_text(entry[f'from_{code}'])}" for entry in scored)
            meaning += f"The mean of {', '.join(each)}. "
        kind, quality, better = (
            ("carried", above_chance, "Higher")
            if code == "transformation"
            else ("absent", 0 if void else 1 - above_chance, "Lower")
        )
        meaning += f"{better} is better.{void or ''}"
        title = f"{what[:1].upper()}{what[1:]} read from {letter}"
        found.append(judged(f"within_content.from_{code}", title, value, quality, kind, meaning))
    meaning = (
        f"Grouping the z of one {block['content']} without labels agrees with {block['transformation']} by "
        f"an adjusted Rand index of {value_text(block['ari'])} (0 is chance, 1 is exact); the best matching "
        f"puts {percent(block['gmm_accuracy'])} of the held-out ones right."
    )
    title = f"Clusters of z against {block['transformation']} within each {block['content']}"
    return [*found, judged("within_content.ari", title, block["ari"], block["ari"], "clusters", meaning)]


# What it means that a code predicts a nuisance.
_HELD = {
    "pose": "how the particle lay",
    "shift": "how far off the centre the particle was",
    "defocus": "the defocus",
    "tomogram": "which tomogram the particle is from",
}


def _confounds(evaluation: dict[str, Any]) -> list[Reading]:
    """Judge how much of the imaging stands in the codes, where it is known."""
    found = []
    for factor in (evaluation.get("confounds") or {"factors": []})["factors"]:
        name = factor["name"]
        for code in BOTH_CODES:
            key, letter = f"confounds.{name}.from_{code}", LETTER[code]
            title = f"{name.capitalize()} read from {letter}"
            value, chance = factor[f"from_{code}"], factor["chance"]
            if value is None:
                continue
            if factor["measure"] == "r2":
                value = max(value, factor["nonlinear"][f"from_{code}"])
                meaning = f"{letter} predicts the {name} with R² {value_text(value)}; guessing gives 0"
            else:
                meaning = f"{letter} names the {name} of {percent(value)} of the particles"
                meaning += f"; guessing gives {percent(chance)}"
            share = (value - chance) / (1 - chance) if chance < 1 else 0.0
            good, fair = THRESHOLDS["absent"]
            amount = "little" if share <= 1 - good else "part" if share <= 1 - fair else "much"
            void = low_is_void(evaluation, code)
            meaning += f": {amount} of what it holds is {_HELD[name]}.{void or ''}"
            found.append(judged(key, title, value, 0 if void else 1 - share, "absent", meaning))
    return found


def _invariance(evaluation: dict[str, Any]) -> Reading:
    key, title = "diagnostics.content_invariance", "Movement of c when the image is turned"
    value = lookup(evaluation, key)
    if value is None:
        return unknown(key, title, lookup(evaluation, "diagnostics.reasons.content_invariance"))
    void = low_is_void(evaluation, "content")
    meaning = (
        f"Turning an image moves its c by {percent(value)} of the distance between two random images "
        f"(0 %: c does not see the turn; 100 %: it might be another image). Lower is better.{void or ''}"
    )
    return judged(key, title, value, 0 if void else 1 - value, "invariance", meaning)


def _groups(evaluation: dict[str, Any]) -> list[Reading]:
    """Judge how groups of c are told, which stand for labels; evaluations of earlier versions have none."""
    if "groups" not in evaluation["diagnostics"]:
        return []
    block = evaluation["diagnostics"]["groups"]
    titles = {
        "content": "Groups of c that turned images stay in",
        "transformation": "Groups of c read from z",
    }
    found = []
    for code in BOTH_CODES:
        key, title = f"diagnostics.groups.from_{code}", titles[code]
        if block is None:
            found.append(unknown(key, title, lookup(evaluation, "diagnostics.reasons.groups")))
            continue
        value, void = block[f"from_{code}"], low_is_void(evaluation, *BOTH_CODES)
        beyond = f"{percent(value)} of what chance leaves open (Cohen's kappa)"
        if code == "content":
            meaning = (
                f"Of {block['count']} groups of c, found without labels, an image and its turned copy fall "
                f"into the same one in {beyond}. Higher is better.{void or ''}"
            )
            found.append(judged(key, title, value, 0 if void else value, "groups", meaning))
        else:
            meaning = (
                f"A linear classifier that sees only z names the group of c in {beyond}. Lower is better."
            )
            found.append(
                judged(key, title, value, 0 if void else 1 - value, "absent", meaning + (void or ""))
            )
    return found


def _readout(evaluation: dict[str, Any], code: str) -> Reading:
    key, title = f"diagnostics.rotation_readout.from_{code}", f"Known rotation read from {LETTER[code]}"
    value = lookup(evaluation, key)
    meaning = (
        f"{LETTER[code]} explains {percent(value)} of the angle by which an image was turned; guessing gives "
        "0 %. "
    )
    if code == "transformation":
        meaning += "Higher is better where the images share an upright pose; in random poses it stays near 0."
        return judged(key, title, value, value, "readout", meaning)
    void = low_is_void(evaluation, code)
    return judged(
        key, title, value, 0 if void else 1 - value, "absent", f"{meaning}Lower is better.{void or ''}"
    )


def _swap(evaluation: dict[str, Any], code: str) -> Reading:
    key, title = f"diagnostics.swap_consistency.{code}", f"{LETTER[code]} after a swap"
    value = lookup(evaluation, key)
    if value is None:
        return unknown(key, title, lookup(evaluation, "diagnostics.reasons.swap_consistency"))
    ceiling = lookup(evaluation, f"diagnostics.self_consistency.{code}")
    meaning = (
        f"When an image is made from one image's c and another's z, its {LETTER[code]} comes back with a "
        f"concordance of {value_text(value)} (0 is chance, 1 is exact; without a swap it is "
        f"{value_text(ceiling)})."
    )
    return judged(key, title, value, value, "swap", meaning)


def _cross(evaluation: dict[str, Any], code: str) -> Reading:
    other = "transformation" if code == "content" else "content"
    block = f"{CROSS}{code}_from_{other}"
    value = max(lookup(evaluation, f"{block}.{kind}") for kind in ("linear", "nonlinear"))
    void = low_is_void(evaluation, *BOTH_CODES)
    meaning = (
        f"{percent(value)} of the variation of {LETTER[code]} can be predicted from {LETTER[other]}; "
        f"independent codes give 0.{void or ''}"
    )
    title = f"{LETTER[code]} predicted from {LETTER[other]}"
    return judged(f"{block}.nonlinear", title, value, 0 if void else 1 - value, "absent", meaning)


def _reconstruction(evaluation: dict[str, Any]) -> Reading:
    key, title = "diagnostics.reconstruction.relative", "Reconstruction error"
    value = lookup(evaluation, key)
    if value is None:
        reason = lookup(evaluation, "diagnostics.reasons.reconstruction") or "the images do not vary"
        return unknown(key, title, reason)
    mse = lookup(evaluation, "diagnostics.reconstruction.mse")
    meaning = (
        f"The decoded images miss {percent(value)} of the pixels' variance (mean squared error {mse:.3g}); "
        "showing the mean image would miss 100 %. Noise in the images cannot be decoded and counts as missed."
    )
    return judged(key, title, value, 1 - value, "reconstruction", meaning)
