"""Every reason of an error that a client can provoke over the wire is in a case; and what is known to fail is one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from runwright.core.errors import ErrorReason

from tests.conformance.case_files import cases, known_failures
from tests.conformance.languages import LANGUAGES

# Where else it is provoked, or why a client cannot.
ELSEWHERE = {
    "APPROVAL_EXPIRED": "takes the time until an approval expires; tests/transport/test_every_reason.py",
    "APPROVER_MISSING": "takes keys without an approver; tests/transport/test_every_reason.py",
    "PACKAGE_LIMIT": "takes a namespace full of packages; tests/transport/test_every_reason.py",
    "PROVIDER_MISSING": "a server with such a package does not start; tests/transport/test_every_reason.py",
    "PORT_MISSING": "for whoever builds a runtime inside of a program",
    "JOURNAL_BUSY": "takes five tries of five seconds each; tests/transport/test_every_reason.py",
    "JOURNAL_CONFLICT": "takes two servers on one journal, which is locked; tests/transport/test_every_reason.py",
    "INTERNAL": "takes a fault of the server; tests/transport/test_every_reason.py",
    "CALLBACK_NOT_FOUND": "clients take a registration that is gone for ended; tests/transport/test_every_reason.py",
    "OVERLOADED": "takes requests to models of 64 MiB that wait; tests/transport/test_every_reason.py",
    "CONVERSATION_TOO_LARGE": "takes a conversation of 12 MiB; tests/transport/test_every_reason.py",
    "POLICY_UNAVAILABLE": "takes the wait for a host; tests/transport/test_every_reason.py",
    "POLICY_TIMED_OUT": "takes the time of an attempt; tests/transport/test_every_reason.py",
    "POLICY_ANSWER_INVALID": "the clients' policy servers give back the digest; tests/transport/test_every_reason.py",
    "RUN_NOT_HELD": "removing a run is the command line's; tests/transport/test_every_reason.py",
    "TOOL_RESULT_TOO_LARGE": "the clients' tool servers say it in their own words before: tool_returns_much",
    "TOOL_ANSWER_INVALID": "the clients' tool servers set one outcome; tests/transport/test_every_reason.py",
    "DRAINING": "a client may see it or a closed connection: drain_refuses_what_is_new takes either",
}


def refusals(value: Any) -> Iterator[str]:
    """The reasons that an expectation names."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from (str(value[key]) for key in ("$refusal", "$failure") if key in value)
        for inner in value.values():
            if isinstance(inner, dict | list):
                yield from refusals(inner)
    elif isinstance(value, list):
        for inner in value:
            if isinstance(inner, dict | list):
                yield from refusals(inner)


def test_every_reason_is_in_a_case_or_somewhere_else() -> None:
    named = {reason for case in cases().values() for reason in case.reasons}
    for case in cases().values():
        for step in case.steps:
            named |= set(refusals(step.expect_error)) | set(
                refusals(step.expect if isinstance(step.expect, dict) else None)
            )
    every = {reason.name for reason in ErrorReason}

    assert every - named == set(ELSEWHERE), "each reason is in a case, or it is said why not"
    assert named <= every


def test_there_are_enough_cases() -> None:
    assert len(cases()) >= 40


def test_known_failures_are_of_cases_that_there_are_and_say_why() -> None:
    listed = {(language, case) for language, found in known_failures().items() for case in found}

    assert listed <= {(language, case) for language in LANGUAGES for case in cases()}
    assert all(reason.strip() for found in known_failures().values() for reason in found.values())


def test_cases_played_beside_the_others_share_no_server_with_them() -> None:
    aside = {case.server for case in cases().values() if case.aside}

    assert aside.isdisjoint(case.server for case in cases().values() if not case.aside)
