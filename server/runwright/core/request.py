"""The RunRequest in the core's words, its normal form and its digest."""

from __future__ import annotations

import re
from enum import Enum

from msgspec import Struct, field
from msgspec.structs import replace
from pydantic import JsonValue

from runwright.core.content import Content, digest
from runwright.core.errors import invalid_request
from runwright.core.fingerprint import canonical_plain_json
from runwright.core.ids import check_caller_id
from runwright.core.images import IMAGE_TYPES, MAX_IMAGE_BYTES, MAX_IMAGES_BYTES, Image, image_type

_FINGERPRINT = re.compile(r"sha256:[a-z0-9-]{1,64}:[0-9a-f]{64}\Z")
_FIELDS = {"package_id": "package.package_id", "package_tag": "package.tag"}
MAX_INPUT_PARTS = 64
MAX_INPUT_BYTES = 64 * 1024
MAX_LABELS = 16
MAX_LABEL_BYTES = 256


class Budget(Struct, frozen=True):
    """Limits of a run. In a request, 0 means: as the package says."""

    rounds: int = 0
    tool_calls: int = 0
    parallel_calls: int = 0


class OnBusy(Enum):
    """What a start does while a run of the same session and agent goes on. Numbers as `runwright.v1.OnBusy`."""

    ALLOW = 1
    REJECT = 2


class RunRequest(Struct, frozen=True, kw_only=True):
    """What somebody asks an agent to do. Checked on construction by `check`, not by the type."""

    input: tuple[str | Image, ...]
    run_id: str = ""
    session_id: str = ""
    turn_id: str = ""
    agent_id: str = ""
    package_id: str = ""
    package_fingerprint: str = ""
    package_tag: str = ""
    budget: Budget = Budget()
    labels: dict[str, str] = field(default_factory=dict)
    on_busy: OnBusy = OnBusy.ALLOW

    def check(self) -> None:
        """Raises INVALID_REQUEST for the first field that breaks its rule, naming it."""
        for name in ("run_id", "session_id", "turn_id", "agent_id", "package_id", "package_tag"):
            if value := getattr(self, name):
                check_caller_id(_FIELDS.get(name, name), value)
        if self.on_busy is not OnBusy.ALLOW and not self.session_id:
            raise invalid_request(
                "on_busy",
                "ON_BUSY_ALLOW without a session_id",
                "Name the session whose runs it is about, or leave it out.",
            )
        if self.package_fingerprint and not _FINGERPRINT.match(self.package_fingerprint):
            raise invalid_request(
                "package.fingerprint",
                "sha256:TAG:HEX, as GetServerInfo shows it",
                "Copy it from `runwright info`, or select the package by its id.",
            )
        if not 1 <= len(self.input) <= MAX_INPUT_PARTS:
            raise invalid_request(
                "input", f"1 to {MAX_INPUT_PARTS} parts", "Send one part of text, or join some of them."
            )
        for index, part in enumerate(self.input):
            _check_part(index, part)
        size = sum([len(part.encode()) for part in self.input if isinstance(part, str)])
        if size > MAX_INPUT_BYTES:
            raise invalid_request(
                "input",
                f"at most {MAX_INPUT_BYTES} bytes of text together, not {size}",
                "Shorten it, or have a tool of the package read what is long.",
            )
        if self.image_bytes > MAX_IMAGES_BYTES:
            raise invalid_request(
                "input",
                f"at most {MAX_IMAGES_BYTES} bytes of images together, not {self.image_bytes}",
                "Send fewer of them, or smaller ones.",
            )
        if self.labels:
            self._check_labels()

    def _check_labels(self) -> None:
        if len(self.labels) > MAX_LABELS:
            raise invalid_request(
                "labels", f"at most {MAX_LABELS} labels", "Leave some out, or join them in one value."
            )
        for key, value in self.labels.items():
            check_caller_id("labels", key)
            if not _is_unicode(value):
                raise invalid_request(f"labels[{key}]", "Unicode text", "Encode what is no text, such as in base64.")
            if len(value.encode()) > MAX_LABEL_BYTES:
                raise invalid_request(
                    f"labels[{key}]", f"at most {MAX_LABEL_BYTES} bytes", "Shorten it, or put a reference to it there."
                )

    @property
    def image_bytes(self) -> int:
        """How much the images are together."""
        return sum([len(part.data) for part in self.input if isinstance(part, Image)])

    def with_digests(self) -> RunRequest:
        """The same request, its images with their digests. Of large ones that takes a while, on any thread."""
        parts = [
            replace(part, digest=digest(part.data)) if isinstance(part, Image) and not part.digest else part
            for part in self.input
        ]
        return replace(self, input=tuple(parts))

    def normal_form(self) -> dict[str, JsonValue]:
        """Everything that makes two requests the same request: all but the run id."""
        form: dict[str, JsonValue] = {
            "agent_id": self.agent_id,
            "budget": {
                "parallel_calls": self.budget.parallel_calls,
                "rounds": self.budget.rounds,
                "tool_calls": self.budget.tool_calls,
            },
            "input": [_normal_part(part) for part in self.input],
            "labels": dict(self.labels),
            "package": {"fingerprint": self.package_fingerprint, "package_id": self.package_id},
            "session_id": self.session_id,
            "turn_id": self.turn_id,
        }
        # Younger than the digests of requests on disk, these two are only there where they say something.
        if self.package_tag:
            form["package"] = {"tag": self.package_tag}
        if self.on_busy is not OnBusy.ALLOW:
            form["on_busy"] = self.on_busy.name
        return form

    def canonical(self) -> bytes:
        """The normal form as RFC 8785 JSON: what is stored with the run."""
        return canonical_plain_json(self.normal_form())

    def digest(self) -> str:
        """Digest of the canonical form: what a repeated StartRun must match."""
        return digest(self.canonical())

    def contents(self) -> tuple[Content, ...]:
        """The input parts as content."""
        return tuple(_content(part) for part in self.input)


