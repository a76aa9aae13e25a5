"""`casebook train PHOTOS` beside each single strategy, an earlier checkout, logistic regression on features and fastai.

    python benchmarks/default.py SETS WEIGHTS [--only alpaca,sign_digits] [--arms auto,head,full] [--seeds 3] \
        [--before CHECKOUT] [--limit 0] [--out FILE.jsonl]

SETS is a folder with one folder of class folders a set; WEIGHTS is a file with MobileNet v2's ImageNet weights. All
arms see the same split for a seed; `before` and `before full` are those of CHECKOUT. Each training is a process of its
own with one thread; its result is appended to the file, and what is there already is not run again. The table at the
end compares each arm with `auto` on the same test pictures: the difference of the errors with its interval from a
paired bootstrap over pictures, seeds together. A second table has the time that each `auto` expected, and the time it
took. Arm `fastai` needs fastai and timm.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ARMS: dict[str, dict[str, Any]] = {
    "auto": {},
    "head": {"transfer": "head"},
    "last:1": {"transfer": "last:1"},
    "last:2": {"transfer": "last:2"},
    "full": {"transfer": "full"},
    "logistic": {},
    "fastai": {},
    "before": {},
    "before full": {"transfer": "full"},
}
MODEL = "mobilenet_v2"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("sets", type=Path)
    parser.add_argument("weights", type=Path)
    parser.add_argument("--only", default="", help="names of sets, separated by commas")
    parser.add_argument("--arms", default="auto,head,full,logistic", help=f"of {', '.join(ARMS)}")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--before", type=Path, help="a checkout for the arms `before`, its `auto`, and `before full`")
    parser.add_argument("--limit", type=int, default=0, help="pictures a class; 0 takes all")
    parser.add_argument("--budget", type=float, default=10, help="minutes that auto may take")
    parser.add_argument("--out", type=Path, default=Path("default.jsonl"))
    options = parser.parse_args()
    sets = options.only.split(",") if options.only else sorted(path.name for path in options.sets.iterdir())
    arms = options.arms.split(",")
    done = read(options.out)
    with tempfile.TemporaryDirectory() as scratch:
        for name in sets:
            folder = limited(options.sets / name, options.limit, Path(scratch) / name)
            for seed in range(options.seeds):
                for arm in arms:
                    if any((one["set"], one["seed"], one["arm"]) == (name, seed, arm) for one in done):
                        continue
                    settings = {"data": str(folder), "weights": str(options.weights.resolve()), "seed": seed}
                    settings |= ARMS[arm]
                    if arm == "auto":
                        settings["time_budget_minutes"] = options.budget
                    found = {"set": name, "seed": seed, "arm": arm} | run(arm, settings, options.before)
                    done.append(found)
                    with options.out.open("a", encoding="utf-8") as file:
                        file.write(json.dumps(found) + "\n")
                    print(f"{name} seed {seed} {arm}: {found['top1']:.1%}, {found['seconds']:.0f} s, "
                          f"{found['peak_bytes'] / 2**30:.1f} GiB: {found['reason']}", flush=True)  # fmt: skip
    shown = [one for one in done if one["set"] in sets and one["arm"] in arms]
    print(table(shown), forecasts(shown), sep="\n\n")


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.is_file() else []


def limited(folder: Path, limit: int, scratch: Path) -> Path:
    """The folder itself, or one with links to the first `limit` pictures of each class."""
    if not limit:
        return folder.resolve()
    for kind in sorted(path for path in folder.iterdir() if path.is_dir()):
        (scratch / kind.name).mkdir(parents=True)
        for picture in sorted(kind.iterdir())[:limit]:
            (scratch / kind.name / picture.name).symlink_to(picture.resolve())
    return scratch


def run(arm: str, settings: dict[str, Any], before: Path | None) -> dict[str, Any]:
    """Trains in a process of its own; what it says, with its seconds and its peak memory."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    if arm.startswith("before"):
        if before is None:
            raise SystemExit(f"the arm {arm!r} needs --before CHECKOUT")
        environment["PYTHONPATH"] = str(before / "src")
    with tempfile.TemporaryDirectory() as folder:
        # Features that another arm has left would make this one look fast.
        environment["CASEBOOK_CACHE"] = str(Path(folder) / "cache")
        request = json.dumps({"arm": arm, "settings": settings, "out": str(Path(folder) / "run")})
        command = [sys.executable, __file__, "--child", request]
        started = time.perf_counter()
        answer = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if answer.returncode:
        raise SystemExit(f"{arm} with {settings} failed:\n{answer.stderr[-3000:]}")
    return json.loads(answer.stdout.splitlines()[-1]) | {"whole_seconds": time.perf_counter() - started}


