"""Checkpoints as other programs write them: which of their dictionaries are weights, and what their names begin with.

Lightning keeps the weights below `state_dict`, with the attribute of its module in front ("model."), torch.compile puts
"_orig_mod." into the names, DistributedDataParallel and AveragedModel "module.". Training scripts write an average of
the weights (EMA) beside them; it is used where asked for, or where there is nothing else.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from torch import Tensor

from ..errors import WeightsError

PLAIN = ("state_dict", "model_state_dict", "model", "net", "network", "module")
AVERAGED = ("state_dict_ema", "model_ema", "ema_state_dict", "ema")
WRAPPERS = re.compile(r"(?:(?<=\.)|^)(?:_orig_mod|module)\.")


def find_state(found: Any, source: str, *, averaged: bool) -> tuple[dict[str, Tensor], str]:
    """The weights in what a checkpoint file holds, and a remark on the choice where there was one.

    Raises WeightsError where there are no weights, or no averaged ones though `averaged` asks for them.
    """
    remark = ""
    while isinstance(found, Mapping) and not _is_state(found):
        plain, ema = ([key for key in keys if isinstance(found.get(key), Mapping)] for keys in (PLAIN, AVERAGED))
        if averaged and plain and not ema:
            raise WeightsError(
                f"{source}: no averaged (EMA) weights, expected one of {', '.join(AVERAGED)}; leave out ':ema' to use "
                f"'{plain[0]}'"
            )
        chosen = next(iter((ema or plain) if averaged else (plain or ema)), None)
        if chosen is None:
            break
        if ema:
            other = f"; ':ema' behind the file's name chooses '{ema[0]}'" if chosen in plain else ""
            remark = f"uses the weights '{chosen}' of the checkpoint{other}"
        found, averaged = found[chosen], averaged and chosen not in AVERAGED
    if not isinstance(found, Mapping) or not _is_state(found):
        raise WeightsError(f"{source}: holds no state dict (names with tensors), expected torch.save(state_dict)")
    if averaged:
        raise WeightsError(f"{source}: a plain state dict has no averaged (EMA) weights; leave out ':ema'")
    return dict(found), remark


def strip_wrappers(
    state: Mapping[str, Tensor], count_known: Callable[[Iterable[str]], int]
) -> tuple[dict[str, Tensor], str]:
    """The state without what other programs put in front of the names, and the prefix that was taken off.

    The prefix that leaves most names for which `count_known` finds a weight of the network wins; names outside it, such
    as those of a loss or of metrics, are dropped.
    """
    state = {WRAPPERS.sub("", key): value for key, value in state.items() if key != "n_averaged"}
    sizes = Counter(
        key[: end.end()] for key in state for end in list(re.finditer(r"\.", key))[:3]
    )  # prefixes of up to three parts
    best, prefix, most = state, "", count_known(state)
    for candidate, size in sizes.items():
        if size < len(state) / 4:  # no wrapper, but a part of the network
            continue
        inner = {key.removeprefix(candidate): value for key, value in state.items() if key.startswith(candidate)}
        if (known := count_known(inner)) > most:
            best, prefix, most = inner, candidate, known
    return best, prefix


def _is_state(found: Mapping) -> bool:
    return bool(found) and all(isinstance(value, Tensor) for value in found.values())
