/**
 * Client of Runwright, the durable agent runtime.
 *
 * {@link Client} starts runs and follows them, {@link ToolServer} serves tools to them. Every failed call rejects with
 * {@link RunwrightError}. The messages of the contract are in `@runwright/client/messages`.
 *
 * @packageDocumentation
 */

export { RawResult, type ToolCall, ToolError, type ToolHandler } from "./answers.js";
export type { ApprovalDecision, ApprovalFilter, ApprovalUpdate, Decided } from "./approvals.js";
export type {
  CallOptions,
  Cancelled,
  Decision,
  Resolved,
  Started,
  StartOptions,
  TagOptions,
  UnknownEffect,
  Waited,
} from "./calls.js";
export { Client } from "./client.js";
export type { ConnectOptions, Keepalive, Tls } from "./connection.js";
export {
  allow,
  defer,
  deny,
  interrupt,
  lowerBudget,
  type PolicyDecision,
  type PolicyHandler,
  type PolicyQuestion,
  replaceArguments,
  replaceText,
} from "./decisions.js";
export {
  type ApprovalNotification,
  type Dispatched,
  type Dispatcher,
  DispatcherServer,
  type DispatchHandler,
} from "./dispatchers.js";
export { asRunwrightError, type Peer } from "./diagnosis.js";
export { type ErrorFields, RepairNeeded, RunwrightError } from "./errors.js";
export type { Effect, ToolDeclaration } from "./describing.js";
export { packageCanonical, packageFingerprint, schemaDigest } from "./fingerprints.js";
export type { GrantFilter, GrantRequest, Revoked } from "./grants.js";
export { type Approval, ApprovalState, ApprovalVerdict } from "./gen/runwright/v1/approval_pb.js";
export type { DecisionResult } from "./gen/runwright/v1/approval_service_pb.js";
export { type Event, type EventFrame, EventKind } from "./gen/runwright/v1/event_pb.js";
export { type Grant, GrantMatcher, GrantScope, GrantState, type GrantStatus } from "./gen/runwright/v1/grant_pb.js";
export type { PackageFinding, PackageSummary, TagMove } from "./gen/runwright/v1/package_service_pb.js";
export {
  ApprovalComparison,
  type ArgumentChange,
  ArgumentChangeKind,
  type PreviousApproval,
} from "./gen/runwright/v1/previous_approval_pb.js";
export { OnBusy, Resolution, type RunSnapshot, RunStatus } from "./gen/runwright/v1/run_pb.js";
export { EventView } from "./gen/runwright/v1/runtime_service_pb.js";
export { type Lease, type RegisterOptions } from "./lease.js";
export { PolicyServer } from "./policies.js";
export { cannotSay, notPerformed, performed, Reconciled, type Reconciler } from "./reconciling.js";
export { type SubscribeOptions, Subscription } from "./subscription.js";
export { ToolServer, type ToolServerOptions } from "./tools.js";
export { deltaText, type Part, resultText, type Scope, toolText } from "./words.js";
