"""Requests: each rule of a request, what makes two requests the same, and what tells them apart."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from msgspec import structs
from runwright.core.content import TEXT
from runwright.core.errors import AgentError, ErrorReason
from runwright.core.fingerprint import canonical_json
from runwright.core.ids import check_caller_id
from runwright.core.images import MAX_IMAGE_BYTES, MAX_IMAGES_BYTES, Image
from runwright.core.request import MAX_INPUT_BYTES, Budget, OnBusy, RunRequest, differing_fields

IDS = ["run_id", "session_id", "turn_id", "agent_id", "package_id"]


def request(**fields: Any) -> RunRequest:
    """A valid request unless a field is not."""
    return RunRequest(**{"input": ("Hello",), **fields})


@pytest.mark.parametrize("value", ["a", "Z", "0", "a" * 128, "run-1", "a.b_c:d@e-f", "0e8400-e29b", "user@example.org"])
def test_an_id_of_letters_digits_and_a_few_signs_is_accepted(value: str) -> None:
    accepted = check_caller_id("run_id", value)

    assert accepted == value


@pytest.mark.parametrize(
    "value",
    ["", "a" * 129, "-a", ".a", "_a", "a b", "a/b", "a\n", "\na", "a\0", "é", "a\u0301", "a%20", "run#1", "٣"],
)
def test_any_other_id_is_refused(value: str) -> None:
    with pytest.raises(AgentError) as refused:
        check_caller_id("run_id", value)

    assert refused.value.reason is ErrorReason.INVALID_REQUEST
    assert refused.value.metadata["field"] == "run_id"


def test_a_request_at_every_limit_is_accepted() -> None:
    labels = {f"key-{index}": "v" * 256 for index in range(16)}
    full = request(input=("x" * 1024,) * 64, labels=labels, budget=Budget(1, 2, 3), **dict.fromkeys(IDS, "a" * 128))

    full.check()

    assert sum(map(len, full.input)) == 64 * 1024


@pytest.mark.parametrize(
    ("fields", "field", "limit"),
    [
        ({"run_id": "a b"}, "run_id", "128"),
        ({"session_id": "a b"}, "session_id", "128"),
        ({"turn_id": "a b"}, "turn_id", "128"),
        ({"agent_id": "a b"}, "agent_id", "128"),
        ({"package_id": "a b"}, "package.package_id", "128"),
        ({"input": ()}, "input", "1 to 64 parts"),
        ({"input": ("x",) * 65}, "input", "1 to 64 parts"),
        ({"input": ("x", "")}, "input[1].text", "not blank"),
        ({"input": (" \n\t",)}, "input[0].text", "not blank"),
        ({"input": ("x" * 65_536, "y")}, "input", "65536 bytes"),
        ({"input": ("é" * 32_769,)}, "input", "65536 bytes"),
        ({"labels": {f"key-{index}": "" for index in range(17)}}, "labels", "16 labels"),
        ({"labels": {"a b": ""}}, "labels", "128"),
        ({"labels": {"": "x"}}, "labels", "128"),
        ({"labels": {"team": "v" * 257}}, "labels[team]", "256 bytes"),
        ({"labels": {"team": "é" * 129}}, "labels[team]", "256 bytes"),
        ({"on_busy": OnBusy.REJECT}, "on_busy", "without a session_id"),
    ],
)
def test_a_broken_rule_is_refused_by_field_and_limit(fields: dict[str, Any], field: str, limit: str) -> None:
    with pytest.raises(AgentError) as refused:
        request(**fields).check()

    assert refused.value.reason is ErrorReason.INVALID_REQUEST
    assert refused.value.metadata["field"] == field
    assert limit in refused.value.metadata["expected"]
    assert refused.value.message.startswith(field)
    assert limit in refused.value.message


def test_a_refusal_does_not_repeat_what_the_caller_sent() -> None:
    with pytest.raises(AgentError) as refused:
        request(input=("my secret " * 7000,)).check()

    assert "secret" not in str(refused.value) + str(refused.value.metadata)


def test_the_normal_form_holds_every_field_but_the_run_id() -> None:
    input_ = request(
        input=("Hello", "again"),
        run_id="r",
        session_id="s",
        turn_id="t",
        agent_id="a",
        package_id="p",
        package_fingerprint="f",
        budget=Budget(1, 2, 3),
        labels={"b": "2", "a": "1"},
    )

    canonical = input_.canonical()

    assert canonical == (
        b'{"agent_id":"a","budget":{"parallel_calls":3,"rounds":1,"tool_calls":2},"input":["Hello","again"],'
        b'"labels":{"a":"1","b":"2"},"package":{"fingerprint":"f","package_id":"p"},"session_id":"s","turn_id":"t"}'
    )
    assert input_.digest() == "sha256:" + hashlib.sha256(canonical).hexdigest()


def test_the_run_id_and_the_order_of_labels_make_no_difference() -> None:
    first = request(run_id="r-1", labels={"a": "1", "b": "2"})
    second = request(run_id="r-2", labels={"b": "2", "a": "1"})

    same = first.digest() == second.digest()

    assert same
    assert differing_fields(first.normal_form(), second.normal_form()) == []


@pytest.mark.parametrize(
    ("changed", "name"),
    [
        ({"input": ("Hello!",)}, "input"),
        ({"input": ("Hel", "lo")}, "input"),
        ({"session_id": "x"}, "session_id"),
        ({"turn_id": "x"}, "turn_id"),
        ({"agent_id": "x"}, "agent_id"),
        ({"package_id": "x"}, "package"),
        ({"package_fingerprint": "x"}, "package"),
        ({"package_tag": "x"}, "package"),
        ({"budget": Budget(rounds=1)}, "budget"),
        ({"budget": Budget(tool_calls=1)}, "budget"),
        ({"budget": Budget(parallel_calls=1)}, "budget"),
        ({"labels": {"team": "x"}}, "labels"),
    ],
)
def test_every_other_change_makes_another_request_and_is_named(changed: dict[str, Any], name: str) -> None:
    first, second = request(), request(**changed)

    different = differing_fields(first.normal_form(), second.normal_form())

    assert different == [name]
    assert first.digest() != second.digest()


def test_differences_are_names_and_never_values() -> None:
    first = request(input=("my secret",), labels={"token": "my secret"}, session_id="s-1")
    second = request()

    different = differing_fields(first.normal_form(), second.normal_form())

    assert different == ["input", "labels", "session_id"]


def test_a_field_only_one_side_knows_is_a_difference() -> None:
    newer = {**request().normal_form(), "deadline": 5}

    different = differing_fields(request().normal_form(), newer)

    assert different == ["deadline"]


def test_input_parts_are_text_by_their_bytes() -> None:
    contents = request(input=("Grüße",)).contents()

    (content,) = contents
    assert content.data == "Grüße".encode()
    assert (content.ref.size, content.ref.media_type) == (7, TEXT)
    assert content.ref.digest == "sha256:" + hashlib.sha256(content.data).hexdigest()


PNG, JPEG, GIF, WEBP = (
    b"\x89PNG\r\n\x1a\n" + b"\0" * 8,
    b"\xff\xd8\xff\xe0" + b"\0" * 8,
    b"GIF89a" + b"\0" * 8,
    b"RIFF\x10\0\0\0WEBPVP8 ",
)


@pytest.mark.parametrize(
    ("kind", "data"), [("png", PNG), ("jpeg", JPEG), ("gif", GIF), ("gif", b"GIF87a;"), ("webp", WEBP)]
)
def test_an_image_is_a_part_by_its_bytes_and_type(kind: str, data: bytes) -> None:
    input_ = request(input=("What is this?", Image(f"image/{kind}", data)))

    input_.check()

    text, image = input_.contents()
    assert text.ref.media_type == TEXT
    assert (image.data, image.ref.media_type, image.ref.size) == (data, f"image/{kind}", len(data))


@pytest.mark.parametrize(
    ("image", "field", "expected"),
    [
        (Image("image/png", JPEG), "input[0].data.media_type", "first bytes"),
        (Image("image/png", b"no image"), "input[0].data.media_type", "first bytes"),
        (Image("image/webp", b"RIFF\x10\0\0\0WAVEfmt "), "input[0].data.media_type", "first bytes"),
        (Image("image/gif", b"GIF88b"), "input[0].data.media_type", "first bytes"),
        (Image("image/png", b""), "input[0].data.data", "not empty"),
        (Image("", PNG), "input[0].data.media_type", "image/webp"),
        (Image("image/svg+xml", b"<svg/>"), "input[0].data.media_type", "image/webp"),
        (Image("application/pdf", b"%PDF"), "input[0].data.media_type", "image/webp"),
        (Image("image/png", PNG + bytes(MAX_IMAGE_BYTES)), "input[0].data.data", f"at most {MAX_IMAGE_BYTES} bytes"),
    ],
)
def test_what_is_no_such_image_is_refused_by_field(image: Image, field: str, expected: str) -> None:
    with pytest.raises(AgentError) as refused:
        request(input=(image,)).check()

    assert refused.value.reason is ErrorReason.INVALID_REQUEST
    assert refused.value.metadata["field"] == field
    assert expected in refused.value.metadata["expected"]


def test_images_have_a_bound_of_their_own_beside_that_of_the_text() -> None:
    photo = Image("image/png", PNG + bytes(5 * 1024 * 1024))
    text = "x" * MAX_INPUT_BYTES

    request(input=(text, photo, photo, photo)).check()
    with pytest.raises(AgentError) as refused:
        request(input=(text, *[photo] * 4)).check()

    size = 4 * len(photo.data)
    assert refused.value.metadata == {
        "field": "input",
        "expected": f"at most {MAX_IMAGES_BYTES} bytes of images together, not {size}",
    }


def test_a_request_with_the_digests_of_its_images_is_the_same_request() -> None:
    input_ = request(input=("Hello", Image("image/png", PNG)))

    known = input_.with_digests()

    assert known.digest() == input_.digest()
    assert known.contents() == input_.contents()


def test_an_image_stands_in_the_normal_form_by_its_digest() -> None:
    input_ = request(input=("Hello", Image("image/png", PNG)))

    digest = "sha256:" + hashlib.sha256(PNG).hexdigest()
    assert input_.normal_form()["input"] == ["Hello", {"digest": digest, "media_type": "image/png"}]
    other = request(input=("Hello", Image("image/png", PNG + b"\0")))
    assert differing_fields(input_.normal_form(), other.normal_form()) == ["input"]


def test_the_digest_of_a_request_of_texts_is_what_it_was_before_there_were_images() -> None:
    before = "sha256:6b6ee8213e72f4b133190f624c6e06a6e9502add2daa79fdbce0c1a176359fe9"

    assert request(input=("Hello", "again")).digest() == before


def test_every_field_of_a_request_is_in_its_normal_form() -> None:
    names = {field.name for field in structs.fields(RunRequest)}

    normal = set(request(session_id="s", on_busy=OnBusy.REJECT).normal_form())

    assert "on_busy" not in request(session_id="s").normal_form(), "requests of older versions keep their digest"
    assert names - normal == {"run_id", "package_id", "package_fingerprint", "package_tag"}
    assert normal - names == {"package"}


EVERY_CHARACTER = "".join(chr(number) for number in range(0x110000) if not 0xD800 <= number <= 0xDFFF)


@pytest.mark.parametrize("text", [EVERY_CHARACTER, '\x7f\u2028/<&"\\', "𝄞 after \ufb33"])
def test_the_canonical_form_is_that_of_rfc_8785(text: str) -> None:
    labels = dict.fromkeys(("b", "B", "a.1", "a-1", "a_1", "a:1", "a@1", "10", "9"), text)
    requested = request(input=(text, "x"), labels=labels, budget=Budget(2**32 - 1, 0, 7))

    assert requested.canonical() == canonical_json(requested.normal_form())
