"""What this worker counts. Labels never hold an id."""

from __future__ import annotations

from typing import Final

from prometheus_client import Counter, Histogram

from voxbus.runtime.metrics import LATENCY_BUCKETS

FIRST_TOKEN_SECONDS: Final = Histogram(
    "voxbus_llm_first_token_seconds",
    "From the open to the provider's first token",
    ["provider"],
    buckets=LATENCY_BUCKETS,
)
FIRST_SENTENCE_SECONDS: Final = Histogram(
    "voxbus_llm_first_sentence_seconds", "From the open to the first sentence", ["provider"], buckets=LATENCY_BUCKETS
)
SENTENCES: Final = Counter("voxbus_llm_sentences_total", "Sentences sent", ["provider"])
TOOL_CALLS: Final = Counter("voxbus_llm_tool_calls_total", "Tool calls of models", ["kind", "outcome"])
TOKENS: Final = Counter("voxbus_llm_tokens_total", "Tokens, as the providers report them", ["provider", "direction"])
PROVIDER_ERRORS: Final = Counter("voxbus_llm_provider_errors_total", "Requests that failed", ["provider", "code"])
HTTP_TOOL_SECONDS: Final = Histogram(
    "voxbus_llm_http_tool_seconds",
    "Calls of HTTP tools: ok, status_4xx, timeout…",
    ["outcome"],
    buckets=LATENCY_BUCKETS,
)
