/** The part of a client that shows what people have permitted for later, and takes it back. */

import { type Client as Stub, createClient } from "@connectrpc/connect";
import { Caller, present } from "./caller.js";
import type { CallOptions } from "./calls.js";
import type { Connection } from "./connection.js";
import { ApprovalService } from "./gen/runwright/v1/approval_service_pb.js";
import type { GrantMatcher, GrantScope, GrantState, GrantStatus } from "./gen/runwright/v1/grant_pb.js";
import { check } from "./options.js";

/** A grant as whoever approves asks for it. */
export interface GrantRequest {
  /** For which runs. */
  readonly scope: GrantScope;
  /** For which calls of the tool. */
  readonly matcher: GrantMatcher;
  /** Of CONSTRAINTS: a condition in CEL over `args`. */
  readonly condition?: string;
  /** For how many calls, beside the one that is approved. */
  readonly uses: number;
  /** For how long, as in `90s`, `15m`, `8h` or `2d`. */
  readonly validFor: string;
  /** Whether it is to answer for tainted calls, too. */
  readonly tainted?: boolean;
}

/** Which grants are wanted; what is left out means any. */
export interface GrantFilter {
  /** Where they stand; either OPEN alone or others without it. Absent: open. */
  readonly states?: GrantState[];
  readonly tool?: string;
  readonly agentId?: string;
  readonly runId?: string;
  readonly issuer?: string;
}

/** What {@link GrantCalls.revokeGrant} gives. */
export interface Revoked {
  /** The grant as it stands. */
  readonly grant: GrantStatus;
  /** False when it answered no more before. */
  readonly revoked: boolean;
}

/** What {@link Client} can do with grants. They are named by their ids, `RUN/gN.N.N`. */
export abstract class GrantCalls extends Caller {
  /** The generated client of the service of approvals, as {@link Client.runtime} is of the runtime. */
  readonly approvals: Stub<typeof ApprovalService>;

  protected constructor(connection: Connection, deadlineMs: number) {
    super(connection, deadlineMs);
    this.approvals = createClient(ApprovalService, connection.transport);
  }

  /** Grants, fetched page by page as they are read: those that answer, the one that lasts longest first; else the newest. */
  async *listGrants(
    filter: GrantFilter = {},
    options: CallOptions & { readonly pageSize?: number } = {},
  ): AsyncGenerator<GrantStatus, void, undefined> {
    check("grantFilter", filter);
    check("listGrants", options);
    for (let pageToken = ""; ;) {
      const request = { ...filter, pageSize: options.pageSize, pageToken };
      const page = await this.call(options, (call) => this.approvals.listGrants(request, call));
      yield* page.grants;
      if (!page.nextPageToken) return;
      pageToken = page.nextPageToken;
    }
  }

  /** Takes a grant back, for good: from then on somebody is asked again. Sent again it changes nothing. */
  async revokeGrant(grantId: string, options: CallOptions & { readonly note?: string } = {}): Promise<Revoked> {
    check("revokeGrant", options);
    const request = { grantId, note: options.note };
    const answer = await this.call(options, (call) => this.approvals.revokeGrant(request, call));
    return { grant: present(answer.grant), revoked: answer.revoked };
  }
}
