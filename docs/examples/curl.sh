#!/usr/bin/env bash
# Every call of the router once, with what it answers. The demo's chat model makes no embeddings, it hears nothing, and there is no
# file to reload: there these show what an error looks like.
set -eu -o pipefail
URL=${LLM_ROUTER_URL:-http://127.0.0.1:8080}
ADMIN=${LLM_ROUTER_ADMIN_URL:-http://127.0.0.1:8081}
KEY=${LLM_ROUTER_KEY:-sk-demo}
TOKEN=${LLM_ROUTER_ADMIN_TOKEN:-none}

body=
# show METHOD URL [CURL OPTION...]: the call, the start of its answer, and the status.
show() {
  local method=$1 url=$2
  shift 2
  printf '\n## %s /%s %s\n' "$method" "${url#http*://*/}" "$body"
  curl -sS -N -X "$method" "$url" "$@" -w '\n[%{http_code} %{content_type}]\n' | cut -c 1-600 | awk 'NR <= 12 || /^\[[0-9]/'
}

# ask PATH JSON [CURL OPTION...]: a call with the key and a body.
ask() {
  local path=$1 body=$2
  shift 2
  show POST "$URL$path" -H "Authorization: Bearer $KEY" -H 'Content-Type: application/json' -d "$body" "$@"
}

ask /v1/chat/completions '{"model": "llama-3.1-8b", "messages": [{"role": "user", "content": "Say hello"}], "max_tokens": 20}'
ask /v1/chat/completions '{"model": "task/chat", "messages": [{"role": "user", "content": "Say hello"}], "max_tokens": 3, "stream": true}'
ask /v1/completions '{"model": "llama-3.1-8b", "prompt": "Once upon a time", "max_tokens": 20}'
ask /v1/embeddings '{"model": "llama-3.1-8b", "input": "a text"}'
ask /v1/rerank '{"model": "bge-small", "query": "red cat", "documents": ["a dog", "the red cat"]}'
ask /v1/score '{"model": "bge-small", "text_1": "red cat", "text_2": ["a dog", "the red cat"]}'
ask /v1/tokenize '{"model": "llama-3.1-8b", "prompt": "Say hello"}'
ask /v1/detokenize '{"model": "llama-3.1-8b", "tokens": [72, 105]}'
body='file=@recording.wav, model=llama-3.1-8b'
show POST "$URL/v1/audio/transcriptions" -H "Authorization: Bearer $KEY" -F 'file=RIFF;filename=recording.wav' -F model=llama-3.1-8b
ask /v1/messages '{"model": "llama-3.1-8b", "max_tokens": 20, "messages": [{"role": "user", "content": "Say hello"}]}'
ask /v1/messages '{"model": "task/chat", "max_tokens": 3, "messages": [{"role": "user", "content": "Say hello"}], "stream": true}'
ask /v1/messages/count_tokens '{"model": "llama-3.1-8b", "messages": [{"role": "user", "content": "Say hello"}]}'
ask /v1/responses '{"model": "llama-3.1-8b", "input": "Say hello", "max_output_tokens": 20}'
ask /v1/responses '{"model": "task/chat", "input": "Say hello", "max_output_tokens": 3, "stream": true}'
ask /v1/generate '{"prompt": "Say hello", "task": "chat", "max_tokens": 20}'
ask /v1/generate '{"prompt": "Say hello", "model": "cerebras-8b/llama-3.1-8b", "max_tokens": 20}'
ask /v1/generate '{"prompt": "Say hello", "model": "ensemble/longest-of-two", "max_tokens": 20}'
ask /v1/generate/stream '{"prompt": "Say hello", "task": "chat", "max_tokens": 3}'
ask /v1/chat/stream '{"messages": [{"role": "user", "content": "Say hello"}], "task": "chat", "max_tokens": 3}'
ask /v1/generate/batch '{"prompts": ["one", "two", ""], "task": "chat", "max_tokens": 10}'
ask /v1/generate/batch '{"prompts": ["one", "two", ""], "task": "chat", "max_tokens": 10}' -H 'Accept: application/x-ndjson'
ask /v1/route/explain '{"model": "llama-3.1-8b", "messages": [{"role": "user", "content": "Say hello"}]}'
show GET "$URL/v1/models" -H "Authorization: Bearer $KEY"
show GET "$URL/v1/models/llama-3.1-8b" -H "Authorization: Bearer $KEY"
show GET "$URL/"
show GET "$URL/livez"
show GET "$URL/readyz"
show GET "$URL/openapi.json"
show GET "$ADMIN/livez"
show GET "$ADMIN/readyz"
show GET "$ADMIN/metrics"
show GET "$ADMIN/openapi.json"
show GET "$ADMIN/admin/decisions?limit=1" -H "Authorization: Bearer $TOKEN"
show POST "$ADMIN/admin/reload" -H "Authorization: Bearer $TOKEN"

# operate PATH JSON: a change of keys or teams, which need a ledger ([storage]).
operate() {
  show POST "$ADMIN$1" -H "Authorization: Bearer $TOKEN" -H 'Content-Type: application/json' -d "$2"
}

operate /admin/keys/create '{"id": "curl-example", "team": "search", "terms": {"limits": {"requests_per_minute": 60}}}'
operate /admin/keys/rotate '{"id": "curl-example", "overlap_hours": 1}'
operate /admin/keys/terms '{"id": "curl-example", "terms": {"models": ["llama-3.1-8b"]}}'
operate /admin/keys/disable '{"id": "curl-example"}'
operate /admin/keys/enable '{"id": "curl-example"}'
operate /admin/teams/terms '{"id": "search", "terms": {"budgets": [{"usd": "500", "per": "month"}]}}'
for path in keys teams audit budgets "spend?by=day,model" "savings?by=team"; do
  show GET "$ADMIN/admin/$path" -H "Authorization: Bearer $TOKEN"
done
