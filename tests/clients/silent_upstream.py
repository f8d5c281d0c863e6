"""An upstream whose stream has ids and falls silent amid the answer, so that the router's keep-alive comments come between.

Prints {"origin": URL, "model": NAME} once it listens, and answers every POST with the same stream until it is killed.
"""

import http.server
import json
import time

MODEL = "silent"
SAID = ["It is", " quiet here", "."]
SILENCE_S = 2.5


def event(number: int, delta: dict, finish_reason: str | None) -> bytes:
    chunk = {
        "id": "chatcmpl-silent",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": MODEL,
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}],
    }
    return f"id: {number}\ndata: {json.dumps(chunk)}\n\n".encode()


class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.end_headers()
        for number, text in enumerate(SAID, 1):
            self.wfile.write(event(number, {"content": text}, None))
            if number == 1:
                time.sleep(SILENCE_S)
        self.wfile.write(event(len(SAID) + 1, {}, "stop") + b"data: [DONE]\n\n")

    def log_message(self, *_) -> None:
        pass


if __name__ == "__main__":
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    print(json.dumps({"origin": f"http://127.0.0.1:{server.server_port}", "model": MODEL}), flush=True)
    server.serve_forever()
