"""What schemathesis makes of the server's own OpenAPI description: no request of any kind may fail inside."""

import contextlib
import itertools

import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis.errors import Unsatisfiable

from casebook.runner.server.settings import Access, ServerSettings

schemathesis = pytest.importorskip("schemathesis")

TOKEN = "correct-horse-battery"
EXAMPLES = 40  # for each of the operations, and for each kind of request: good and bad


@pytest.mark.slow
def test_generated_requests_never_fail_inside(listening, brightness) -> None:
    from schemathesis.specs.openapi.checks import (
        content_type_conformance,
        response_schema_conformance,
        status_code_conformance,
    )

    server = listening(brightness(), settings=ServerSettings(access=Access(token=TOKEN), drain_seconds=0))
    url = f"http://127.0.0.1:{server.port}"
    headers = {"Authorization": f"Bearer {TOKEN}"}
    schema = schemathesis.openapi.from_url(f"{url}/openapi.json")
    statuses: list[int] = []
    operations = [found.ok() for found in schema.get_all_operations()]
    for operation, mode in itertools.product(operations, schemathesis.GenerationMode):

        @seed(1)
        @settings(max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck))
        @given(case=operation.as_strategy(generation_mode=mode))
        def ask(case) -> None:
            # Half the paths would name models that are unknown.
            for name, value in (("model", "brightness"), ("version", "1")):
                if name in case.path_parameters and len(statuses) % 2:
                    case.path_parameters[name] = value
            response = case.call(base_url=url, headers=headers)
            statuses.append(response.status_code)
            checks = [status_code_conformance, content_type_conformance, response_schema_conformance]
            case.validate_response(response, checks=[schemathesis.checks.not_a_server_error, *checks])

        with contextlib.suppress(Unsatisfiable):  # without parameters there is nothing to get wrong
            ask()
    assert len(statuses) >= 500
    assert not [status for status in statuses if status >= 500]
    assert {200, 400, 404, 422} <= set(statuses)
