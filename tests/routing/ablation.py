"""What each mechanism of the engine adds: `balanced` in simulation without it, docs/generated/ablation.md.

usage: ablation.py [--seeds N] [--only NAME] [--out FILE] [--check]

For each mechanism the source is copied, the mechanism is taken out of the copy by a change of a few words, the simulator is
built and run. So the product has no switches for this. A change that does not fit the source any more stops the run: the
mechanism was rewritten, and its entry here must be too. Takes about an hour on two cores."""

import argparse
import gzip
import os
import pathlib
import re
import shutil
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
WORK = ROOT / ".cache" / "ablation"
SOURCE = WORK / "source"
TRACE = ROOT / "tests" / "traces" / "azure_llm_2023_conv.csv.gz"
ROUTER = "crates/router/src/"
SCENARIOS = ["steady", "burst3x", "cold", "outage10m", "throttle10m", "brownout5x", "cb429", "flap30s"]

# What it does, the file, and what is replaced by what.
MECHANISMS = {
    "cost": ("small requests to the dear target", "knowledge/score.rs",
             "BALANCED: Self = Self { cost: 1.0", "BALANCED: Self = Self { cost: 0.0"),
    "prediction": ("the probability of a late first token", "upstream/supply.rs",
                   "let mut miss = limit.map_or(0.0, |limit| prediction.late(limit));",
                   "let mut miss = limit.map_or(0.0, |limit| 0.0 * prediction.late(limit));"),
    "weight of a miss": ("a weight of misses that adapts", "knowledge/score.rs",
                         "const STEP: f64 = 0.2;", "const STEP: f64 = 0.0;"),
    "deferred deficits": ("what was missed is paid back little by little", "share.rs",
                          "const PAID_BACK: f64 = 0.25;", "const PAID_BACK: f64 = 1e9;"),
    "reserves": ("a part of the limits for requests that need it more", "knowledge/quota.rs",
                 "let (tokens, reserve) = (real(tokens), claim.reserve());",
                 "let (tokens, reserve) = (real(tokens), 0.0 * claim.reserve());"),
    "mirrored limits": ("no call that the provider would refuse", "knowledge/quota.rs",
                        "self.requests.fits(1.0, reserve, now).max(self.tokens.fits(tokens, reserve, now))",
                        "self.requests.fits(0.0, 0.0 * reserve, now).max(self.tokens.fits(0.0 * tokens, -10.0, now))"),
    "ramp": ("little at first for an upstream that comes back", "knowledge/ramp.rs",
             "self.window = self.window.min(FIRST_WINDOW);", "self.window = self.window.min(OPEN);"),
    "slots": ("no more calls than the ready workers serve", "knowledge/ramp.rs",
              "const MOST_OVER_SLOTS: f64 = 1.2;", "const MOST_OVER_SLOTS: f64 = 1e6;"),
    "shown demand": ("calls that show the scaler its demand", "upstream/scaler_demand.rs",
                     "self.since.is_some_and(|since| now - since < LASTS)", "self.since.is_some_and(|since| now < since)"),
    "probes": ("single calls to a target that is thought to be late", "upstream/supply.rs",
               "may_probe: is_untried && self.first_token.is_idle(),", "may_probe: is_untried && false,"),
    "late ones last": ("requests that are late yield to those in time", "engine/model.rs",
                       "*denied != number && now - *at < LATE_REQUESTS_YIELD", "*denied != number && now < *at"),
    "resting workers": ("a call keeps a worker from being stopped", "strategy.rs",
                        "const KEPT_READY: f64 = 2.5;", "const KEPT_READY: f64 = 0.0;"),
    "soon": ("a late request is sent where it begins soon", "candidate.rs",
             "outlook.has_slot() && is_soon", "outlook.has_slot() && is_soon && false"),
    "silence": ("an upstream that does not answer is late", "knowledge/first_token.rs",
                "let wait_s = slot_wait.max(silence_s - median_s);", "let wait_s = slot_wait.max(0.0 * silence_s - median_s);"),
    "slot wait": ("the wait for a slot", "knowledge/first_token.rs",
                  "let slot_wait = self.slot_wait(load, now);", "let slot_wait = 0.0 * self.slot_wait(load, now);"),
    "pending tokens": ("the prompt tokens that wait", "knowledge/first_token.rs",
                       "self.regression.predict([1.0, kilo(tokens), kilo(self.waiting.all_tokens()) / workers(load)])",
                       "self.regression.predict([1.0, kilo(tokens), 0.0 / workers(load)])"),
    "cold starts apart": ("a cold start is no sample of speed", "knowledge/first_token.rs",
                          "if is_sample && self.cold_at.is_none_or(|cold| cold < call.began) {",
                          "if is_sample || call.expected_s.is_infinite() {"),
    "certainty": ("a size counts as far as lengths are known", "strategy/balanced.rs",
                  "usual + scale.certainty * (cost - usual)", "usual + scale.certainty.max(1.0) * (cost - usual)"),
    "one more ready": ("a worker is ready where more is served than others could", "knowledge/capacity.rs",
                       "loading.workers = loading.workers.saturating_sub(1);", "loading.workers = loading.workers.saturating_sub(0);"),
    "only ready": ("workers load where jobs are queued beside idle ones", "knowledge/capacity.rs",
                   "if more == 0 {", "if more < u32::MAX {"),
    "hold": ("a request that nobody can serve now waits", "engine/hold.rs",
             "if !request.strategy().looks_ahead() || request.history.named().is_some() {",
             "if request.attempts() < u32::MAX {"),
    "warm-up": ("a cold upstream is started by a call of the router's own", "engine/warm_up.rs",
                "if !model.spec.strategy.looks_ahead() ||", "if now >= provider::Time::ZERO ||"),
    "doubt": ("a worker that may have been stopped since the report is not ready", "knowledge/capacity.rs",
              "if self.is_in_doubt(now) {\n            return Some(0);", "if self.is_in_doubt(now) && now < polled.at {\n            return Some(0);"),
    "retry budget": ("repeats are a part of the requests", "budget.rs",
                     "const PER_REQUEST: f64 = 0.2;", "const PER_REQUEST: f64 = 30.0;"),
    "short pauses": ("a breaker's pause is short", "knowledge/breaker.rs",
                     "const LONGEST_PAUSE: Duration = Duration::from_secs(2);",
                     "const LONGEST_PAUSE: Duration = Duration::from_secs(15);"),
}

