/** What a policy is asked, what it may say, and how that is told to the runtime. */

import { create } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError } from "@connectrpc/connect";
import type { OnError } from "./answers.js";
import {
  type DecideRequest,
  type DecideResponse,
  DecideResponseSchema,
} from "./gen/runwright/callback/v1/policy_service_pb.js";
import { BudgetSchema } from "./gen/runwright/v1/package_pb.js";
import { PolicyVerdict } from "./gen/runwright/v1/policy_pb.js";

/**
 * What a policy is asked: `stage` says what it is about, `call` before a tool call, that with `result` after it,
 * and else `text`.
 */
export type PolicyQuestion = DecideRequest;

/** What a policy says; {@link allow}, {@link deny} and the other functions here make one. */
export interface PolicyDecision {
  readonly verdict: PolicyVerdict;
  /** For the record; empty: one that the runtime gives. */
  readonly code: string;
  /** For the model, or whoever is refused: at most 256 characters. */
  readonly message: string;
  /** What is to stand in the place of what was asked about. */
  readonly replacement?: DecideResponse["replacement"];
  /** How long it is held. */
  readonly deferMs?: number;
}

/**
 * Decides on a question. The same question may come more than once: it decides without any effect. `signal` is aborted
 * once nobody waits for the answer.
 */
export type PolicyHandler = (question: PolicyQuestion, signal: AbortSignal) => PolicyDecision | Promise<PolicyDecision>;

/** It may go on. */
export function allow(code = ""): PolicyDecision {
  return { verdict: PolicyVerdict.ALLOW, code, message: "" };
}

/** It must not go on; the model, or whoever is refused, is told `message`. */
export function deny(code = "", message = ""): PolicyDecision {
  return { verdict: PolicyVerdict.DENY, code, message };
}

/** The run must end. */
export function interrupt(code = "", message = ""): PolicyDecision {
  return { verdict: PolicyVerdict.INTERRUPT, code, message };
}

/** The call goes on with other arguments, once they are checked and decided on anew. */
export function replaceArguments(args: Record<string, unknown>, code = ""): PolicyDecision {
  const value = new TextEncoder().encode(JSON.stringify(args));
  return { verdict: PolicyVerdict.MODIFY, code, message: "", replacement: { case: "argumentsJson", value } };
}

/** The run goes on with another input, result of a call, or answer. */
export function replaceText(text: string, code = ""): PolicyDecision {
  return { verdict: PolicyVerdict.MODIFY, code, message: "", replacement: { case: "text", value: text } };
}

/** The run starts with lower limits; 0, or absent, leaves one as it is. */
export function lowerBudget(
  budget: { rounds?: number; toolCalls?: number; parallelCalls?: number },
  code = "",
): PolicyDecision {
  const value = create(BudgetSchema, budget);
  return { verdict: PolicyVerdict.MODIFY, code, message: "", replacement: { case: "budget", value } };
}

/** It is held for so long, at most 7 days, or until `Client.resume`; then the policy is asked again. */
export function defer(deferMs: number, code = "", message = ""): PolicyDecision {
  return { verdict: PolicyVerdict.DEFER, code, message, deferMs };
}

/** What the runtime is told. A handler that fails is no answer, which is denied in the end. */
export async function decided(
  decide: PolicyHandler,
  question: PolicyQuestion,
  signal: AbortSignal,
  onError: OnError,
): Promise<DecideResponse> {
  try {
    const { verdict, code, message, replacement, deferMs } = await decide(question, signal);
    const { subjectDigest } = question;
    return create(DecideResponseSchema, {
      ...{ subjectDigest, verdict, code, message },
      ...(replacement && { replacement }),
      ...(deferMs !== undefined && { deferFor: durationFromMs(deferMs) }),
    });
  } catch (error) {
    onError(`policy ${question.policy} failed on question ${question.effectId}`, error);
    throw new ConnectError("The policy failed; its log says how.", Code.Unknown);
  }
}
