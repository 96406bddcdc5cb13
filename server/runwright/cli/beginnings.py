"""What `runwright init` writes: a package, and a program that serves its tool, in each language."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum

from msgspec import Struct


class Language(StrEnum):
    """A language that a tool server can be begun in."""

    PYTHON = "python"
    GO = "go"
    TYPESCRIPT = "typescript"


class Beginning(Struct, frozen=True):
    """The files of a language beside the package, and the commands that start the tool, in the folder.

    `{client}` in a command is the folder of the language's client.
    """

    files: Mapping[str, str]
    commands: Sequence[str]


PACKAGE = """\
format: runwright-package-v1-draft
id: words
agent: {id: words, instructions: Count what you are asked to count.}
provider:
  adapter: scripted # plays the answers below in place of a model; with a real one nothing else changes
  model: script-1
  parameters:
    script:
      - calls: [{tool: count_words, arguments: {text: the quick brown fox, longer_than: 3}}]
      - text: "The tool says {results}."
policy: builtin:read-only
tools:
  - name: count_words
    description: Counts the words of a text that are longer than so many letters.
    executor: words
    effect: read
    parameters:
      type: object
      properties:
        text: {type: string}
        longer_than: {type: integer, default: 0}
      required: [text]
      additionalProperties: false
"""
_PYTHON = '''\
"""Serves the tool of package.yaml: a typed function. The runtime dials it; nothing else has to be open."""

import sys

from runwright_client import ToolServer, tool


@tool(effect="read")
def count_words(text: str, longer_than: int = 0) -> dict[str, int]:
    """Counts the words of a text that are longer than so many letters."""
    return {"words": sum(len(word) > longer_than for word in text.split())}


server = ToolServer([count_words])

if __name__ == "__main__":
    server.run(sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:7760", executor="words")
'''
_GO = """\
// Command tools serves the tool of package.yaml: a typed function. The runtime dials it; nothing else has to be open.
package main

import (
	"context"
	"log"
	"os"
	"os/signal"
	"strings"

	runwright "github.com/runwright/runwright/clients/go"
)

type countWords struct {
	Text       string `json:"text"`
	LongerThan int    `json:"longer_than"`
}

func count(_ context.Context, _ *runwright.ToolCall, args countWords) (any, error) {
	words := 0
	for _, word := range strings.Fields(args.Text) {
		if len(word) > args.LongerThan {
			words++
		}
	}
	return map[string]int{"words": words}, nil
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	server := "127.0.0.1:7760"
	if len(os.Args) > 1 {
		server = os.Args[1]
	}
	client, err := runwright.Connect(server)
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()

	tools := runwright.NewToolServer()
	runwright.Handle(tools, "count_words", count)
	if err := tools.Start("127.0.0.1:0"); err != nil {
		log.Fatal(err)
	}
	if _, err := tools.Register(ctx, client, "words"); err != nil {
		log.Fatal(err)
	}
	log.Print("serving executor words")
	<-ctx.Done()
	tools.Shutdown(context.Background())
}
"""
_TYPESCRIPT = """\
// Serves the tool of package.yaml: a typed function. The runtime dials it; nothing else has to be open.
import { Client, ToolServer } from "@runwright/client";

const client = Client.connect(process.argv[2] ?? "127.0.0.1:7760");
const tools = new ToolServer();

/** @type {(args: { text: string, longer_than?: number }) => { words: number }} */
const countWords = ({ text, longer_than: longerThan = 0 }) => ({
  words: text.split(/\\s+/).filter((word) => word.length > longerThan).length,
});

tools.add("count_words", countWords);
await tools.serveFor(client, { executor: "words" });
console.error("serving executor words");
process.once("SIGINT", () => tools.close().then(() => client.close()));
"""
BEGINNINGS: Mapping[Language, Beginning] = {
    Language.PYTHON: Beginning({"tools.py": _PYTHON}, ("pip install {client}", "python tools.py")),
    Language.GO: Beginning(
        {"main.go": _GO},
        (
            "go mod init example.org/words",
            "go mod edit -replace github.com/runwright/runwright/clients/go={client}",
            "go mod tidy",
            "go run .",
        ),
    ),
    Language.TYPESCRIPT: Beginning(
        {"tools.mjs": _TYPESCRIPT, "package.json": '{\n  "private": true,\n  "type": "module"\n}\n'},
        ("make -C {client} dist", "npm install {client}/dist/runwright-client.tgz", "node tools.mjs"),
    ),
}
