"""The forms of output: text for people, JSON and YAML and bare names for programs."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer
import yaml
from google.protobuf.json_format import MessageToDict, MessageToJson
from google.protobuf.message import Message


class Format(StrEnum):
    """What a command prints."""

    TEXT = "text"
    JSON = "json"


class EntryFormat(StrEnum):
    """What a command prints that lists what has no id."""

    TABLE = "table"
    JSON = "json"
    YAML = "yaml"


class RunFormat(StrEnum):
    """What a command prints that looks at one run."""

    TEXT = "text"
    JSON = "json"
    YAML = "yaml"
    NAME = "name"


class ListFormat(StrEnum):
    """What a command prints that lists."""

    TABLE = "table"
    JSON = "json"
    YAML = "yaml"
    NAME = "name"


FormatOption = Annotated[Format, typer.Option("--output", "-o", help="Print for people or for programs.")]
EntryFormatOption = Annotated[EntryFormat, typer.Option("--output", "-o", help="Print for people or for programs.")]


RunFormatOption = Annotated[
    RunFormat, typer.Option("--output", "-o", help="Print for people, for programs, or the id alone.")
]
ListFormatOption = Annotated[
    ListFormat, typer.Option("--output", "-o", help="Print for people, for programs, or the ids alone.")
]
WatchOption = Annotated[bool, typer.Option("--watch", "-w", help="Go on printing what changes. Ctrl-C leaves.")]


def print_json(message: Message) -> None:
    """Prints a message in the JSON form of protobuf, with the field names of the proto files.

    Whatever is not ASCII is escaped: that keeps the value and cannot harm a terminal.
    """
    print(MessageToJson(message, preserving_proto_field_name=True, ensure_ascii=True), flush=True)


def print_json_line(message: Message) -> None:
    """Prints what `print_json` does in one line, for outputs of many messages."""
    print(json_line(message), flush=True)


def json_line(message: Message) -> str:
    """What `print_json` prints, in one line."""
    return MessageToJson(message, preserving_proto_field_name=True, ensure_ascii=True, indent=None)


def print_yaml(message: Message) -> None:
    """Prints what `print_json` does, as YAML; what is not ASCII is escaped here as well."""
    print(yaml.safe_dump(MessageToDict(message, preserving_proto_field_name=True), sort_keys=False), end="", flush=True)
