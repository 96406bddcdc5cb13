"""The two forms of output: text for people, JSON for programs."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer
from google.protobuf.json_format import MessageToJson
from google.protobuf.message import Message


class Format(StrEnum):
    """What a command prints."""

    TEXT = "text"
    JSON = "json"


FormatOption = Annotated[Format, typer.Option("--output", "-o", help="Print for people or for programs.")]


def print_json(message: Message) -> None:
    """Prints a message in the JSON form of protobuf, with the field names of the proto files.

    Whatever is not ASCII is escaped: that keeps the value and cannot harm a terminal.
    """
    print(MessageToJson(message, preserving_proto_field_name=True, ensure_ascii=True))
