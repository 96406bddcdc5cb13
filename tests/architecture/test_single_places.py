"""What happens in one place only does so: whoever looks for it there has seen all of it."""

from __future__ import annotations

from collections.abc import Callable

from tests.architecture.source import Source, calls, imports, mentions, sources


def places(holds: Callable[[Source], bool]) -> set[str]:
    """The files for which it holds."""
    return {source.path for source in sources() if holds(source)}


def outside(holds: Callable[[Source], bool], *allowed: str) -> set[str]:
    """The files for which it holds although they are none of these."""
    return {source.path for source in sources() if holds(source) and not source.is_in(*allowed)}


def uses(*modules: str) -> Callable[[Source], bool]:
    """True for a file that imports one of the modules."""
    return lambda source: bool(imports(source) & set(modules))


def test_the_source_was_found() -> None:
    assert len(sources()) > 50


def test_runs_are_written_in_one_place() -> None:
    found = places(lambda source: any(name.endswith("journal.append") for name in calls(source)))

    assert found == {"runtime/runs/run_on_record.py"}


def test_what_is_written_to_the_journals_file_is_committed_in_one_place() -> None:
    assert places(lambda source: '"COMMIT"' in source.text) == {"adapters/sqlite/opening/transactions.py"}
    # Only its view of a failure leaves the file in doubt: nobody else has the writing connection act at once.
    performed = places(lambda source: any(name.endswith("writer.perform") for name in calls(source)))
    assert performed == {"adapters/sqlite/journal.py"}, "set_max_bytes, which writes nothing"


def test_the_environment_is_read_by_the_settings_at_most() -> None:
    environment = {"os.environ", "os.getenv", "environ", "getenv", "os.environb", "os.putenv"}

    assert outside(lambda source: bool(mentions(source) & environment), "settings") == set()


def test_grpc_statuses_are_chosen_by_one_table() -> None:
    found = outside(
        lambda source: any("StatusCode" in name.split(".") for name in mentions(source)),
        "transport/status.py",
        "adapters/remote",
        "cli",
    )

    assert found == set()


def test_time_is_read_by_the_clock_alone() -> None:
    found = outside(uses("time", "datetime", "calendar", "zoneinfo"), "adapters/clock.py", "cli")
    of_the_loop = places(lambda source: any(name.endswith("loop.time") for name in calls(source)))

    assert found | of_the_loop == set()


def test_random_ids_are_made_in_one_place_and_secrets_by_the_journals() -> None:
    assert outside(uses("uuid", "random"), "adapters/ids.py") == set()
    tokens = ("adapters/keys.py", "adapters/providers/model_images.py")
    assert outside(uses("secrets"), "adapters/sqlite", "adapters/memory", *tokens) == set()
    assert places(lambda source: "os.urandom" in mentions(source)) == {"adapters/ids.py"}


def test_the_vendors_libraries_are_known_to_their_adapter_alone() -> None:
    vendors = ("pydantic_ai", "openai", "anthropic", "httpx2")
    found = places(lambda source: any(name.split(".")[0] in vendors for name in imports(source)))

    of_answers = ("answer_bounds", "model_answer", "model_errors", "model_http", "model_vendor")
    assert found == {f"adapters/providers/{name}.py" for name in (*of_answers, "model_history", "model_images")}


def test_the_libraries_of_telemetry_are_known_to_their_adapters_alone() -> None:
    libraries = ("prometheus_client", "opentelemetry")
    found = places(lambda source: any(name.split(".")[0] in libraries for name in imports(source)))

    assert found == {f"adapters/telemetry/{name}.py" for name in ("approval_metrics", "otlp", "prometheus", "scrape")}


def test_models_tools_and_executors_are_called_by_the_performer_alone() -> None:
    effects = ("provider.complete", "tools.execute", "tools.reachable")

    found = places(lambda source: any(name.endswith(effects) for name in calls(source)))

    assert found == {"runtime/runs/performer.py"}


def test_the_machine_is_asked_in_one_place() -> None:
    asking = places(lambda source: bool({"decide", "advance"} & calls(source)))
    assert asking == {"runtime/runs/decisions.py", "core/machine/decide.py"}  # `decide` is `advance` without the state


def test_processes_are_started_by_the_schema_checker_alone() -> None:
    assert places(uses("subprocess", "multiprocessing")) == {"adapters/schema_process.py"}


def test_texts_of_packages_are_read_in_the_process_for_them_and_as_files() -> None:
    """What somebody sends is read nowhere else: it takes seconds that hold the interpreter's lock."""
    assert places(lambda source: "examine_document" in calls(source)) == {
        "adapters/package_worker.py",
        "adapters/package_files.py",
    }
    assert outside(uses("yaml"), "cli") == {"adapters/yaml_documents.py"}
    served = ("runtime/", "transport/", "wire/", "bootstrap/")
    reading = places(lambda source: bool({"examine_package", "load_package", "read_document"} & calls(source)))
    assert not {place for place in reading if place.startswith(served)}


def test_print_is_not_how_anybody_is_told() -> None:
    assert outside(lambda source: "print" in calls(source), "cli") == set()