def is_fingerprint(text: str) -> bool:
    """True for what has the form of a package's fingerprint."""
    return bool(_FINGERPRINT.match(text))


def differing_fields(first: dict[str, JsonValue], second: dict[str, JsonValue]) -> list[str]:
    """Names, never values, of the fields in which two normal forms differ."""
    return sorted(name for name in first.keys() | second.keys() if first.get(name) != second.get(name))


def _check_part(index: int, part: str | Image) -> None:
    if isinstance(part, str):
        if not part.strip() or not _is_unicode(part):  # vendors refuse blank texts
            raise invalid_request(
                f"input[{index}].text", "Unicode text that is not blank", "Say something in it, or leave the part out."
            )
        return
    if part.media_type not in IMAGE_TYPES:
        raise invalid_request(
            f"input[{index}].data.media_type", f"one of {', '.join(IMAGE_TYPES)}", "Convert the image to one of them."
        )
    if not part.data:
        raise invalid_request(f"input[{index}].data.data", "an image that is not empty", "Leave the part out.")
    if len(part.data) > MAX_IMAGE_BYTES:
        raise invalid_request(
            f"input[{index}].data.data",
            f"an image of at most {MAX_IMAGE_BYTES} bytes, not {len(part.data)}",
            "Make it smaller: models see no more than a few thousand pixels a side.",
        )
    found = image_type(part.data)
    if found != part.media_type:
        message = found or f"none of {', '.join(IMAGE_TYPES)}"
        raise invalid_request(
            f"input[{index}].data.media_type",
            f"what the first bytes of the data say they are: {message}",
            f"Say {found}." if found else f"Send one of {', '.join(IMAGE_TYPES)}.",
        )


def _normal_part(part: str | Image) -> JsonValue:
    # A text stands for itself, as it did before there were images: digests of such requests stay.
    return part if isinstance(part, str) else {"digest": _digest(part), "media_type": part.media_type}


def _content(part: str | Image) -> Content:
    return Content.text(part) if isinstance(part, str) else Content.known(part.data, part.media_type, _digest(part))


def _digest(image: Image) -> str:
    return image.digest or digest(image.data)


def _is_unicode(text: str) -> bool:
    try:
        text.encode()  # refuses lone surrogates, without a loop over 64 KiB of characters
    except UnicodeEncodeError:
        return False
    return True
