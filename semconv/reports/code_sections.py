"""The sections of the code report. Each section has an explanation of its figures, a table, and a grade.

The HTML page and the terminal show the same sections. The grades are rules of thumb. The verdict below each grade
states the values from which a figure counts as good or poor. Some tables also show the value that chance alone would
give.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from semconv.reports.section import Grade, Section, count, percent, times

Report = Mapping[str, Any]
_PAPER_COLLISIONS = {
    2: 0.108,
    3: 0.0005,
    4: 0.0,
    5: 0.0,
}  # levels: collision rate on Games (paper, Table 5)
_DRIFT = {
    "outgrown_share": "items that got codes from text and now have interactions",
    "largest_first_code": "items on the most used first code",
    "text_error": "distance of new items' codes from the vectors estimated from their text (needs 20 new items)",
    "train_interactions": "training interactions",
}
_LIKENESS = {
    "title words": "title words in common, of all title words of the two items",
    "brand": "pairs of the same brand",
    "categories": "categories in common, of all categories of the two items",
}


def sections(report: Report) -> list[Section]:
    """Return the sections for the figures of ``codebook_report`` or ``external_report``, without empty sections."""
    made = (_refit, _usage, _reconstruction, _spread, _collisions, _likeness, _text_map)
    return [section for make in made if (section := make(report)) is not None]


def overview(report: Report) -> list[tuple[str, str]]:
    """Return the numbers of items, levels and codes, each with its name, as pairs of texts."""
    counts = [
        ("items in the code set" if "run_id" in report else "items", report["items"]),
        ("items added since, with codes from text", report.get("items_assigned_since")),
        ("items in the file but not in the catalogue", report.get("items_not_in_the_catalogue")),
        ("available items without codes (never recommended)", report.get("items_without_codes")),
        ("codes per item", len(report["levels"])),
        ("different codes per level", len(report["levels"][0]["counts"])),
    ]
    return [(name, count(value)) for name, value in counts if value is not None]


def _refit(report: Report) -> Section | None:
    refit = report.get("refit")
    if refit is None:
        return None
    rows = [
        (_DRIFT[row["name"]], *(_drift_value(row, key) for key in ("at_fit", "now", "limit")), "yes" if row["is_due"] else "no")
        for row in refit["drift"]
    ]  # fmt: skip
    verdict = (
        "A refit is due: `semconv run --refit` computes new vectors, new codes and a new model."
        if refit["is_due"]
        else "No refit is due: codes and model still fit the data."
    )
    return Section(
        "refit",
        "Drift since the codes were fitted",
        "Codes and model were fitted on the data of one day. A refit (new codes and a new model) is due as soon as one of"
        " these figures exceeds its limit. The limits are in section refit of the settings.",
        ("figure", "at the fit", "now", "due above", "due"),
        tuple(rows),
        "poor" if refit["is_due"] else "good",
        verdict,
        tuple(f"Due because {reason}." for reason in refit["reasons"]),
    )


def _drift_value(row: Mapping[str, Any], key: str) -> str:
    value = row[key]
    return count(None if value is None else int(value)) if row["name"] == "train_interactions" else percent(value)


def _usage(report: Report) -> Section:
    levels = report["levels"]
    items = report["items"] + (report.get("items_assigned_since") or 0)
    usable = min(len(levels[0]["counts"]), items)
    effective = min(level["effective_codes"] for level in levels)
    evenness = effective / usable
    grade: Grade = "good" if evenness >= 0.5 else "fair" if evenness >= 0.25 else "poor"
    rows = [
        (
            f"{level['level'] + 1}",
            f"{len(level['counts']) - level['dead_codes']} of {len(level['counts'])}",
            count(level["dead_codes"]),
            f"{level['entropy_bits']:.2f}",
            f"{level['effective_codes']:.0f}",
            percent(level["largest_share"]),
        )
        for level in levels
    ]
    return Section(
        "usage",
        "Use of the codes",
        "Each level has a codebook, and every item has one code from it. A code tells more about an item if many codes are"
        " in use and if they are used evenly. A level with an entropy of 7 bits has 128 effective codes: it tells as much"
        " about an item as 128 codes that are used equally often.",
        ("level", "codes in use", "unused codes", "entropy, bits", "effective codes", "items on the largest code"),
        tuple(rows),
        grade,
        f"The least evenly used level has {effective:,.0f} effective codes, {evenness:.0%} of the {usable:,} that are"
        " possible (good from 50%, poor below 25%).",
    )


def _reconstruction(report: Report) -> Section | None:
    errors = [level["reconstruction_error"] for level in report["levels"] if "reconstruction_error" in level]
    if not errors:
        return None
    error = report["reconstruction_error"]
    grade: Grade = "good" if error <= 0.2 else "fair" if error <= 0.4 else "poor"
    return Section(
        "reconstruction",
        "Reconstruction error",
        "Each code stands for a vector, and the vectors of an item's codes add up to an estimate of its behaviour vector."
        " The error is the part of the behaviour vectors that the estimates miss: 0% is exact, and at 100% the codes say"
        " nothing. Each further level should lower the error.",
        ("", "error"),
        tuple((f"after level {n}", percent(value)) for n, value in enumerate(errors, start=1)),
        grade,
        f"All codes together miss {percent(error)} of the behaviour vectors (good up to 20%, poor above 40%).",
        (
            "The errors in the table are measured before colliding items get other codes. The error of all codes together"
            " is measured afterwards.",
        ),
    )


def _spread(report: Report) -> Section | None:
    within, shuffled = report.get("variance_within"), report.get("variance_within_shuffled")
    if not within or not shuffled:
        return None
    ratio = within[0] / shuffled[0] if shuffled[0] else 1.0
    grade: Grade = "good" if ratio <= 0.7 else "fair" if ratio <= 0.9 else "poor"
    rows = zip(within, shuffled, strict=True)
    return Section(
        "spread",
        "Do items that share codes behave alike?",
        "The table shows how much variance of the behaviour vectors remains among items with the same first codes. Beside"
        " it is the variance that would remain if the same codes were assigned to items at random. This figure can compare"
        " any two sets of codes. In the last row, this variance is near 0% if hardly any items share all their codes.",
        ("levels", "variance that remains", "the same with random codes"),
        tuple((f"{n}", percent(own), percent(chance)) for n, (own, chance) in enumerate(rows, start=1)),
        grade,
        f"Among items with the same first code, {percent(within[0])} of the variance remains; with random codes it"
        f" would be {percent(shuffled[0])} (good up to 0.7 times that value, poor above 0.9 times).",
    )


def _collisions(report: Report) -> Section:
    collisions = report["collisions"]
    is_fitted = "share_before" in collisions[-1]
    shares = ("share_before", "share_after", "moved_share") if is_fitted else ("share_after",)
    rows = [
        (f"{row['levels']}", *(percent(row[name]) for name in shares), percent(_PAPER_COLLISIONS.get(row["levels"])))
        for row in collisions
    ]
    share = report.get("collision_share_now", collisions[-1]["share_after"])
    moved = collisions[-1].get("moved_share", 0.0)
    grade: Grade = "good" if share == 0 and moved <= 0.05 else "fair" if share <= 0.02 and moved <= 0.2 else "poor"
    verdict = (
        f"No two items share all their codes. To reach this, {percent(moved)} of the items were moved (good up to 5%, poor"
        " above 20%)."
        if share == 0
        else f"{percent(share)} of the items share all their codes with another item, so the model cannot tell them apart"
        " (good at 0%, poor above 2%)."
    )
    moves = (
        " Colliding items are moved to free codes nearby; the columns show the share before and after."
        if is_fitted
        else ""
    )
    head = ("colliding before", "colliding after", "items moved") if is_fitted else ("colliding",)
    return Section(
        "collisions",
        "Collisions",
        "Two items collide if all their codes are equal. Each row shows the share of items that collide if codes have only"
        f" that many levels.{moves} The last column is the share that the paper reports for its Games data (Table 5).",
        ("levels", *head, "paper, Games"),
        tuple(rows),
        grade,
        verdict,
        tuple(_moved(report)),
    )


def _moved(report: Report) -> Iterator[str]:
    moved = report.get("moved")
    if moved is None:
        return
    if moved["error_after"] is None:
        yield "No item was moved."
        return
    further = moved["error_after"] / moved["error_before"] if moved["error_before"] else float("inf")
    yield (
        f"{report['moved_items']:,} items ({percent(moved['share'])}) were moved. This changed the reconstruction error of"
        f" these items from {percent(moved['error_before'])} to {percent(moved['error_after'])} ({further:.1f} times)."
    )


def _likeness(report: Report) -> Section | None:
    agreement = report["agreement"]
    if not agreement:
        return None
    rows = [
        (_LIKENESS.get(name, name), *(percent(row[kind]) for kind in ("within", "shuffled", "random")), times(row))
        for name, row in agreement.items()
    ]
    name, best = next(iter(agreement.items()))
    grade: Grade | None = None
    shared = "first two codes" if len(report["levels"]) > 1 else "code"
    verdict = f"No two items share their {shared}, so there is nothing to compare."
    if best["within"] is not None:
        ratio = best["within"] / best["shuffled"] if best["shuffled"] else float("inf")
        grade = "good" if ratio >= 2 else "fair" if ratio >= 1.2 else "poor"
        verdict = (
            f"Items that share their {shared} have {times(best)} times as many {name} in common as with random codes"
            " (good from 2, poor below 1.2)."
            if best["shuffled"]
            else f"Items that share their {shared} have {name} in common; with random codes they would have none."
        )
    return Section(
        "likeness",
        "Do items that share codes look alike?",
        f"The report draws pairs of items that share their {shared}. It compares them with pairs of items that share"
        " random codes (the same codes, assigned to items at random), and with pairs of any two items.",
        ("", "same codes", "same random codes", "any two items", "times as with random codes"),
        tuple(rows),
        grade,
        verdict,
    )


def _text_map(report: Report) -> Section | None:
    alignment, found = report.get("alignment"), report.get("text_map")
    if alignment is None:
        return None
    state = (
        f"The codes are aligned with the text, with weight {alignment['lambda']:g} (setting codebook.alignment)."
        if alignment["is_on"]
        else f"The codes are not aligned with the text: {alignment['why_off']}."
    )
    meaning = (
        "New items have no interactions yet. A linear map estimates their behaviour vectors from their text vectors, and"
        " each new item gets the codes nearest to its estimate. The map is fitted on items that have both text and"
        " interactions."
    )
    title = "Codes of new items from their text"
    if not found:
        none = "Too few items have both text and interactions. New items get no codes and are not recommended."
        return Section("text", title, meaning, grade="poor", verdict=none, notes=(state,))
    r2, useful_r2 = found["held_out_r2"], report["useful_r2"]
    # Learned vectors may already be shrunk towards text, so the grade compares with codes from behaviour alone.
    ratio = found["first_code_agreement_behavior_alone"] / max(found["most_frequent_code_behavior_alone"], 1e-9)
    grade: Grade = "poor" if r2 < useful_r2 else "good" if ratio >= 2 else "fair"
    return Section(
        "text",
        title,
        meaning,
        ("figure", "value"),
        (
            ("R²: share of the behaviour vectors' variance that text explains, on held-out items", f"{r2:.3f}"),
            (
                "held-out items whose first code from text equals the learned one",
                percent(found["first_code_agreement"]),
            ),
            ("the same if every item gets the most frequent first code", percent(found["most_frequent_code"])),
            (
                "held-out items whose first code from text equals the one from behaviour alone",
                percent(found["first_code_agreement_behavior_alone"]),
            ),
            (
                "the same if every item gets the most frequent first code from behaviour alone",
                percent(found["most_frequent_code_behavior_alone"]),
            ),
            (
                "different first codes from text, and different learned first codes",
                f"{found['codes_in_use']} of {found['codes_in_use_learned']}",
            ),
            ("items with text and interactions", count(found["items"])),
            ("different first codes of all items that got codes from text so far", _new_items(report["new_items"])),
            ("the same, only of items without any interaction", _new_items(report["untouched_items"])),
        ),
        grade,
        f"Text predicts the first code from behaviour {ratio:.1f} times as often as always guessing the most frequent code"
        f" (good from 2 times). It explains {percent(r2)} of the variance (poor below {useful_r2:.0%}).",
        (state,),
    )


def _new_items(new: Mapping[str, Any]) -> str:
    return f"{new['first_codes_in_use']:,} among {new['coded']:,} items" if new["coded"] else "no such items yet"
