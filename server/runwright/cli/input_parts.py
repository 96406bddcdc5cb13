"""The input of a run from the command line: words, a file of text, images."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import typer

from runwright._gen.runwright.v1 import content_pb2
from runwright.core.images import IMAGE_TYPES, MAX_IMAGE_BYTES, MAX_IMAGES_BYTES, image_type
from runwright.core.request import MAX_INPUT_BYTES

STANDARD_INPUT = Path("-")
_MIB = 1024 * 1024


def parts_of(text: str, file: Path | None = None, images: Sequence[Path] = ()) -> Iterator[content_pb2.InputPart]:
    """The parts in the order in which they are shown to the agent.

    Raises BadParameter for what cannot be read, is too large, is no text or no image, and when there is nothing.
    """
    if not (text or file or images):
        raise typer.BadParameter("say what to ask, or name a file of text with --input", param_hint="TEXT")
    if text:
        yield content_pb2.InputPart(text=text)
    if file is not None:
        yield content_pb2.InputPart(text=_text_of(file))
    room = MAX_IMAGES_BYTES
    for image in images:
        part = _image_of(image)
        room -= len(part.data.data)
        if room < 0:
            most = MAX_IMAGES_BYTES // _MIB
            message = f"the images have more than {most} MiB together: leave some out, or make them smaller"
            raise typer.BadParameter(message, param_hint="--image")
        yield part


def _text_of(file: Path) -> str:
    most = MAX_INPUT_BYTES
    try:
        if file == STANDARD_INPUT:
            data = sys.stdin.buffer.read(most + 1)
        else:
            with file.open("rb") as opened:
                data = opened.read(most + 1)
    except OSError as error:
        raise typer.BadParameter(f"{file} cannot be read: {error.strerror}", param_hint="--input") from None
    named = "standard input" if file == STANDARD_INPUT else str(file)
    if len(data) > most:
        message = (
            f"{named} has more than {most} bytes, which is the most that an input may have: ask about a part of it"
        )
        raise typer.BadParameter(message, param_hint="--input")
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        message = f"{named} is no UTF-8 text (at byte {error.start}): an image goes with --image"
        raise typer.BadParameter(message, param_hint="--input") from None
    if not text.strip():
        raise typer.BadParameter(f"{named} is blank", param_hint="--input")
    return text


def _image_of(file: Path) -> content_pb2.InputPart:
    """An image file as a part of the input; its first bytes tell what it is."""
    try:
        with file.open("rb") as opened:
            data = opened.read(MAX_IMAGE_BYTES + 1)
    except OSError as error:
        raise typer.BadParameter(f"{file} cannot be read: {error.strerror}", param_hint="--image") from None
    media_type = image_type(data)
    if media_type is None:
        raise typer.BadParameter(f"{file} is none of: {', '.join(IMAGE_TYPES)}", param_hint="--image")
    if len(data) > MAX_IMAGE_BYTES:
        message = (
            f"{file} has more than {MAX_IMAGE_BYTES // _MIB} MiB, the most that an image may have: make it smaller"
        )
        raise typer.BadParameter(message, param_hint="--image")
    return content_pb2.InputPart(data=content_pb2.InputData(media_type=media_type, data=data))
