/** Servers of this checkout as processes of their own, for one test each. */

import assert from "node:assert/strict";
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, openSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { TestContext } from "node:test";
import { Client, type ConnectOptions } from "@runwright/client";

const ROOT = join(import.meta.dirname, "../../../..");
const PYTHON = join(ROOT, ".venv/bin/python");
const ENVIRONMENT = { ...process.env, PYTHONPATH: join(ROOT, "server") };

/** One step of a scripted model. */
export type Step =
  { text: string } | { chunks: string[] } | { calls: { tool: string; arguments: Record<string, unknown> }[] };

/** A tool of the executor `desk`. */
export interface Tool {
  readonly name: string;
  readonly effect: "read" | "write";
  readonly timeout_ms?: number;
}

/** A package that plays a script and allows its tools. */
export function scripted(id: string, script: readonly Step[], tools: readonly Tool[] = []): object {
  return {
    format: "runwright-package-v0",
    id,
    agent: { id: "clerk" },
    provider: { adapter: "scripted", model: "script-1", parameters: { script } },
    policy: "builtin:allow-declared",
    tools: tools.map((tool) => ({ executor: "desk", parameters: { type: "object" }, ...tool })),
  };
}

/** A folder that is removed after the test. */
export function folder(t: TestContext): string {
  const path = mkdtempSync(join(tmpdir(), "runwright-client-"));
  t.after(() => {
    rmSync(path, { recursive: true, force: true });
  });
  return path;
}

/** What `runwright` prints for these words. */
export function runwright(...words: string[]): string {
  return execFileSync(PYTHON, ["-m", "runwright", ...words], { cwd: ROOT, env: ENVIRONMENT, encoding: "utf8" }).trim();
}

/** One data directory and the process that serves it, life after life, always at the same address. */
export class Server {
  address = "127.0.0.1:0";
  readonly #folder: string;
  readonly #packages: string[];
  readonly #options: string[];
  #process: ChildProcess | undefined;

  private constructor(path: string, packages: readonly object[], options: string[]) {
    this.#folder = path;
    this.#options = options;
    this.#packages = packages.map((spec, number) => {
      const file = join(path, `package-${String(number)}.yaml`);
      writeFileSync(file, JSON.stringify(spec)); // JSON is YAML
      return file;
    });
  }

  /** A server that is running; it ends with the test. */
  static async start(t: TestContext, packages: readonly object[], ...options: string[]): Promise<Server> {
    const server = new Server(folder(t), packages, options);
    t.after(() => server.kill());
    await server.start();
    return server;
  }

  /** A client of this server, which is closed after the test. */
  client(t: TestContext, options?: ConnectOptions): Client {
    const client = Client.connect(this.address, options);
    t.after(() => {
      client.close();
    });
    return client;
  }

  /** Starts a life; returns once it serves. */
  async start(): Promise<void> {
    const packages = this.#packages.flatMap((file) => ["--package", file]);
    const words = ["--data", join(this.#folder, "data"), "--listen", this.address, ...packages, ...this.#options];
    const log = openSync(join(this.#folder, "log"), "a");
    const started = spawn(PYTHON, ["-m", "runwright", "serve", ...words], {
      cwd: ROOT,
      env: ENVIRONMENT,
      stdio: ["ignore", "pipe", log],
    });
    this.#process = started;
    assert.ok(started.stdout);
    for await (const line of createInterface({ input: started.stdout })) {
      const ready = /^runwright serving on (\S+:\d+)$/.exec(line)?.[1];
      if (ready === undefined) continue;
      this.address = ready;
      return;
    }
    throw new Error(`the server did not start: ${words.join(" ")}`);
  }

  /** SIGKILL; returns once the process is gone. */
  async kill(): Promise<void> {
    const running = this.#process;
    this.#process = undefined;
    if (running?.exitCode !== null || running.signalCode !== null) return;
    const ended = once(running, "exit");
    running.kill("SIGKILL");
    await ended;
  }

  /** Sends a signal. */
  signal(name: NodeJS.Signals): void {
    this.#process?.kill(name);
  }
}

/** A promise that is kept from outside. */
export class Gate<T = void> {
  readonly passed: Promise<T>;
  #open: (value: T) => void = () => undefined;

  constructor() {
    this.passed = new Promise((resolve) => (this.#open = resolve));
  }

  /** Lets through whoever waits. */
  open(value: T): void {
    this.#open(value);
  }
}

/** A self-signed certificate for one name, as the paths of certificate and key. */
export function certificate(path: string, name: string): { cert: string; key: string } {
  const made = { cert: join(path, `${name}.pem`), key: join(path, `${name}.key`) };
  const subject = ["-subj", `/CN=${name}`, "-addext", `subjectAltName=DNS:${name}`];
  const files = ["-keyout", made.key, "-out", made.cert];
  execFileSync("openssl", ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", ...subject, ...files], {
    stdio: "ignore",
  });
  return made;
}