HEAD = """# What each mechanism adds

<!-- Made by tests/routing/ablation.py. -->

`balanced` in simulation without one mechanism at a time, on two traces: `conv` as in
[Routing, measured](../routing-benchmark.md), and `long`, the same with prompts eight times as long, at 0.35 times the pace. A cell is the
change when the mechanism is taken out: points of SLO / points of ok / cost in percent; `·`: within the noise of the seeds.

What changes nothing here is kept for something that these scenarios do not show, or that five seeds do not, and a test of
`crates/router` holds it:

- *deferred deficits* and *ramp*: an upstream that is back is not flooded.
- *slots*: no queue forms at a provider where first tokens may take long.
- *silence*: an upstream that reports no workers and hangs is left.
- *cold starts apart*, *doubt*: one caller at a time beside an endpoint that scales to zero waits for no start.
- *certainty*: the share is held from the first request on.
- *one more ready*, *only ready*: over 60 seeds, `flap30s` has 90.4 % within the SLO with both and 90.0 % without either (± 0.2).
- *retry budget*, *short pauses*: the load of repeats in an outage, and how soon its end is noticed.
"""


def copied():
    """The source, as committed or changed, in a folder of its own."""
    files = subprocess.run(["git", "ls-files", "-z", "Cargo.toml", "Cargo.lock", "rust-toolchain.toml", "crates", "tests", "config"],
                           cwd=ROOT, check=True, capture_output=True).stdout
    for name in files.decode().split("\0"):
        origin, copy = ROOT / name, SOURCE / name
        if not name or not origin.is_file():
            continue
        # What is the same keeps its time, so that it is not built again.
        if copy.is_file() and copy.read_bytes() == origin.read_bytes():
            continue
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(origin, copy)


def check_entries(names):
    """That each mechanism can be taken out of the source as it is now."""
    def misfit(name):
        _, file, old, _ = MECHANISMS[name]
        times = (ROOT / ROUTER / file).read_text().count(old)
        return None if times == 1 else f"{name}: {ROUTER}{file} has {old!r} {times} times: the mechanism was rewritten, change its entry"
    if misfits := [text for name in names if (text := misfit(name))]:
        sys.exit("\n".join(misfits))


