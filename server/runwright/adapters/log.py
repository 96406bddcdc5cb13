"""The operator's log: standard logging, one line a fact; JSON, or for people on a terminal."""

from __future__ import annotations

import json
import logging
import re
import sys
from typing import TextIO

_NAME = "runwright"
# What every line says itself; a field of that name would hide it.
_OWN = ("time", "level", "message", "logger", "traceback")
# C0 but for tabs and ends of line, which a traceback has, DEL, C1, and the marks that change the direction of writing.
# JSON has escaped the first of these; the others stand between its quotes, where this escape means the same.
_STEERING = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")


class JsonFormatter(logging.Formatter):
    """One line a fact: time, level, message, its fields, and the traceback if there is one."""

    def format(self, record: logging.LogRecord) -> str:
        """The line. Fields that say nothing are left out."""
        line: dict[str, object] = {
            "time": _time(self, record),
            "level": record.levelname.lower(),
            "message": record.getMessage(),
        }
        if record.name != _NAME:
            line["logger"] = record.name
        line |= _fields(record)
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return _escaped(json.dumps(line, ensure_ascii=False, default=str))


class TerminalFormatter(logging.Formatter):
    """The same in a line to be read: time of day, level, message, fields."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, and the traceback below it."""
        fields = " ".join(f"{name}={_shown(value)}" for name, value in _fields(record).items())
        time = self.formatTime(record, "%H:%M:%S")
        line = f"{time} {record.levelname.lower():<7} {record.getMessage()} {fields}".rstrip()
        return _escaped(f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line)


def configure_logging(stream: TextIO | None = None) -> None:
    """Sends the log of this process, warnings of libraries included, to standard error."""
    stream = stream or sys.stderr
    handler = logging.StreamHandler(stream)
    handler.setFormatter(TerminalFormatter() if stream.isatty() else JsonFormatter())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    logging.captureWarnings(True)


class StandardLog:
    """OperatorLog over standard logging."""

    def __init__(self, name: str = _NAME) -> None:
        self._logger = logging.getLogger(name)

    def info(self, event: str, **fields: object) -> None:
        """Something an operator may want to know."""
        self._logger.info("%s", event, extra={"fields": fields})

    def warning(self, event: str, **fields: object) -> None:
        """Something an operator should know before it does harm."""
        self._logger.warning("%s", event, extra={"fields": fields})

    def error(self, event: str, error: BaseException | None = None, **fields: object) -> None:
        """Something an operator must look at."""
        self._logger.error("%s", event, exc_info=error, extra={"fields": fields})


def _escaped(text: str) -> str:
    """The text with every character escaped that would steer a terminal, on which a log is read sooner or later."""
    return _STEERING.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def _time(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    day = formatter.formatTime(record, "%Y-%m-%dT%H:%M:%S")
    return f"{day}.{int(record.msecs):03d}{formatter.formatTime(record, '%z')}"


def _fields(record: logging.LogRecord) -> dict[str, object]:
    values: dict[str, object] = getattr(record, "fields", {})
    return {name: value for name, value in values.items() if value not in ("", [], None) and name not in _OWN}


def _shown(value: object) -> str:
    """A value in one line without what could steer a terminal."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return text if text.isprintable() and " " not in text else json.dumps(text)
