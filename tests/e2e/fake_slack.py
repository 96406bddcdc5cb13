"""A fake of Slack's Web API, as far as a dispatcher uses it, which refuses what the real one refuses; and its presses.

After https://api.slack.com/methods, /reference/block-kit/blocks and /authentication/verifying-requests-from-slack.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOKEN, SECRET, CHANNEL = "xoxb-for-tests", "a signing secret", "C0123456"
MOST_BLOCKS, MOST_TEXT, MOST_SECTION, MOST_VALUE, MOST_LABEL = 50, 40_000, 3000, 2000, 75


class FakeSlack:
    """Messages by their time stamp, and what was said to one person alone."""

    def __init__(self) -> None:
        self.messages: dict[str, dict[str, Any]] = {}
        self.ephemeral: list[dict[str, Any]] = []
        self.refused: list[str] = []
        slack = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                answer = slack.answer(self.path.rpartition("/")[2], self.headers.get("Authorization", ""), body)
                self.send_response(200)  # Slack says what is wrong in the body
                self.end_headers()
                self.wfile.write(json.dumps(answer).encode())

            def log_message(self, format: str, *args: Any) -> None:
                """Says nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        """Where its methods are."""
        return f"http://127.0.0.1:{self._server.server_address[1]}/api"

    def close(self) -> None:
        """Ends it."""
        self._server.shutdown()
        self._server.server_close()

    def answer(self, method: str, authorization: str, body: bytes) -> dict[str, Any]:
        """What the API answers."""
        fields = json.loads(body)
        error = self._refusal(method, authorization, fields)
        if error:
            self.refused.append(error)
            return {"ok": False, "error": error}
        if method == "chat.postEphemeral":
            self.ephemeral.append(fields)
            return {"ok": True, "message_ts": "1700000000.000001"}
        ts = fields.get("ts") or f"1700000000.{len(self.messages) + 1:06}"
        self.messages[ts] = fields
        return {"ok": True, "channel": fields["channel"], "ts": ts}

    def _refusal(self, method: str, authorization: str, fields: dict[str, Any]) -> str:
        if method not in ("chat.postMessage", "chat.update", "chat.postEphemeral"):
            return "unknown_method"
        if not authorization:
            return "not_authed"
        if authorization != f"Bearer {TOKEN}":
            return "invalid_auth"
        if fields.get("channel") != CHANNEL:
            return "channel_not_found"
        if method == "chat.update" and fields.get("ts") not in self.messages:
            return "message_not_found"
        if not (fields.get("text") or fields.get("blocks")):
            return "no_text"
        if len(fields.get("text", "")) > MOST_TEXT:
            return "msg_too_long"
        blocks = fields.get("blocks", [])
        return "invalid_blocks" if len(blocks) > MOST_BLOCKS or not all(map(_is_block, blocks)) else ""


def _is_block(block: dict[str, Any]) -> bool:
    match block.get("type"):
        case "section":
            return 1 <= len(block["text"]["text"]) <= MOST_SECTION
        case "actions":
            return 1 <= len(block["elements"]) <= 25 and all(map(_is_button, block["elements"]))
    return False


def _is_button(element: dict[str, Any]) -> bool:
    label, value = element["text"]["text"], element.get("value", "")
    return element["type"] == "button" and 1 <= len(label) <= MOST_LABEL and len(value) <= MOST_VALUE


def press(url: str, user: str, button: dict[str, Any], *, secret: str = SECRET, at: int | None = None) -> int:
    """A press on a button, signed as Slack signs it; the status of the answer."""
    stamp = str(int(time.time()) if at is None else at)
    action = {"type": "button", "action_id": button["action_id"], "value": button["value"], "action_ts": "1700000001.5"}
    payload = {"type": "block_actions", "user": {"id": user}, "channel": {"id": CHANNEL}, "actions": [action]}
    body = urllib.parse.urlencode({"payload": json.dumps(payload)}).encode()
    signature = "v0=" + hmac.new(secret.encode(), f"v0:{stamp}:".encode() + body, hashlib.sha256).hexdigest()
    headers = {"X-Slack-Request-Timestamp": stamp, "X-Slack-Signature": signature}
    headers["Content-Type"] = "application/x-www-form-urlencoded"
    try:
        with urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=10) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        return error.code
