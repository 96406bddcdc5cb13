/** A policy of your own: a server that the runtime dials and asks. */

import type { Callback } from "./callback.js";
import type { Client } from "./client.js";
import { decided, type PolicyHandler } from "./decisions.js";
import { CallbackKind } from "./gen/runwright/callback/v1/callback_registry_service_pb.js";
import { PolicyService } from "./gen/runwright/callback/v1/policy_service_pb.js";
import type { Lease, RegisterOptions } from "./lease.js";
import { shown } from "./options.js";
import { ToolServer, type ToolServerOptions } from "./tools.js";

/** Serves one remote policy to the runtime. Ended by {@link PolicyServer.close} or `await using`. */
export class PolicyServer implements AsyncDisposable {
  readonly #host: ToolServer;

  /** A server that asks `decide`, and does not listen yet. */
  constructor(decide: PolicyHandler, options: ToolServerOptions = {}) {
    if (typeof decide !== "function") throw new TypeError(`The policy is ${shown(decide)}, no function.`);
    this.#host = new ToolServer(options, callback(decide));
  }

  /** Where it listens; empty before it does. */
  get address(): string {
    return this.#host.address;
  }

  /** As {@link ToolServer.listen}. */
  async listen(address?: string): Promise<string> {
    return this.#host.listen(address);
  }

  /** As {@link ToolServer.register}, under the name by which packages and operators ask it. */
  async register(client: Client, policy: string, options?: RegisterOptions): Promise<Lease> {
    return this.#host.register(client, policy, options);
  }

  /** Listens, unless it does, and registers. */
  async serveFor(
    client: Client,
    options: RegisterOptions & { readonly policy: string; readonly listen?: string },
  ): Promise<Lease> {
    const { policy, ...rest } = options;
    return this.#host.serveFor(client, { executor: policy, ...rest });
  }

  /** As {@link ToolServer.close}. */
  async close(graceMs?: number): Promise<void> {
    await this.#host.close(graceMs);
  }

  /** As {@link PolicyServer.close}. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

function callback(decide: PolicyHandler): Callback {
  return {
    kind: CallbackKind.POLICY,
    word: "policy",
    serve: (router, authorize, onError) =>
      router.service(PolicyService, {
        decide: (question, context) => {
          authorize(context);
          return decided(decide, question, context.signal, onError);
        },
      }),
  };
}
