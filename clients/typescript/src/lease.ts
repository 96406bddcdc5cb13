/** A registration that is renewed for as long as it is needed. */

import { randomUUID } from "node:crypto";
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { durationMs } from "@bufbuild/protobuf/wkt";
import type { Client } from "./client.js";
import {
  type CallbackSpecSchema,
  CallbackTlsSchema,
} from "./gen/runwright/callback/v1/callback_registry_service_pb.js";

/** Options of {@link ToolServer.register}. */
export interface RegisterOptions {
  /** The registration's id, one per process. Absent: a new one. */
  readonly callbackId?: string;
  /** Where the runtime reaches this process, `host:port`. Absent: where it listens. */
  readonly address?: string;
  /** How long the registration outlives this process, 5 s to 1 h: 60 s. It is renewed at a third of that. */
  readonly leaseMs?: number;
  /** How many calls the runtime may have under way here at once, at most 10,000. Absent: 8; more wait there. */
  readonly maxCalls?: number;
  /** False: does not say which schemas the tools have, and gets the calls of every package. Absent: true. */
  readonly schemaDigests?: boolean;
  /** How the runtime checks the server's certificate. Absent: plaintext. */
  readonly tls?: { readonly ca?: string | Uint8Array; readonly serverName?: string };
}

/** A registration and its renewals. */
export class Lease {
  /** The registration's id. */
  readonly callbackId: string;
  readonly #client: Client;
  readonly #spec: MessageInitShape<typeof CallbackSpecSchema>;
  readonly #options: { leaseMs?: number | undefined; credential?: string | undefined };
  readonly #onError: (message: string, error: unknown) => void;
  #timer: NodeJS.Timeout | undefined;
  #renewing: Promise<void> = Promise.resolve();
  readonly #ended = new AbortController();

  /** Made by {@link ToolServer.register}. */
  constructor(
    client: Client,
    spec: MessageInitShape<typeof CallbackSpecSchema>,
    options: RegisterOptions & { credential?: string | undefined },
    onError: (message: string, error: unknown) => void,
  ) {
    const { tls, leaseMs, credential } = options;
    this.callbackId = options.callbackId ?? `${(spec.executor ?? "").slice(0, 90)}-${randomUUID()}`;
    this.#client = client;
    const caPem = typeof tls?.ca === "string" ? Buffer.from(tls.ca) : tls?.ca;
    const checks = tls && create(CallbackTlsSchema, { caPem, serverName: tls.serverName });
    this.#spec = { ...spec, callbackId: this.callbackId, tls: checks, maxCallsInFlight: options.maxCalls ?? 0 };
    this.#options = { leaseMs, credential };
    this.#onError = onError;
  }

  /** The address of the runtime that it is registered with. */
  get server(): string {
    return this.#client.address;
  }

  /** Registers for the first time. */
  async begin(): Promise<void> {
    const { lease } = await this.#client.registerCallback(this.#spec, this.#options);
    const everyMs = (lease ? durationMs(lease) : 60_000) / 3;
    this.#timer = setInterval(() => {
      this.#renewing = this.#renew(everyMs);
    }, everyMs);
    this.#timer.unref(); // it is the listening socket that keeps a process
  }

  /** Ends the renewals and the registration; true once that has ended. A runtime that cannot be told in time finds out when the lease is over. */
  async end(withinMs = 5_000): Promise<boolean> {
    if (this.#ended.signal.aborted) return false;
    this.#ended.abort();
    clearInterval(this.#timer);
    await this.#renewing; // or it would undo what comes next
    try {
      await this.#client.unregisterCallback(this.callbackId, { deadlineMs: withinMs });
      return true;
    } catch (error) {
      this.#onError(`callback ${this.callbackId} could not be unregistered`, error);
      return false;
    }
  }

  async #renew(withinMs: number): Promise<void> {
    const { signal } = this.#ended;
    try {
      await this.#client.registerCallback(this.#spec, { ...this.#options, deadlineMs: withinMs, signal });
    } catch (error) {
      if (signal.aborted) return;
      this.#onError(`the lease of callback ${this.callbackId} was not renewed`, error);
    }
  }
}
