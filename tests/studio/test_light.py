"""The server never loads torch, whatever it is asked; and what it must not say it does not say."""

import posixpath
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from casebook.studio.app import STATIC, _static_files

SCRIPT = """
import http.client, json, os, re, signal, sys, threading
from pathlib import Path
from casebook.studio import app as application, serving
from casebook.studio.settings import StudioSettings

root, made = Path(sys.argv[1]), []
create_app = serving.create_app
serving.create_app = lambda *given: made.append(create_app(*given)) or made[-1]

def ask(port, path, cookie="", method="GET", body=None, **headers):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request(method, path, body, {"Cookie": cookie, **headers})
    answer = connection.getresponse()
    content = b"" if path.startswith("/api/events?") else answer.read()
    connection.close()
    return answer, content

def look(address):
    try:
        port, token = int(re.search(r":(\\d+)/", address)[1]), address.partition("=")[2]
        cookie = ask(port, f"/?token={token}")[0].headers["Set-Cookie"].partition(";")[0]
        page = json.loads(ask(port, "/api/session", cookie)[1])["token"]
        origin = {"Origin": f"http://127.0.0.1:{port}", "X-Casebook-Token": page, "Content-Type": "application/json"}
        ids = [json.loads(ask(port, "/api/projects", cookie, "POST", json.dumps(body), **origin)[1])["id"]
               for body in ({"digits": True}, {"folder": "photos"})]
        values = {"run": "a", "page": "train", "name": "lenet5", "path": "app.js", "lesson": "efficientnet",
                  "network": "lenet5", "number": "0", "job": "20260101-000000-aaaa"}
        asked = []
        for route in made[0].routes:
            if "GET" not in (route.methods or ()):
                continue
            for project in ids:
                given = {**values, "project": project}
                path = re.sub(r"{(\\w+)(:\\w+)?}", lambda one: given.get(one[1], "0"), route.path)
                path += "?after=0" if route.path == "/api/events" else ""
                answer, content = ask(port, path, cookie)
                asked.append(path)
                assert answer.status != 500, (path, content)
                loaded = [name for name in ("torch", "sklearn", "matplotlib") if name in sys.modules]
                assert "torch" not in loaded, path
                assert not answer.headers.get("Access-Control-Allow-Origin")
        print(len(asked), "answered")
    except BaseException as error:
        print(repr(error))
    os.kill(os.getpid(), signal.SIGTERM)

serving.serve(StudioSettings(root), lambda address: threading.Thread(target=look, args=(address,)).start())
"""


@pytest.fixture
def root(tmp_path: Path, digit_folder: Path, runs: tuple[Path, Path, Path]) -> Path:
    shutil.copytree(digit_folder, tmp_path / "photos")
    shutil.copytree(runs[0], tmp_path / "runs" / "a")
    return tmp_path


def test_no_answer_to_any_get_loads_torch(root: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(root)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout.endswith("answered\n"), done.stdout + done.stderr
    assert int(done.stdout.split()[0]) > 30
    assert done.returncode == 0


def test_the_first_page_asks_at_once_for_all_that_it_imports() -> None:
    """Otherwise each import would wait for the answer to the one before."""
    imported: set[str] = set()
    waiting = ["app.js"]
    while waiting:
        name = waiting.pop()
        imported.add(name)
        text = _static_files()[name].read_text(encoding="utf-8")
        for found in re.findall(r'(?m)^(?:import|export) .*?from ?"(\.[^"]+)"', text):
            path = posixpath.normpath(posixpath.join(posixpath.dirname(name), found))
            waiting += [path] if path not in imported else []
    shell = (STATIC / "index.html").read_text(encoding="utf-8")
    assert set(re.findall(r'rel="modulepreload" href="/static/([^"]+)"', shell)) == imported
