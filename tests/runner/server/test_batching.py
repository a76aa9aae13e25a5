"""Pictures of different requests share calls; models are replaced without dropping a request."""

import asyncio
from pathlib import Path

import numpy as np
import pytest

from casebook.errors import ServerError
from casebook.runner.server.batching import Batcher
from casebook.runner.server.models import Models, Source, parse_source
from casebook.runner.server.refusals import Refused
from casebook.runner.server.settings import Batching


def pixels(value: int) -> np.ndarray:
    return np.full((8, 8, 3), value, np.uint8)


def test_pictures_that_wait_share_a_call_and_keep_their_answers(brightness) -> None:
    network = brightness(seconds=0.02)

    async def ask() -> list:
        batcher = Batcher(network.answer, Batching(max_pictures=4))
        answers = await asyncio.gather(*(batcher.submit(pixels(value)) for value in range(0, 250, 25)))
        await batcher.close()
        return answers

    answers = asyncio.run(ask())
    assert network.batches == [4, 4, 2]
    expected = network.answer(np.stack([pixels(value) for value in range(0, 250, 25)]))
    for found, right in zip(answers, expected, strict=True):
        assert np.allclose(found.probabilities, right.probabilities)


@pytest.mark.parametrize(("wait_ms", "sizes"), [(0.0, [1, 1]), (1000.0, [2])])
def test_the_first_picture_waits_for_others_only_when_told_to(brightness, wait_ms, sizes) -> None:
    network = brightness()

    async def ask() -> None:
        batcher = Batcher(network.answer, Batching(max_pictures=2, wait_ms=wait_ms))
        first = batcher.submit(pixels(0))
        while not wait_ms and not first.done():
            await asyncio.sleep(0)
        await asyncio.gather(first, batcher.submit(pixels(9)))
        await batcher.close()

    asyncio.run(ask())
    assert network.batches == sizes


def test_the_wait_has_an_end(brightness) -> None:
    network = brightness()

    async def ask() -> None:
        batcher = Batcher(network.answer, Batching(max_pictures=2, wait_ms=5))
        await batcher.submit(pixels(0))
        await batcher.close()

    asyncio.run(ask())
    assert network.batches == [1]


def test_cancelled_pictures_cost_no_call_and_a_failure_ends_only_its_batch(brightness) -> None:
    network = brightness(seconds=0.02)
    broken = [True]

    def answer(given: np.ndarray) -> list:
        if broken.pop() if broken else False:
            raise RuntimeError("first call")
        return network.answer(given)

    async def ask() -> None:
        batcher = Batcher(answer, Batching(max_pictures=1))
        failing, cancelled, good = (batcher.submit(pixels(0)) for _ in range(3))
        cancelled.cancel()
        with pytest.raises(RuntimeError, match="first call"):
            await failing
        await good
        assert batcher.statistics.failures == 1
        await batcher.close()

    asyncio.run(ask())
    assert network.batches == [1]


def test_a_reload_answers_every_request_and_verifies_first(brightness) -> None:
    networks = [brightness(version=str(number), seconds=0.002) for number in range(20)]
    opened = iter(networks)

    def open_source(source: Source) -> object:
        return next(opened)

    async def ask() -> set[str]:
        models = Models([Source(Path("x"))], open_source, Batching(max_pictures=4))  # type: ignore[arg-type]
        await models.load_all()
        versions, ended = set(), False

        async def client() -> None:
            while not ended:
                model = models.find()
                with model.in_use():
                    await asyncio.sleep(0)  # as while a body is read
                    await model.batcher.submit(pixels(9))
                    versions.add(model.version)

        clients = [asyncio.create_task(client()) for _ in range(16)]
        for _ in networks[1:]:
            await asyncio.sleep(0.01)
            await models.reload_all()
        while "19" not in versions:
            await asyncio.sleep(0)
        ended = True
        await asyncio.gather(*clients)
        await models.close()
        return versions

    assert asyncio.run(ask()) >= {"0", "19"}


def test_requests_before_the_models_are_verified_are_told_to_wait() -> None:
    async def ask() -> None:
        with pytest.raises(Refused, match="being loaded") as refused:
            Models([Source(Path("x"))], lambda source: None, Batching()).find()  # type: ignore[arg-type, return-value]
        assert refused.value.status == 503
        assert "Retry-After" in refused.value.headers

    asyncio.run(ask())


def test_two_bundles_of_one_name_and_version_are_refused(brightness) -> None:
    async def ask() -> None:
        models = Models([Source(Path("a")), Source(Path("b"))], lambda source: brightness(), Batching())
        with pytest.raises(ServerError, match="are both version 1 of 'brightness'"):
            await models.load_all()
        await models.close()
        named = Models([Source(Path("a")), Source(Path("b"), "other")], lambda source: brightness(), Batching())
        await named.load_all()
        assert [model.name for model in named.all()] == ["brightness", "other"]
        await named.close()

    asyncio.run(ask())


def test_bundles_of_the_command_line(tmp_path) -> None:
    odd = tmp_path / "a=b.casebook"
    odd.write_bytes(b"")
    assert parse_source(str(odd)) == Source(odd)
    assert parse_source("cats=c.casebook") == Source(Path("c.casebook"), "cats")
    assert parse_source("cats@2=c.casebook") == Source(Path("c.casebook"), "cats", "2")
    for given in ("=c", "a/b=c", "@2=c"):
        with pytest.raises(ServerError, match="expected NAME=FILE"):
            parse_source(given)