def child(request: dict[str, Any]) -> None:
    import numpy as np
    import torch

    import casebook
    from casebook.data.datasets import SplitSettings

    torch.set_num_threads(1)
    settings, started = request["settings"], time.perf_counter()
    run, choice = None, {}
    if request["arm"] == "logistic":
        classes, found, reason = logistic(settings)
    elif request["arm"] == "fastai":
        from fastai_fine_tune import fastai_answers

        (classes, found), reason = fastai_answers(settings), "fastai"
    else:
        run = casebook.train(out=request["out"], model=MODEL, threads=1, workers=0, **settings)
        choice = getattr(run, "choice", run.model["transfer"])  # an early checkout has no choice
        classes, found, reason = run.classes, {}, choice["reason"]
    seconds, used = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_SELF)
    if run is not None:
        test = casebook.load_data(settings["data"], SplitSettings(seed=settings["seed"])).test
        answers = casebook.load(run.path).probabilities([picture for picture, _ in test])
        found = dict(zip(test.names, zip(test.labels.tolist(), answers.argmax(1).tolist(), strict=True), strict=True))
    labels, taken = np.array(list(found.values())).T
    recalls = [float((taken[labels == one] == one).mean()) for one in range(len(classes)) if (labels == one).any()]
    print(json.dumps({
        "top1": float((taken == labels).mean()), "macro_recall": sum(recalls) / len(recalls), "seconds": seconds,
        "process_seconds": used.ru_utime + used.ru_stime, "peak_bytes": used.ru_maxrss * 1024, "reason": reason,
        "expected_seconds": choice.get("expected_seconds"),
        "tried": choice.get("tried"), "input_size": run.recipe.input_size if run else None,
        "learning_seconds": sum(row["seconds"] + row["validation_seconds"] for row in run.history) if run else None,
        "right": {name: bool(label == answer) for name, (label, answer) in found.items()},
    }))  # fmt: skip


def logistic(settings: dict[str, Any]) -> Any:
    """Logistic regression of scikit-learn on the features, its strength chosen by five folds of the training part."""
    from sklearn.linear_model import LogisticRegressionCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    import casebook
    from casebook.data.datasets import SplitSettings

    data = casebook.load_data(settings["data"], SplitSettings(seed=settings["seed"]))
    parts = [casebook.features(MODEL, part, weights=settings["weights"]).values for part in (data.train, data.test)]
    labels = [part.labels for part in (data.train, data.test)]
    strengths: Any = [1e-4, 1e-3, 1e-2, 0.1, 1]
    model = make_pipeline(
        StandardScaler(), LogisticRegressionCV(Cs=strengths, cv=5, max_iter=500, scoring="neg_log_loss")
    )
    answers = model.fit(parts[0], labels[0]).predict(parts[1])
    pairs = zip(labels[1].tolist(), answers.tolist(), strict=True)
    return data.classes, dict(zip(data.test.names, pairs, strict=True)), "by hand"


def table(rows: list[dict[str, Any]]) -> str:
    import numpy as np

    lines = ["| set | arm | right | macro recall | error minus auto's, points | seconds | processor's | peak GiB |",
             "| --- | --- | --- | --- | --- | --- | --- | --- |"]  # fmt: skip
    generator = np.random.default_rng(0)
    for name in dict.fromkeys(row["set"] for row in rows):
        of_set = [row for row in rows if row["set"] == name]
        for arm in dict.fromkeys(row["arm"] for row in of_set):
            mine = {row["seed"]: row for row in of_set if row["arm"] == arm}
            auto = {row["seed"]: row for row in of_set if row["arm"] == "auto"}
            differences = np.array([int(auto[seed]["right"][picture]) - int(right) for seed in mine.keys() & auto.keys()
                                    for picture, right in mine[seed]["right"].items()])  # fmt: skip
            said = ""
            if arm != "auto" and len(differences):
                drawn = generator.choice(differences, (5000, len(differences))).mean(1) * 100
                low, high = np.quantile(drawn, (0.025, 0.975))
                said = f"{100 * differences.mean():+.1f} ({low:+.1f} to {high:+.1f})"
            keys = ("top1", "macro_recall", "seconds", "process_seconds")
            mean = {key: np.mean([row[key] for row in mine.values()]) for key in keys}
            count = sum(len(row["right"]) for row in mine.values())
            peak_gib = max(row["peak_bytes"] for row in mine.values()) / 2**30
            lines.append(
                f"| {name} | {arm} | {mean['top1']:.1%} of {count} | {mean['macro_recall']:.1%} | {said} | "
                f"{mean['seconds']:.0f} | {mean['process_seconds']:.0f} | {peak_gib:.1f} |"
            )
    return "\n".join(lines)


def forecasts(rows: list[dict[str, Any]]) -> str:
    """What `auto` said that the network would take, and what the whole training then took."""
    lines = ["| set | seed | expected, s | took, s | took more by |", "| --- | --- | --- | --- | --- |"]
    for row in rows:
        if row["arm"] == "auto" and row.get("expected_seconds"):
            expected, took = row["expected_seconds"], row["seconds"]
            lines.append(f"| {row['set']} | {row['seed']} | {expected:.0f} | {took:.0f} | {took / expected - 1:+.0%} |")
    return "\n".join(lines)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child(json.loads(sys.argv[2]))
    else:
        main()
