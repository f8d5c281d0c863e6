"""Ten turns of an agent, whose RunPod is cut off between turns and before first tokens: the agent must not notice.

The prompt dictates ten calls of a tool, which the emulated models make one after the other. The SDKs do not repeat anything
themselves (max_retries=0), so what would go wrong is seen.
"""

import json
import time

import lab
from doors import Messages, Responses
from lab import MODEL, Lab, expect

TURNS = 10
# Long enough for RunPod to be asked again after a failure.
BETWEEN_TURNS_S = 0.6
SCHEMA = {"type": "object", "properties": {"line": {"type": "string"}}, "required": ["line"], "additionalProperties": False}
# What happens to RunPod before a turn, for its next call. Amid a stream, the role has been sent and nothing else.
FAULTS = {
    2: {"kind": "reset_before"},
    3: {"kind": "reset_amid", "after_events": 1},
    5: {"kind": "cut_head"},
    6: {"kind": "status", "code": 502},
    10: {"kind": "end_amid", "after_events": 1},
}
STOPPED, STARTED = 8, 9


def prompt(door: str) -> str:
    calls = [f"call write_line with {json.dumps({'line': f'{door} {turn}'})}" for turn in range(1, TURNS + 1)]
    return "Please " + ", then ".join(calls) + "."


class Agent:
    """Asks, calls the tool, and asks again, until the model has nothing more to call."""

    def __init__(self, at: Lab, name: str):
        self.at, self.name = at, name
        self.lines: list[str] = []  # what the tool was called with
        self.attempts: list[int] = []
        self.upstreams: list[str] = []

    def before(self, turn: int) -> None:
        if turn == STOPPED:
            self.at.runpod.kill()
        if turn == STARTED:
            self.at.runpod.start()
        elif turn in FAULTS:
            self.at.runpod.set("runpod_lb", {"fault": FAULTS[turn], "times": 1})
        time.sleep(BETWEEN_TURNS_S)

    def note(self, headers) -> None:
        self.attempts.append(int(headers["x-llm-router-attempts"]))
        self.upstreams.append(headers["x-llm-router-upstream"])

    def write_line(self, line: str) -> str:
        self.lines.append(line)
        return f"written {len(self.lines)}"

    def finished(self, text: str) -> str:
        expect(self.lines == [f"{self.name} {turn}" for turn in range(1, TURNS + 1)], f"the tool wrote {self.lines}")
        expect(f"written {TURNS}" in text, f"it ends with {text!r}")
        failed = sum(attempts > 1 for attempts in self.attempts)
        expect(failed >= 3, f"only {failed} turns needed a second upstream: {self.attempts}")
        expect(set(self.upstreams) == {"runpod-8b", "cerebras-8b"}, f"answers came from {self.upstreams}")
        return f"attempts {self.attempts}, answers from {[upstream.split('-')[0] for upstream in self.upstreams]}"


def by_messages(at: Lab) -> str:
    agent, client = Agent(at, "messages"), Messages(at, at.keys["main"]).client
    tools = [{"name": "write_line", "description": "Writes a line.", "input_schema": SCHEMA}]
    messages = [{"role": "user", "content": prompt(agent.name)}]
    for turn in range(1, TURNS + 2):
        agent.before(turn)
        with client.messages.stream(model=MODEL, max_tokens=500, tools=tools, messages=messages) as stream:
            agent.note(stream.response.headers)
            reply = stream.get_final_message()
        messages.append({"role": "assistant", "content": reply.content})
        calls = [block for block in reply.content if block.type == "tool_use"]
        if reply.stop_reason == "end_turn":
            return agent.finished(reply.content[0].text)
        results = [
            {"type": "tool_result", "tool_use_id": call.id, "content": agent.write_line(**call.input)} for call in calls
        ]
        messages.append({"role": "user", "content": results})
    raise lab.CheckFailed(f"no end after {TURNS} turns: {agent.lines}")


def by_responses(at: Lab) -> str:
    agent, client = Agent(at, "responses"), Responses(at, at.keys["main"]).client
    tools = [{"type": "function", "name": "write_line", "parameters": SCHEMA, "strict": True}]
    items: list = [{"role": "user", "content": prompt(agent.name)}]
    for turn in range(1, TURNS + 2):
        agent.before(turn)
        with client.responses.with_streaming_response.create(model=MODEL, input=items, tools=tools, stream=True) as raw:
            agent.note(raw.headers)
            *_, last = raw.parse()
        expect(last.type == "response.completed", f"it ends with {last}")
        items += last.response.output
        calls = [item for item in last.response.output if item.type == "function_call"]
        if not calls:
            return agent.finished(last.response.output_text)
        for call in calls:
            said = agent.write_line(**json.loads(call.arguments))
            items.append({"type": "function_call_output", "call_id": call.call_id, "output": said})
    raise lab.CheckFailed(f"no end after {TURNS} turns: {agent.lines}")


def with_runpod_after(loop, at: Lab) -> str:
    """However the loop ends, later checks find RunPod running, and without faults."""
    try:
        return loop(at)
    finally:
        at.runpod.kill()
        at.runpod.start()


def check(report: lab.Report, at: Lab) -> None:
    report.attempt("ten turns by messages, with RunPod cut", with_runpod_after, by_messages, at)
    report.attempt("ten turns by responses, with RunPod cut", with_runpod_after, by_responses, at)
