"""Many prompts in one call, each answer as soon as it is there. Needs nothing but Python."""

import json
import os
import urllib.request

URL = os.environ.get("LLM_ROUTER_URL", "http://127.0.0.1:8080")
KEY = os.environ.get("LLM_ROUTER_KEY", "sk-demo")

cities = ["Lisbon", "Oslo", "Quito", "Nairobi", "Hanoi"]
body = {"prompts": [f"One sentence about {city}." for city in cities], "task": "chat", "max_tokens": 60, "concurrency": 3}
request = urllib.request.Request(
    f"{URL}/v1/generate/batch",
    data=json.dumps(body).encode(),
    headers={
        "Authorization": f"Bearer {KEY}",
        "Content-Type": "application/json",
        "Accept": "application/x-ndjson",  # without it: one JSON document, in the order of the prompts
    },
)

failed = []
with urllib.request.urlopen(request, timeout=300) as lines:
    for line in lines:
        item = json.loads(line)
        city = cities[item["index"]]
        # The status is 200 whatever became of the entries: each says for itself.
        if "error" in item:
            failed.append(city)
            print(f"{city}: FAILED, {item['error']['code']}: {item['error']['message']}")
        else:
            print(f"{city}: {item['result']} ({item['provider']}, {item['cost_usd']} USD)")
print(f"-- {len(cities) - len(failed)} answered, {len(failed)} failed")
