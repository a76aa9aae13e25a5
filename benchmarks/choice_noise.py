"""How often `--transfer auto` keeps the worse of two strategies, on simulated validation sets.

    python benchmarks/choice_noise.py [--sets 200]

Each picture has a margin (the true class's logit minus the other's), normal over pictures with a deviation of 3, and
those of the head and of the fine-tuned network correlate by 0.7. The means are such that the two have the given shares
right. Each set is judged by the rule of training (`fine_tuning.judge`), after a temperature for each.
"""

import argparse
from statistics import NormalDist

import numpy as np
from interleave import command_line, table

from casebook.training.fine_tuning import judge, losses_of

DEVIATION, CORRELATION = 3.0, 0.7
SHARES = ((0.95, 0.90), (0.95, 0.93), (0.95, 0.95), (0.93, 0.95), (0.90, 0.95), (0.92, 0.99))  # right: head, tuned
SIZES = (50, 100, 200)  # validation pictures


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sets", type=int, default=200)
    options = parser.parse_args()
    generator, rows = np.random.default_rng(0), []
    for head, tuned in SHARES:
        row = [f"{head:.0%}", f"{tuned:.0%}"]
        for size in SIZES:
            kept = np.mean([fine_tuning_kept(generator, (head, tuned), size) for _ in range(options.sets)])
            worse = kept if tuned < head else 1 - kept
            cost = 100 * abs(head - tuned) * worse
            row.append(f"{kept:.0%}" + (f", costs {cost:.1f}" if head != tuned else ""))
        rows.append(row)
    print(table(("head right", "fine-tuned right", *(f"kept by {size} pictures" for size in SIZES)), rows))
    print(f"\n{command_line()}")


def fine_tuning_kept(generator: np.random.Generator, shares: tuple[float, float], size: int) -> bool:
    means = [DEVIATION * NormalDist().inv_cdf(share) for share in shares]
    covariance = DEVIATION**2 * np.array([[1, CORRELATION], [CORRELATION, 1]])
    margins = generator.multivariate_normal(means, covariance, size)
    labels = np.zeros(size, np.int64)
    found = [losses_of(np.stack([one, np.zeros(size)], 1), labels) for one in margins.T]
    return judge(*found).accepted


if __name__ == "__main__":
    main()
