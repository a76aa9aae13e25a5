"""Jobs and the stream of their events."""

import asyncio
from collections.abc import AsyncIterator

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from ...runner.server.refusals import Refused, bad_request
from ..events import EventLog
from .requests import json_body, number_of, studio, text_of

BEAT_SECONDS = 10  # between two signs of life, by which a page notices that the server is gone
MOST_STREAMS = 24
KEPT_STEPS = 600  # of the steps of a job, for its curve


async def jobs(request: Request) -> Response:
    here = studio(request)
    return JSONResponse({"jobs": [job.to_dict() for job in here.jobs.all()], "number": here.events.number})


async def add_job(request: Request) -> Response:
    """{"project": ID or null, "task": NAME, "settings": {...}} -> the job."""
    document = await json_body(request)
    settings, project = document.get("settings", {}), document.get("project")
    if not isinstance(settings, dict):
        raise bad_request("settings is no object")
    if project is not None and not isinstance(project, str):
        raise bad_request("project is no text")
    return JSONResponse(studio(request).jobs.add(text_of(document, "task"), settings, project).to_dict(), 201)


async def job(request: Request) -> Response:
    """The job with its result and events; of many steps only some."""
    here = studio(request)
    found = here.jobs.get(request.path_params["job"])
    here.jobs.poll()  # so that the number stands for what is read below
    document, number = found.to_dict(), here.events.number
    events = await asyncio.to_thread(found.events)
    steps = [place for place, record in enumerate(events) if record["event"]["event"] in ("StepEnded", "Advanced")]
    kept = set(steps[:: max(1, -(-len(steps) // KEPT_STEPS))]) | set(steps[-1:])
    left_out = set(steps) - kept
    shown = [record for place, record in enumerate(events) if place not in left_out]
    return JSONResponse({"job": document, "events": shown, "result": found.result(), "number": number})


async def job_log(request: Request) -> Response:
    found = studio(request).jobs.get(request.path_params["job"])
    return JSONResponse({"log": await asyncio.to_thread(found.log)})


async def stop(request: Request) -> Response:
    await json_body(request)
    here = studio(request)
    found = here.jobs.get(request.path_params["job"])
    here.jobs.stop(found)
    return JSONResponse(found.to_dict())


async def resume(request: Request) -> Response:
    await json_body(request)
    here = studio(request)
    found = here.jobs.get(request.path_params["job"])
    here.jobs.resume(found)
    return JSONResponse(found.to_dict())


async def events(request: Request) -> Response:
    """Server-sent events after ?after=N, or after Last-Event-ID, which a browser sends when it reconnects."""
    here = studio(request)
    number = number_of(request, "after")
    last = request.headers.get("last-event-id", "")
    if last.isascii() and last.isdigit() and len(last) <= 15:
        number = int(last)
    if here.num_streams >= MOST_STREAMS:
        raise Refused(503, "too_many_streams", f"{MOST_STREAMS} pages follow already; close some", {"Retry-After": "5"})

    async def stream() -> AsyncIterator[str]:
        here.num_streams += 1
        try:
            async for text in _stream(here.events, number):
                yield text
        finally:
            here.num_streams -= 1

    return StreamingResponse(stream(), media_type="text/event-stream")


async def _stream(log: EventLog, number: int) -> AsyncIterator[str]:
    yield "retry: 1000\n\n"
    is_new = True
    while not log.closed:
        found = log.after(number)
        if (is_new and log.misses(number)) or (not found and log.number > number):  # somebody emptied the file
            number = log.number
            yield f'event: reset\nid: {number}\ndata: {{"number":{number}}}\n\n'
            found = []
        is_new = False
        for one in found:
            yield f"id: {one.number}\ndata: {one.text}\n\n"
            number = one.number
        if not found and not await log.news(number, BEAT_SECONDS) and not log.closed:
            yield "event: beat\ndata: {}\n\n"


async def missed(request: Request) -> Response:
    """What a tab missed of the stream that another tab shares with it."""
    log, number = studio(request).events, number_of(request, "after")
    found = [] if log.misses(number) else log.after(number)
    body = f'{{"reset":{str(log.misses(number)).lower()},"events":[{",".join(one.text for one in found)}]}}'
    return Response(body, media_type="application/json")


ROUTES = [
    Route("/api/jobs", jobs),
    Route("/api/jobs", add_job, methods=["POST"]),
    Route("/api/jobs/{job}", job),
    Route("/api/jobs/{job}/log", job_log),
    Route("/api/jobs/{job}/stop", stop, methods=["POST"]),
    Route("/api/jobs/{job}/resume", resume, methods=["POST"]),
    Route("/api/events", events),
    Route("/api/events/missed", missed),
]
