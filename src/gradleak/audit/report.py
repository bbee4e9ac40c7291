"""Writes an audit: audit.json, audit.md, audit.html with pictures, and audit.pdf where TeX is installed."""

import base64
import io
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import jinja2
import numpy as np
import torch
from PIL import Image

from gradleak.audit.document import Document, Section, document
from gradleak.audit.findings import Audit, Pictures
from gradleak.audit.measure import Pixels
from gradleak.errors import InputError
from gradleak.notes import note
from gradleak.pictures import to_uint8
from gradleak.records import whole_file
from gradleak.report import markdown, tex

_TEMPLATES = Path(__file__).with_name("templates")
_SHOWN = 64
"""Pictures of one attack at most."""

_LONGEST_WORD = 40
"""Letters of a word that TeX does not break."""

_TEX_SECONDS = 120


def write(audit: Audit, folder: Path, *, pictures: bool, pixels: Pixels, pdf: bool = True) -> list[Path]:
    """Write the report into a folder; its files can be read by their owner alone.

    Args:
        audit: the result.
        folder: is created; a report in it is replaced.
        pictures: whether recovered images are written.
        pixels: how inputs become pixels.
        pdf: whether a PDF is wanted.

    Returns:
        The files.

    Raises:
        InputError: a file cannot be written.
    """
    shown = pictures and any(_is_picture(each) for each in audit.pictures)
    doc = document(audit, pictures="here" if shown else "nowhere")
    plain = document(audit, pictures="html" if shown else "nowhere")
    files = [
        _write(folder / "audit.json", audit.to_json().encode()),
        _write(folder / "audit.md", _text("audit.md.j2", plain).encode()),
        _write(folder / "audit.html", _html(doc, pixels).encode()),
    ]
    content = _pdf(doc, pixels) if pdf else None
    if content is None:
        (folder / "audit.pdf").unlink(missing_ok=True)  # of an earlier audit, perhaps with pictures
        return files
    return [*files, _write(folder / "audit.pdf", content)]


def _write(path: Path, content: bytes) -> Path:
    with whole_file(path, private=True) as temporary:
        temporary.write_bytes(content)
    return path


def _text(name: str, doc: Document) -> str:
    environment = _environment(autoescape=False)
    environment.filters |= {"plain": markdown.plain, "cell": markdown.cell}
    return environment.get_template(name).render(doc=doc)


def _html(doc: Document, pixels: Pixels) -> str:
    environment = _environment(autoescape=True)
    environment.filters["png"] = lambda group: [
        (base64.b64encode(content).decode(), label) for content, label in _pngs(group, pixels)
    ]
    return environment.get_template("audit.html.j2").render(doc=doc)


def _environment(*, autoescape: bool) -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=autoescape,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=jinja2.StrictUndefined,
    )


def _is_picture(group: Pictures) -> bool:
    shape = group.inputs.shape
    return len(shape) == 4 and shape[1] in (1, 3)


def _pngs(group: Pictures, pixels: Pixels) -> Iterator[tuple[bytes, int]]:
    """Return every picture as PNG, with its label.

    Without a normalisation, and outside the range of pixels, each is spread from its darkest to its lightest value.
    """
    if not _is_picture(group):
        return
    for image, label in list(zip(pixels(group.inputs.float()), group.labels.tolist(), strict=True))[:_SHOWN]:
        if not pixels.std and not bool(((image > -0.1) & (image < 1.1)).all()):
            image = (image - image.min()) / (image.max() - image.min()).clamp(min=1e-12)
        values: np.ndarray = to_uint8(torch.nan_to_num(image))
        content = io.BytesIO()
        Image.fromarray(values[..., 0] if values.shape[-1] == 1 else values).save(content, format="PNG")
        yield content.getvalue(), label


def _pdf(doc: Document, pixels: Pixels) -> bytes | None:
    """Return the report as PDF, or None where TeX or one of its packages is missing."""
    if shutil.which("latexmk") is None:
        return None
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        environment = tex.environment()
        environment.filters["tex"] = _escaped
        environment.filters["columns"] = _columns
        environment.filters["files"] = lambda group: _saved(folder, group, pixels)
        text = (_TEMPLATES / "audit.tex.j2").read_text(encoding="utf-8")
        (folder / "audit.tex").write_text(environment.from_string(text).render(doc=doc), encoding="utf-8")
        command = ["latexmk", "-pdf", "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape", "audit.tex"]
        try:
            done = subprocess.run(
                command, cwd=folder, capture_output=True, timeout=_TEX_SECONDS, check=False, env={**os.environ}
            )
        except subprocess.TimeoutExpired:
            done = None
        made = folder / "audit.pdf"
        if done is None or done.returncode or not made.exists():
            note("audit.pdf was not made: latexmk failed, or a TeX package is missing")
            return None
        return made.read_bytes()


def _escaped(text: object) -> str:
    """Escape text for TeX; a character that it cannot show, as in a name, becomes a question mark.

    A word that is too long for a line may be broken anywhere.
    """
    return " ".join(
        (r"\allowbreak{}" if len(word) > _LONGEST_WORD else "").join(map(_letter, word))
        for word in str(text).split(" ")
    )


def _letter(letter: str) -> str:
    try:
        return tex.escape(letter)
    except InputError:
        return "?"


def _columns(section: Section) -> str:
    """Return widths of columns: by the longest text in each, but with room for the longest word."""
    columns = list(zip(section.header, *section.rows, strict=True))
    words = [max(len(word) for text in column for word in text.split()) for column in columns]
    texts = [max(map(len, column)) for column in columns]
    sizes = [max(1.2 * min(word, 30), 0.7 * min(text, 40)) for word, text in zip(words, texts, strict=True)]
    room = 0.98 - 0.025 * len(sizes)
    return "".join(f"L{{{room * size / sum(sizes):.3f}}}" for size in sizes)


def _saved(folder: Path, group: Pictures, pixels: Pixels) -> list[tuple[str, int]]:
    files = []
    for number, (content, label) in enumerate(_pngs(group, pixels)):
        name = f"{group.name.replace(' ', '-')}-{number}.png"
        (folder / name).write_bytes(content)
        files.append((name, label))
    return files
