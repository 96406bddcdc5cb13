/** What a server of callbacks serves in the place of tools. */

import type { ConnectRouter, HandlerContext } from "@connectrpc/connect";
import type { OnError } from "./answers.js";
import type { CallbackKind } from "./gen/runwright/callback/v1/callback_registry_service_pb.js";

/** A callback of another kind than a tool executor. */
export interface Callback {
  readonly kind: CallbackKind;
  /** What people call it. */
  readonly word: string;
  /** Adds its service. `authorize` throws for a call that does not carry the credential. */
  serve(router: ConnectRouter, authorize: (context: HandlerContext) => void, onError: OnError): ConnectRouter;
}
