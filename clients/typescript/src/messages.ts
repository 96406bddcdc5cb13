/** The messages and enums of the contract, as generated; `@runwright/client/messages`. */

export * from "./gen/runwright/callback/v1/approval_dispatcher_service_pb.js";
export * from "./gen/runwright/callback/v1/callback_registry_service_pb.js";
export * from "./gen/runwright/callback/v1/policy_service_pb.js";
export * from "./gen/runwright/callback/v1/tool_executor_service_pb.js";
export * from "./gen/runwright/v1/approval_pb.js";
export * from "./gen/runwright/v1/approval_service_pb.js";
export * from "./gen/runwright/v1/content_pb.js";
export * from "./gen/runwright/v1/error_pb.js";
export * from "./gen/runwright/v1/event_pb.js";
export * from "./gen/runwright/v1/grant_pb.js";
export * from "./gen/runwright/v1/package_pb.js";
export * from "./gen/runwright/v1/package_service_pb.js";
export * from "./gen/runwright/v1/policy_pb.js";
export * from "./gen/runwright/v1/previous_approval_pb.js";
export * from "./gen/runwright/v1/run_pb.js";
export * from "./gen/runwright/v1/runtime_service_pb.js";
