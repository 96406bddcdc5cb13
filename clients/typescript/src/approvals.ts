/** The part of a client that shows what waits for somebody to decide, and decides. */

import { randomUUID } from "node:crypto";
import type { JsonObject, MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { present } from "./caller.js";
import type { CallOptions } from "./calls.js";
import { asRunwrightError } from "./diagnosis.js";
import type { Approval, ApprovalState, ApprovalVerdict } from "./gen/runwright/v1/approval_pb.js";
import type { ApprovalService, DecisionRequestSchema, DecisionResult } from "./gen/runwright/v1/approval_service_pb.js";
import { GrantCalls, type GrantRequest } from "./grants.js";
import { check } from "./options.js";
import { Contact, sleep } from "./patience.js";
import { away } from "./subscription.js";

/** Which approvals are wanted; what is left out means any. */
export interface ApprovalFilter {
  /** Where they stand; either PENDING alone or others without it. Absent: pending. */
  readonly states?: ApprovalState[];
  /** Those that this key may decide on now. */
  readonly mine?: boolean;
  readonly agentId?: string;
  readonly tool?: string;
  readonly risk?: string;
  readonly runId?: string;
  /** Asked for before this time. */
  readonly requestedBefore?: Date;
}

/** A decision as it is asked for; see {@link ApprovalCalls.decideApproval}. */
export interface ApprovalDecision {
  readonly approvalId: string;
  /** `Approval.digest` of what was looked at. */
  readonly digest: string;
  readonly verdict: ApprovalVerdict;
  /** What the model is told of a DENY, and the result that a RESPOND is. */
  readonly message?: string;
  /** For the record only. */
  readonly note?: string;
  /** On whose behalf: a note, no authority. */
  readonly onBehalfOf?: string;
  /** With an APPROVE, also one with edits: permits such calls from then on, within what `Approval.grants` offers. */
  readonly grant?: GrantRequest;
  /** Makes two requests the same one. Absent: a new id. */
  readonly requestId?: string;
  /** Of APPROVE_WITH_EDITS: the arguments that the call is made with. */
  readonly arguments?: JsonObject;
  /** Of DELEGATE: who is to decide, one of `Approval.delegates`. */
  readonly delegateTo?: string;
}

/** What {@link ApprovalCalls.decideApproval} gives. */
export interface Decided {
  /** The approval as it stands. */
  readonly approval: Approval;
  /** False when the same request had decided before. */
  readonly decided: boolean;
}

/** An approval as it stands, and where to go on from behind it. */
export interface ApprovalUpdate {
  readonly approval: Approval;
  readonly cursor: string;
}

/** What {@link Client} can do with approvals. They are named by their ids, `RUN/aN.N.N`. */
export abstract class ApprovalCalls extends GrantCalls {
  /** Approvals, fetched page by page as they are read: what is pending, the oldest first; else the newest first. */
  async *listApprovals(
    filter: ApprovalFilter = {},
    options: CallOptions & { readonly pageSize?: number } = {},
  ): AsyncGenerator<Approval, void, undefined> {
    check("approvalFilter", filter);
    check("listApprovals", options);
    const requestedBefore = filter.requestedBefore && timestampFromDate(filter.requestedBefore);
    for (let pageToken = ""; ;) {
      const request = { ...filter, requestedBefore, pageSize: options.pageSize, pageToken };
      const page = await this.call(options, (call) => this.approvals.listApprovals(request, call));
      yield* page.approvals;
      if (!page.nextPageToken) return;
      pageToken = page.nextPageToken;
    }
  }

  /**
   * An approval as it stands, with the arguments that are to be approved, up to 64 KiB, and how they differ from those of
   * the last call that was approved.
   */
  async getApproval(approvalId: string, options?: CallOptions): Promise<Approval> {
    check("getApproval", options);
    const request = { approvalId, includeArguments: true };
    return present((await this.call(options, (call) => this.approvals.getApproval(request, call))).approval);
  }

  /** Decides, once, on what has the decision's digest. A request that is sent again never decides twice. */
  async decideApproval(decision: ApprovalDecision, options?: CallOptions): Promise<Decided> {
    checkDecision(decision);
    check("decideApproval", options);
    const request = { decision: named(decision) };
    const answer = await this.call(options, (call) => this.approvals.decideApproval(request, call));
    return { approval: present(answer.approval), decided: answer.decided };
  }

  /** Takes up to 100 decisions, each for itself; the results stand in their order. */
  async batchDecide(decisions: readonly ApprovalDecision[], options?: CallOptions): Promise<DecisionResult[]> {
    for (const decision of decisions) checkDecision(decision);
    check("batchDecide", options);
    const request = { decisions: decisions.map(named) };
    return (await this.call(options, (call) => this.approvals.batchDecide(request, call))).results;
  }

  /**
   * What is pending, then each approval as it stands after something has become of it, for ever: over disconnects and
   * restarts, from the last cursor. `after` is that of the last update that was seen. `mine` are those of whose approver
   * sets this key is in one. To leave, end the `for await` loop.
   */
  async *watchApprovals(
    options: { readonly after?: string; readonly mine?: boolean; readonly signal?: AbortSignal } = {},
  ): AsyncGenerator<ApprovalUpdate, void, undefined> {
    check("watchApprovals", options);
    const operation = this.operations.begin(options.signal);
    const contact = new Contact(this.deadlineMs);
    const request: MessageInitShape<typeof ApprovalService.method.watchApprovals.input> = {
      afterCursor: options.after,
      mine: options.mine,
    };
    try {
      for (;;) {
        try {
          for await (const update of this.approvals.watchApprovals(request, { signal: operation.signal })) {
            contact.made();
            this.connection.peer.heard = true;
            if (update.approval) yield { approval: update.approval, cursor: update.cursor };
            request.afterCursor = update.cursor;
          }
          throw away(`${this.connection.peer.address} ended a stream that has no end.`);
        } catch (thrown) {
          operation.signal.throwIfAborted();
          await sleep(contact.lost(asRunwrightError(thrown, this.connection.peer)), operation.signal);
        }
      }
    } finally {
      operation.controller.abort(); // a loop that is left ends the call
      operation.done();
    }
  }
}

function checkDecision(decision: ApprovalDecision): void {
  check("approvalDecision", decision);
  if (decision.grant) check("grantRequest", decision.grant);
}

/** The decision as it is sent, with an id of its request. */
function named({
  requestId = randomUUID(),
  arguments: edited,
  ...rest
}: ApprovalDecision): MessageInitShape<typeof DecisionRequestSchema> {
  const argumentsJson = edited && new TextEncoder().encode(JSON.stringify(edited));
  return { ...rest, requestId, argumentsJson };
}
