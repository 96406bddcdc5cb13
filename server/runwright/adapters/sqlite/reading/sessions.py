"""The question a new run asks of its session. Two indexes answer it, however long the session is."""

from __future__ import annotations

import apsw

from runwright.adapters.journal_rules import SESSION_RUNS
from runwright.adapters.sqlite.failures import is_damage
from runwright.adapters.sqlite.reading import checked_events
from runwright.adapters.sqlite.tables import IN_SESSION, IS_OPEN, fetch
from runwright.core.context import SessionRun, SessionTurn, input_seen
from runwright.core.errors import AgentError
from runwright.core.ids import Namespace, RunId, RunKey
from runwright.core.kinds import EventKind
from runwright.core.outcomes import RunStatus
from runwright.core.records import RunCompleted, TurnStarted
from runwright.core.taint import Taint
from runwright.ports.journal import SessionPage
from runwright.wire.records import decode_event, event_turn

NEWEST = f"""SELECT run_no, run_id, agent_id, status FROM runs INDEXED BY runs_of_session
    WHERE namespace = ? AND session_id = ? AND {IN_SESSION} ORDER BY run_no DESC LIMIT ?"""
OPEN = f"""SELECT run_id FROM runs INDEXED BY runs_open_in_session
    WHERE namespace = ? AND session_id = ? AND agent_id = ? AND {IS_OPEN} AND {IN_SESSION}
    ORDER BY run_no DESC LIMIT 1"""
_COLUMNS = f"{checked_events.EVENT_COLUMNS}, session_id, agent_id"
_TURN = f"SELECT {_COLUMNS} FROM events WHERE run_no = ? AND kind = ? ORDER BY seq LIMIT 1"
_END = f"SELECT {_COLUMNS} FROM events WHERE run_no = ? ORDER BY seq DESC LIMIT 1"


def session(db: apsw.Connection, namespace: Namespace, session_id: str, agent_id: str, turns: int) -> SessionPage:
    """The newest runs of a session, and what was said in the newest completed ones of the agent."""
    runs: list[SessionRun] = []
    read = 0
    found = fetch(db, NEWEST, namespace, session_id, SESSION_RUNS + 1)
    for run_no, run_id, of_agent, number in found[:SESSION_RUNS]:
        status, turn, taint = RunStatus(number), None, None
        if of_agent == agent_id and status is RunStatus.COMPLETED and read < turns:
            turn, taint = _turn(db, run_no, RunKey(namespace, RunId(run_id)))
            read += turn is not None
        runs.append(SessionRun(RunId(run_id), of_agent, status, turn, taint))
    still_open = fetch(db, OPEN, namespace, session_id, agent_id)
    return SessionPage(runs, len(found) > SESSION_RUNS, RunId(still_open[0][0]) if still_open else None)


def _turn(db: apsw.Connection, run_no: int, run: RunKey) -> tuple[SessionTurn | None, Taint | None]:
    """What was said in a completed run, and by what it is tainted.

    None when it cannot be read, which must not end the session.

    Taken from its events, of which two are enough: a snapshot row takes far longer to read.
    """
    try:
        begun = checked_events.stored_event(fetch(db, _TURN, run_no, EventKind.TURN_STARTED.value)[0], run)
        ended = checked_events.stored_event(fetch(db, _END, run_no)[0], run)
        turn, end = decode_event(begun.data), decode_event(ended.data)
        turn_id = event_turn(begun.data)
    except (AgentError, IndexError):
        return None, None
    except (apsw.Error, UnicodeDecodeError) as error:
        if is_damage(error):
            return None, None
        raise
    if not isinstance(turn, TurnStarted) or not isinstance(end, RunCompleted):
        return None, None
    seen = input_seen(turn.input, end.input)
    return SessionTurn(run.run_id, turn_id, seen, end.result, end.tainted), end.tainted_by
