"""The names of OpenTelemetry's semantic conventions for generative AI that spans and metrics use.

They are kept in a repository of their own, open-telemetry/semantic-conventions-genai.
Pinned, because they are still in development and change between versions.
"""

SCHEMA_URL = "https://opentelemetry.io/schemas/gen-ai-dev/1.42.0-dev"

OPERATION = "gen_ai.operation.name"
AGENT_ID = "gen_ai.agent.id"
AGENT_NAME = "gen_ai.agent.name"
CONVERSATION_ID = "gen_ai.conversation.id"
PROVIDER = "gen_ai.provider.name"
REQUEST_MODEL = "gen_ai.request.model"
FINISH_REASONS = "gen_ai.response.finish_reasons"
INPUT_TOKENS = "gen_ai.usage.input_tokens"
OUTPUT_TOKENS = "gen_ai.usage.output_tokens"
TOOL_NAME = "gen_ai.tool.name"
TOOL_CALL_ID = "gen_ai.tool.call.id"
TOOL_TYPE = "gen_ai.tool.type"
ERROR_TYPE = "error.type"
TOKEN_MODALITY = "gen_ai.token.modality"

# Counters: what was spent, in place of the former histogram gen_ai.client.token.usage.
USAGE_INPUT_TOKENS = "gen_ai.client.inference.usage.input_tokens"
USAGE_OUTPUT_TOKENS = "gen_ai.client.inference.usage.output_tokens"

INVOKE_AGENT = "invoke_agent"
CHAT = "chat"
EXECUTE_TOOL = "execute_tool"
UNKNOWN = "unknown"  # vendors tell one figure for texts and images together

# Of this program, where the conventions have no name.
RUN_ID = "runwright.run.id"
NAMESPACE = "runwright.namespace"
PACKAGE = "runwright.package.fingerprint"
STATUS = "runwright.run.status"
STOP_REASON = "runwright.run.stop_reason"
ROUND = "runwright.round"
ATTEMPT = "runwright.attempt"
EXECUTOR = "runwright.executor"
EFFECT = "runwright.effect"
