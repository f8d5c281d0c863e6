#!/bin/sh
# Asks the router without end, so that the dashboards have something to show: streamed and whole, for two teams, now and
# then a client that leaves early or asks for a model that does not exist. Runs in curl's image, which has no bash.
set -u
router=http://router:8080
emulator=http://emulator:9100

# Long prompts, as with retrieved passages: they give the GPU enough tokens a second to be worth its price.
passage='The lighthouse stood on the northern rock, and the keeper wrote down each ship that passed it by day or night. '
prompt=$passage
for _ in 1 2 3 4 5; do prompt=$prompt$prompt; done

# ask KEY MODEL STREAM [OPTION OF CURL]...; a failed call is part of the picture.
ask() {
  key=$1 model=$2 stream=$3
  shift 3
  curl -sS -o /dev/null "$@" "$router/v1/chat/completions" \
    -H "Authorization: Bearer $key" -H 'Content-Type: application/json' -d "{
      \"model\": \"$model\", \"stream\": $stream, \"max_tokens\": 64,
      \"messages\": [{\"role\": \"user\", \"content\": \"$prompt Who wrote it down?\"}]}" || :
}

# client KEY: one request after the other.
client() {
  while :; do
    for _ in 1 2 3 4 5 6 7 8 9 10; do
      ask "$1" llama-3.1-8b true
      ask "$1" llama-3.1-8b false
    done
    ask "$1" llama-3.1-8b true --max-time 0.2
    ask "$1" no-such-model false
    sleep 1
  done
}

# One call in fifty fails at RunPod's, so that repeats and fallbacks are seen too.
fault='{"face": "runpod_lb", "fault": {"kind": "status", "code": 500}, "share": 0.02}'
curl -sS -o /dev/null "$emulator/_control" -d "$fault"

for key in sk-demo-growth sk-demo-growth sk-demo-growth sk-demo-search; do
  client "$key" &
done
wait
