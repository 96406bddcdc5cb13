/** A dispatcher of your own: a server that the runtime dials to tell of approvals. */

import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { Code, ConnectError, type HandlerContext } from "@connectrpc/connect";
import type { OnError } from "./answers.js";
import type { Callback } from "./callback.js";
import type { Client } from "./client.js";
import {
  ApprovalDispatcherService,
  type ApprovalNotification,
  DispatchApprovalResponseSchema,
  type DispatcherDecisionSchema,
  UpdateApprovalResponseSchema,
  WithdrawApprovalResponseSchema,
} from "./gen/runwright/callback/v1/approval_dispatcher_service_pb.js";
import { CallbackKind } from "./gen/runwright/callback/v1/callback_registry_service_pb.js";
import type { ApprovalVerdict } from "./gen/runwright/v1/approval_pb.js";
import type { Lease, RegisterOptions } from "./lease.js";
import { shown } from "./options.js";
import { ToolServer, type ToolServerOptions } from "./tools.js";

export type { ApprovalNotification };

/**
 * What a dispatcher answers. `reference`, of at most 256 bytes, is handed back with what is told later. With a
 * `verdict` it decides, on exactly what it was shown, as whoever registered it: see `Client.decideApproval`.
 */
export interface Dispatched {
  readonly reference?: string;
  readonly verdict?: ApprovalVerdict;
  readonly message?: string;
  readonly note?: string;
  readonly onBehalfOf?: string;
}

/**
 * Is told how an approval stands; it may be called more than once with one `idempotencyKey`. What it throws is noted,
 * and it is called again later. `signal` is aborted once nobody waits for the answer.
 */
export type DispatchHandler = (
  told: ApprovalNotification,
  signal: AbortSignal,
) => Dispatched | undefined | Promise<Dispatched | undefined>;

/**
 * Tells people of approvals: `dispatch` when somebody is asked to decide, `update` when it is somebody else's turn or
 * somebody decided, `withdraw` when there is nothing to decide any more. One that is absent acknowledges.
 */
export interface Dispatcher {
  readonly dispatch: DispatchHandler;
  readonly update?: DispatchHandler;
  readonly withdraw?: (told: ApprovalNotification, signal: AbortSignal) => unknown;
}

/** Serves one dispatcher to the runtime. Ended by {@link DispatcherServer.close} or `await using`. */
export class DispatcherServer implements AsyncDisposable {
  readonly #host: ToolServer;

  /** A server that tells `dispatcher`, and does not listen yet. */
  constructor(dispatcher: Dispatcher, options: ToolServerOptions = {}) {
    for (const [name, handler] of Object.entries(dispatcher)) {
      if (typeof handler !== "function") throw new TypeError(`${name} is ${shown(handler)}, no function.`);
    }
    this.#host = new ToolServer(options, callback(dispatcher));
  }

  /** Where it listens; empty before it does. */
  get address(): string {
    return this.#host.address;
  }

  /** As {@link ToolServer.listen}. */
  async listen(address?: string): Promise<string> {
    return this.#host.listen(address);
  }

  /** As {@link ToolServer.register}, under the name by which packages have it told. */
  async register(client: Client, dispatcher: string, options?: RegisterOptions): Promise<Lease> {
    return this.#host.register(client, dispatcher, options);
  }

  /** Listens, unless it does, and registers. */
  async serveFor(
    client: Client,
    options: RegisterOptions & { readonly dispatcher: string; readonly listen?: string },
  ): Promise<Lease> {
    const { dispatcher, ...rest } = options;
    return this.#host.serveFor(client, { executor: dispatcher, ...rest });
  }

  /** As {@link ToolServer.close}. */
  async close(graceMs?: number): Promise<void> {
    await this.#host.close(graceMs);
  }

  /** As {@link DispatcherServer.close}. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

function callback({ dispatch, update, withdraw }: Dispatcher): Callback {
  return {
    kind: CallbackKind.APPROVAL_DISPATCHER,
    word: "dispatcher",
    serve: (router, authorize, onError) => {
      const tell = async (
        handler: DispatchHandler | undefined,
        told: ApprovalNotification | undefined,
        context: HandlerContext,
      ): Promise<Answer> => {
        authorize(context);
        return handler && told ? answered(handler, told, context.signal, onError) : {};
      };
      return router.service(ApprovalDispatcherService, {
        dispatchApproval: async ({ notification }, context) =>
          create(DispatchApprovalResponseSchema, await tell(dispatch, notification, context)),
        updateApproval: async ({ notification }, context) =>
          create(UpdateApprovalResponseSchema, await tell(update, notification, context)),
        withdrawApproval: async ({ notification }, context) => {
          const told: DispatchHandler | undefined =
            withdraw &&
            (async (...about) => {
              await withdraw(...about);
              return undefined;
            });
          await tell(told, notification, context);
          return create(WithdrawApprovalResponseSchema);
        },
      });
    },
  };
}

interface Answer {
  reference?: string;
  decision?: MessageInitShape<typeof DispatcherDecisionSchema>;
}

async function answered(
  handler: DispatchHandler,
  told: ApprovalNotification,
  signal: AbortSignal,
  onError: OnError,
): Promise<Answer> {
  try {
    const { reference = "", verdict, message = "", note = "", onBehalfOf = "" } = (await handler(told, signal)) ?? {};
    const digest = told.approval?.digest ?? "";
    return { reference, ...(verdict && { decision: { digest, verdict, message, note, onBehalfOf } }) };
  } catch (error) {
    onError(`dispatcher ${told.dispatcher} failed at ${told.effectId}`, error);
    throw new ConnectError("The dispatcher failed; its log says how.", Code.Unknown);
  }
}