def built():
    """The example that runs policies, without link-time optimisation: it is run for seconds."""
    environment = os.environ | {
        "CARGO_TARGET_DIR": os.environ.get("CARGO_TARGET_DIR", str(WORK / "target")),
        "CARGO_PROFILE_RELEASE_LTO": "off",
        "CARGO_PROFILE_RELEASE_CODEGEN_UNITS": "16",
        "RUSTFLAGS": os.environ.get("RUSTFLAGS", "") + " --cap-lints allow",
    }
    command = ["cargo", "build", "--release", "--locked", "--quiet", "-p", "simulator", "--example", "policies"]
    subprocess.run(command, cwd=SOURCE, env=environment, check=True)
    return pathlib.Path(environment["CARGO_TARGET_DIR"]) / "release" / "examples" / "policies"


def traces():
    """Name, file and speed."""
    long = WORK / "long.csv"
    lines = gzip.open(TRACE, "rt").read().splitlines()
    rows = [line.split(",") for line in lines[1:]]
    long.write_text("\n".join([lines[0], *(f"{at},{int(tokens) * 8},{answer}" for at, tokens, answer in rows)]) + "\n")
    return [("conv", TRACE, "2.5"), ("long", long, "0.35")]


def figures(policies, seeds):
    """(SLO, ok, cost) with their half widths, by trace and scenario."""
    config = WORK / "balanced.toml"
    shutil.copyfile(HERE / "policy.toml", config)
    found = {}
    for name, trace, speed in traces():
        command = [policies, trace, speed, ",".join(SCENARIOS), seeds, config]
        text = subprocess.run([str(part) for part in command], check=True, capture_output=True, text=True).stdout
        scenario = None
        for line in text.splitlines():
            if match := re.match(r".* / (\w+): \d+ requests$", line):
                scenario = match[1]
            elif line.startswith(str(config)):
                cells = re.split(r"\s{2,}", line.strip())[1:]
                ok, slo, cost = (tuple(float(part) for part in cell.split(" ±")) for cell in cells[:3])
                found[name, scenario] = [(value[0], value[1] if len(value) > 1 else 0.0) for value in (slo, ok, cost)]
    return found


def cell(without, with_it):
    """The change by taking it out, and whether it is more than noise."""
    parts = []
    for digits, relative, (new, new_half), (old, old_half) in zip((1, 1, 0), (False, False, True), without, with_it):
        scale = 100 / old if relative and old else 1
        change, noise = (new - old) * scale, (new_half + old_half) * scale
        parts.append(f"{change:+.{digits}f}" if abs(change) > noise and abs(change) >= (0.5 if digits == 0 else 0.05) else "·")
    return " / ".join(parts) if any(part != "·" for part in parts) else "·"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--only", action="append", help="a mechanism; may be given more than once")
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "docs" / "generated" / "ablation.md")
    parser.add_argument("--check", action="store_true", help="only look whether each mechanism can be taken out")
    arguments = parser.parse_args()
    wanted = arguments.only or list(MECHANISMS)
    check_entries(wanted)
    if arguments.check:
        return
    WORK.mkdir(parents=True, exist_ok=True)
    copied()
    base = figures(built(), arguments.seeds)
    columns = sorted(base, key=lambda key: (key[0], SCENARIOS.index(key[1])))
    tables = {trace: [] for trace in ("conv", "long")}
    for number, name in enumerate(wanted, 1):
        what, file, old, new = MECHANISMS[name]
        path = SOURCE / ROUTER / file
        text = path.read_text()
        path.write_text(text.replace(old, new))
        try:
            without = figures(built(), arguments.seeds)
        finally:
            path.write_text(text)
        for trace, rows in tables.items():
            cells = [cell(without[key], base[key]) for key in columns if key[0] == trace]
            rows.append(f"| {name}: {what} | {' | '.join(cells)} |")
            print(f"{number}/{len(wanted)} {trace} {rows[-1]}", flush=True)
    parts = [HEAD, f"Seeds: {arguments.seeds}."]
    for trace, rows in tables.items():
        mine = [key for key in columns if key[0] == trace]
        full = " | ".join(f"{slo[0]:.1f} / {ok[0]:.1f} / {cost[0]:.4f}" for slo, ok, cost in (base[key] for key in mine))
        parts += ["", f"## `{trace}`", "", f"| without | {' | '.join(scenario for _, scenario in mine)} |",
                  "|---" * (len(mine) + 1) + "|", f"| nothing: SLO / ok / $ a million | {full} |", *rows]
    arguments.out.write_text("\n".join(parts) + "\n")


if __name__ == "__main__":
    main()
