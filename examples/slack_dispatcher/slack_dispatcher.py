"""Approvals in a Slack channel: `slack_dispatcher.py [SERVER [LISTEN]]`; README.md says what it needs.

It decides nothing itself: a button decides with the key of the person who pressed it, by their Slack user id.
"""

import hashlib
import hmac
import json
import os
import sys
import threading
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs

from runwright_client import ApprovalState, ApprovalVerdict, DispatcherServer, RunwrightError, SyncClient

SERVER, LISTEN = (sys.argv[1:] + ["127.0.0.1:7760", "127.0.0.1:7764"][len(sys.argv) - 1 :])[:2]
API, TOKEN = os.environ.get("SLACK_API", "https://slack.com/api"), os.environ["SLACK_TOKEN"]
CHANNEL, SECRET = os.environ["SLACK_CHANNEL"], os.environ["SLACK_SIGNING_SECRET"].encode()
PEOPLE = json.loads(Path(os.environ["SLACK_PEOPLE"]).read_text())  # Slack user id: that person's key
MOST_TEXT, MOST_BODY, MOST_AGE = 3000, 1 << 20, 300  # characters of a section, bytes, seconds
SENT = {}  # idempotency key: reference, so that what is told again is not posted again


def slack(method, **fields):
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json; charset=utf-8"}
    request = urllib.request.Request(f"{API}/{method}", json.dumps(fields).encode(), headers)
    with urllib.request.urlopen(request, timeout=8) as response:
        answer = json.load(response)
    if not answer["ok"]:
        raise RuntimeError(f"Slack refuses {method}: {answer['error']}")
    return answer


def plain(text):  # nothing in it is formatting, a link or a mention
    return {"type": "plain_text", "text": text[:MOST_TEXT]}


def message(approval):
    arguments, state = approval.arguments_content.text or "", ApprovalState(approval.state).name
    by = f" By {approval.decision.decided_by}." if approval.decision else ""
    head = f"{state}: {approval.tool} of agent {approval.agent_id}, run {approval.run_id}. {approval.message}{by}"
    fits = 0 < len(arguments) <= MOST_TEXT
    shown = arguments if fits else f"Too much to show: runwright approvals show {approval.approval_id}"
    blocks = [{"type": "section", "text": plain(text)} for text in (head, shown)]
    if approval.state is ApprovalState.PENDING:
        made = {"type": "button", "value": json.dumps([approval.approval_id, approval.digest])}
        verdicts = ["APPROVE", "DENY"] if fits else ["DENY"]  # nobody approves here what they cannot see whole
        buttons = [{**made, "action_id": each, "text": plain(each)} for each in verdicts]
        blocks.append({"type": "actions", "elements": buttons})
    return {"text": head[:MOST_TEXT], "blocks": blocks}


def dispatch(told):
    if told.idempotency_key not in SENT:
        posted = slack("chat.postMessage", channel=CHANNEL, **message(told.approval))
        SENT[told.idempotency_key] = json.dumps({"channel": posted["channel"], "ts": posted["ts"]})
    return SENT[told.idempotency_key]


def update(told):
    if told.reference:
        slack("chat.update", **json.loads(told.reference), **message(told.approval))


def decide(user, action):
    approval_id, digest = json.loads(action["value"])
    if user not in PEOPLE:
        raise LookupError("nobody here knows your key")
    with SyncClient.connect(SERVER, key=PEOPLE[user]) as client:  # the same press again is the same request
        verdict, request_id = ApprovalVerdict[action["action_id"]], f"slack-{user}-{action['action_ts']}"
        client.decide_approval(approval_id, digest, verdict, request_id=request_id, note=f"in Slack, by {user}")


class Pressed(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(min(int(self.headers.get("Content-Length", 0)), MOST_BODY))
        stamp = self.headers.get("X-Slack-Request-Timestamp", "0")
        mine = "v0=" + hmac.new(SECRET, b"v0:" + stamp.encode() + b":" + body, hashlib.sha256).hexdigest()
        signed = hmac.compare_digest(mine.encode(), self.headers.get("X-Slack-Signature", "").encode())
        is_slack = signed and stamp.isdigit() and abs(time.time() - int(stamp)) <= MOST_AGE
        self.send_response(200 if is_slack else 401)
        self.send_header("Content-Length", "0")
        self.end_headers()  # Slack waits for three seconds; what comes of it stands in the channel
        press = json.loads(parse_qs(body.decode())["payload"][0]) if is_slack else {"actions": []}
        for action in press["actions"]:
            try:
                decide(press["user"]["id"], action)
            except (RunwrightError, LookupError) as error:
                to = {"channel": press["channel"]["id"], "user": press["user"]["id"]}
                slack("chat.postEphemeral", **to, text=str(error))


if __name__ == "__main__":
    host, _, port = LISTEN.rpartition(":")
    threading.Thread(target=ThreadingHTTPServer((host, int(port)), Pressed).serve_forever, daemon=True).start()
    DispatcherServer(dispatch, update=update, withdraw=update).run(SERVER, "slack", key=os.environ["RUNWRIGHT_KEY"])
