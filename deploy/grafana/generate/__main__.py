"""Writes the dashboards: python deploy/grafana/generate [FOLDER]

Without a folder they go to deploy/grafana/dashboards. Needs tests/observability/requirements.txt.
"""

import json
import pathlib
import sys

from grafana_foundation_sdk.cog.encoder import JSONEncoder

import cost
import latency
import tuning

folder = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else pathlib.Path(__file__).resolve().parents[1] / "dashboards"
folder.mkdir(exist_ok=True)
for name, module in {"cost-savings": cost, "latency-reliability": latency, "tuning": tuning}.items():
    text = json.dumps(module.board(), cls=JSONEncoder, indent=2, sort_keys=True, ensure_ascii=False)
    (folder / f"{name}.json").write_text(text + "\n", encoding="utf-8")
