"""An audit in words and tables, which all formats share."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from gradleak import __version__
from gradleak.audit.findings import Audit, Counts, Defended, Pictures
from gradleak.report.tex import duration, listing, number

_CLASSES = 24
"""Classes that a line lists."""

_METRICS = {
    "exact_match": "all counts right",
    "irec": "instances right",
    "leacc": "classes right",
    "certified": "certified",
    "psnr": "mean PSNR (dB)",
    "floor_psnr": "PSNR of the mean image (dB)",
}
"""Metrics that the table of attacks shows, and their words."""

_CUT = {"out of time": "ran out of time", "interrupted": "was interrupted", "failed": "failed"}
"""Status of an attack that might have found something -> words."""

NO_PROOF = (
    "Not finding a leak is no proof of safety: other attacks, more time, further updates of the same client or "
    "knowledge that this audit does not have may find what it did not."
)
NO_EPSILON = (
    "Nothing here is a statement of differential privacy: a value of ε needs clipping of every example's gradient and "
    "an accountant over the whole training, which one update does not show."
)

_OF_METHODS = (
    "bias-sign, gi, idlg and rlg tell which classes are in the batch. ilrg and ilrg-estimate also tell how many images "
    "of each (class: images), and so does consistency: exact inversion, with ilrg for the images that it does not find."
)

Place = Literal["here", "html", "nowhere"]
"""Where recovered images are shown: in this format, in audit.html, or not at all."""

_OF_PICTURES: dict[Place, str] = {
    "here": "Recovered images are shown below. They are private data of a client, and so is this report.",
    "html": "Recovered images are in audit.html. They are private data of a client, and so is the report.",
    "nowhere": "Images were recovered, but are left out of this report. Labels and numbers in it may be private too.",
}


@dataclass(frozen=True)
class Section:
    """A part of the report.

    Attributes:
        title: heading.
        text: paragraphs.
        header: of the table; empty if there is none.
        rows: of the table.
        pictures: that belong to it.
    """

    title: str
    text: tuple[str, ...] = ()
    header: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    pictures: tuple[Pictures, ...] = ()


@dataclass(frozen=True)
class Document:
    """The report of an audit.

    Attributes:
        title: first line.
        verdict: the finding in a few words.
        level: what was found, see :attr:`gradleak.audit.findings.Audit.found`.
        summary: heading and sentence of what leaks, how sure that is, and what would stop it.
        figures: name and value of the facts of the update.
        sections: the details.
        notes: what the reader must know about the report itself.
    """

    title: str
    verdict: str
    level: str
    summary: tuple[tuple[str, str], ...]
    figures: tuple[tuple[str, str], ...]
    sections: tuple[Section, ...] = field(default=())
    notes: tuple[str, ...] = ()


def document(audit: Audit, *, pictures: Place) -> Document:
    """Put an audit into words.

    Args:
        audit: the result.
        pictures: where recovered images are shown.
    """
    shown = audit.pictures if pictures == "here" else ()
    notes = [NO_PROOF, NO_EPSILON]
    if audit.pictures:
        notes.insert(0, _OF_PICTURES[pictures])
    if audit.interrupted:
        notes.insert(0, "The audit was interrupted: attacks that are marked so did not finish.")
    if not audit.has_data:
        return Document(
            title="What this update gives away",
            verdict=verdict(audit),
            level=audit.found,
            summary=(("What leaks", "The update is zero throughout: no training step on any example is in it."),),
            figures=_figures(audit),
            notes=(NO_PROOF,),
        )
    return Document(
        title="What this update gives away",
        verdict=verdict(audit),
        level=audit.found,
        summary=(("What leaks", _leaks(audit)), ("How sure", _sure(audit)), ("What would stop it", _stops(audit))),
        figures=_figures(audit),
        sections=tuple(_sections(audit, shown)),
        notes=tuple(notes),
    )


def verdict(audit: Audit) -> str:
    """Return what was found, in a few words."""
    if not audit.has_data:
        return "No data"
    labels, images = sum(audit.certified_labels.values()), len(audit.certified_images)
    of = "" if audit.batch_size is None else f" of {audit.batch_size}"
    if images and audit.images_are == "images":
        return f"{images}{of} images and {labels}{of} labels recovered with certificate"
    if images:
        return f"{labels}{of} labels and the features of {images}{of} images recovered with certificate"
    if labels:
        return f"{labels}{of} labels recovered with certificate"
    cut = next((a.status for a in audit.attacks if a.name == "exact inversion" and a.status in _CUT), None)
    short = f"; exact inversion {_CUT[cut]}" if cut else ""
    return ("Labels estimated, none certified" if audit.found == "estimated" else "Nothing found") + short


def _leaks(audit: Audit) -> str:
    parts = []
    if audit.certified_labels:
        parts.append(f"Labels, certified (class: instances): {_counts(dict(audit.certified_labels))}.")
    if audit.certified_images:
        what = (
            f"Also {len(audit.certified_images)} images, each as the model read it."
            if audit.images_are == "images"
            else f"Of {len(audit.certified_images)} images the {audit.images_are}; they are features, not pixels."
        )
        parts.append(what)
    best = next((a for a in audit.attacks if a.counts and None not in a.counts.values()), None)
    if best is not None and best.counts is not None and sum(audit.certified_labels.values()) != audit.batch_size:
        parts.append(f"Labels, estimated by {best.name}: {_counts(best.counts)}.")
    elif not audit.certified_labels:
        present = next((a for a in audit.attacks if a.counts), None)
        if present is not None and present.counts is not None:
            parts.append(f"Classes, estimated by {present.name}: {_counts(present.counts)}.")
    matched = next((a for a in audit.attacks if a.loss is not None), None)
    if matched is not None and matched.loss is not None:
        psnr = matched.metrics.get("psnr")
        seen = "" if psnr is None else f", mean PSNR {number(psnr, 1)} dB"
        parts.append(f"Gradient matching: a reconstruction with loss {matched.loss:.2g} (0 is a perfect match){seen}.")
    return " ".join(parts) or "No attack found anything."


def _sure(audit: Audit) -> str:
    parts = []
    if audit.certified_labels:
        parts.append(
            "Certified results meet the equations of the gradient to within its noise, and no other label or nearby "
            "input does. They are not guesses, as far as the assumptions below hold."
        )
    if any(audit.estimated_labels.values()):
        parts.append("Estimates come without a guarantee.")
    false = [audit.metrics.get(f"falsely_certified_{what}") for what in ("labels", "images")]
    if any(value is not None for value in false):
        wrong = int(sum(value or 0 for value in false))
        parts.append(
            "Nothing certified is in the true batch: the truth is of another batch, or every certificate is false."
            if _all_false(audit)
            else f"Against the true batch, {wrong or 'none'} of the certificates {'are' if wrong > 1 else 'is'} false."
        )
    elif audit.certified_labels:
        parts.append("The true batch was not given, so nothing was compared with it.")
    return " ".join(parts) or "Nothing was found that could be sure."


def _all_false(audit: Audit) -> bool:
    """Whether no certified image, or without images no certified label, is that of the batch given as the truth."""
    images = sum(each.mixture == 1 for each in audit.certified_images)  # only these are compared
    if images and "falsely_certified_images" in audit.metrics:
        return audit.metrics["falsely_certified_images"] == images
    labels = sum(audit.certified_labels.values())
    return labels > 0 and audit.metrics.get("falsely_certified_labels") == labels


def _stops(audit: Audit) -> str:
    tried = [each for each in audit.defenses if each.certified_labels is not None]
    if not audit.certified_labels:
        return (
            "There is no certificate to stop. The table below says how estimates fare behind defenses."
            if tried
            else ("Defenses were not tried.")
        )
    if not tried:
        return "Defenses were not tried."
    ends = sorted((each for each in tried if not each.certified_labels), key=lambda each: each.change)
    late = len(audit.defenses) - len(tried)
    untried = f" For {late} of {len(audit.defenses)} there was no time." if late else ""
    if not ends:
        return f"None of the defenses that were tried ends all certificates, see the table below.{untried}"
    first = ends[0]
    left = "" if first.estimated is None else f"; {first.estimated:.0%} of iLRG's label counts stay the same"
    useless = [each.name for each in tried if each.certified_labels == sum(audit.certified_labels.values())]
    helpless = f" No effect on certified labels: {listing(useless)}." if useless else ""
    return (
        f"Of the defenses tried, {first.name} ({first.what}) ends all certificates at the least price: it changes the "
        f"gradient by {first.change:.1%} of its norm{left}.{helpless}{untried} It ends what these attacks find, no "
        "more."
    )


def _figures(audit: Audit) -> tuple[tuple[str, str], ...]:
    found = {"exact inversion": "by exact inversion", "last layer": "estimated from the last layer"}
    scale = audit.scale_meaning
    source = found.get(audit.scale_source)
    figures = [
        ("Update", audit.source),
        ("Model", f"{audit.model}, {audit.num_classes} classes, inputs {' × '.join(map(str, audit.input_shape))}"),
        ("Batch size", "not known" if audit.batch_size is None else str(audit.batch_size)),
    ]
    if audit.has_data:
        figures += [
            ("Kind", "gradient" if audit.kind == "gradient" else "weight change"),
            ("Scale", f"{scale} ({source})" if source else scale),
            ("Entries sent as 0", f"{audit.zeros:.1%}"),
        ]
    unchanged = audit.metrics.get("unchanged")
    if unchanged is not None:
        figures.append(("Entries as the true batch gives them", f"{unchanged:.1%}"))
    return (*figures, ("Time", duration(audit.seconds)), ("Made by", f"gradleak {__version__}"))


def _sections(audit: Audit, pictures: Sequence[Pictures]) -> Iterable[Section]:
    for each in pictures:
        certified = each.name == "exact inversion"
        title = "Images, certified" if certified else f"Images by {each.name}"
        text = (
            "" if certified else "Not certified: images that give nearly the same gradient need not be the true ones."
        )
        yield Section(title, (text,) if text else (), pictures=(each,))
    yield Section(
        "What was assumed",
        audit.remarks,
        ("assumption", "basis"),
        tuple((each.what, each.source) for each in audit.assumptions),
    )
    yield Section("Attacks", (_OF_METHODS,), *_attacks(audit))
    if audit.defenses:
        yield Section(
            "Behind defenses",
            (
                "The same update, attacked again as it would arrive behind defenses that act on the gradient alone. "
                "Price: norm of the change over that of the gradient. Unchanged: share of the nonzero entries that "
                "arrive as they are. Estimates kept: share of iLRG's counts that stay the same.",
            ),
            ("defense", "what it does", "price", "unchanged", "certified labels", "certified inputs", "estimates kept"),
            tuple(map(_defended, audit.defenses)),
        )
    if audit.certified_images:
        yield Section(
            "Certified one by one",
            (f"What is certified: {audit.images_are}.",),
            ("class", "times", "stated relative error", *(("PSNR (dB)",) if audit.certified_images[0].psnr else ())),
            tuple(
                (
                    str(each.label),
                    f"{each.times}" if each.mixture == 1 else f"{each.times}, mean of up to {each.mixture}",
                    f"{each.error:.1e}",
                    *((number(each.psnr, 1),) if each.psnr else ()),
                )
                for each in audit.certified_images
            ),
        )


def _defended(each: Defended) -> tuple[str, ...]:
    def shown(value: int | None) -> str:
        return "out of time" if value is None else str(value)

    kept = "—" if each.estimated is None else f"{each.estimated:.0%}"
    return (
        each.name,
        each.what,
        f"{each.change:.2%}",
        f"{each.unchanged:.1%}",
        shown(each.certified_labels),
        shown(each.certified_images),
        kept,
    )


def _attacks(audit: Audit) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
    rows = []
    measured = any(_METRICS.keys() & each.metrics.keys() for each in audit.attacks)
    for each in audit.attacks:
        if each.counts is not None:
            result = _counts(each.counts) or "no class"
        elif each.loss is not None:
            result = f"loss {each.loss:.2g}, {each.why}"
        elif each.status != "ok":
            result = each.why
        else:
            result = f"{sum(audit.certified_labels.values())} labels, {len(audit.certified_images)} inputs certified"
        metrics = ", ".join(
            f"{words} {number(each.metrics[key], 2)}" for key, words in _METRICS.items() if key in each.metrics
        )
        row = (each.name, each.status, f"{each.seconds:.2f}", result)
        rows.append((*row, metrics or "—") if measured else row)
    return ("attack", "status", "seconds", "result", *(["against the truth"] if measured else [])), tuple(rows)


def _counts(counts: Counts) -> str:
    """Return ``3: 2, 7: 1``, no line of which breaks within a pair, or ``3, 7`` where only presence is known."""
    parts = [str(c) if n is None else f"{c}:\u00a0{n}" for c, n in sorted(counts.items())]
    more = len(parts) - _CLASSES
    return ", ".join(parts[:_CLASSES]) + (f" and {more} more" if more > 0 else "")
