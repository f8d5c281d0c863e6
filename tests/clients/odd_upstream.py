"""An upstream of two models. The stream of `silent` has ids and falls silent amid the answer, so that the router's keep-alive
comments come between; that of `broken` ends there without a finish.

Prints {"origin": URL} once it listens, and answers until it is killed.
"""

import http.server
import json
import time

SAID = ["It is", " quiet here", "."]
SILENCE_S = 2.5


def event(model: str, number: int, delta: dict, finish_reason: str | None) -> bytes:
    chunk = {
        "id": f"chatcmpl-{model}",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": model,
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}],
    }
    return f"id: {number}\ndata: {json.dumps(chunk)}\n\n".encode()


class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        model = json.loads(self.rfile.read(int(self.headers["content-length"])))["model"]
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.end_headers()
        for number, text in enumerate(SAID, 1):
            self.wfile.write(event(model, number, {"content": text}, None))
            if model == "broken":
                return
            if number == 1:
                time.sleep(SILENCE_S)
        self.wfile.write(event(model, len(SAID) + 1, {}, "stop") + b"data: [DONE]\n\n")

    def log_message(self, *_) -> None:
        pass


if __name__ == "__main__":
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    print(json.dumps({"origin": f"http://127.0.0.1:{server.server_port}"}), flush=True)
    server.serve_forever()
