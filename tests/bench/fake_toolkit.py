"""A toolkit that does no work: it speaks the protocol of `s2s/bench/toolkit_script.py`.

A file `behaviour.json` beside it says what is different. Requests go to `requests.txt` beside it.
"""

import json
import sys
from pathlib import Path

HERE = Path(__file__).parent
SECONDS = {"training": 2.0, "greedy": 0.5, "beam": 4.0}


def main() -> None:
    job = json.loads(Path(sys.argv[1]).read_text())
    path = HERE / "behaviour.json"
    behaviour = json.loads(path.read_text()) if path.exists() else {}
    if "first" in behaviour:
        print(json.dumps(behaviour["first"]), flush=True)
        return
    (HERE / "job.json").write_text(json.dumps(job))
    print(json.dumps({"versions": {"Fake": "7.1"}, "parameters": 4321}), flush=True)
    searched = len(job["sources"]) * job["length"]
    trained = sum(len(target) + 1 for batch in job["batches"] for _, target in batch)
    tokens = {"training": trained, "greedy": searched, "beam": searched}
    tokens.update(behaviour.get("tokens", {}))
    for line in sys.stdin:
        request = line.strip()
        with (HERE / "requests.txt").open("a") as file:
            file.write(f"{request}\n")
        if request == behaviour.get("crash"):
            sys.exit("out of paper")
        answer = {"seconds": SECONDS[request], "tokens": tokens[request]}
        print(json.dumps(behaviour.get("answer", answer)), flush=True)


main()
