"""A server with the interface of S3, by moto, in a process of its own; some of its reads fail.

A read of a key that holds "broken" always fails, one of a key that holds "shaky" the first time.
"""

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest

SETTINGS = {
    "AWS_ACCESS_KEY_ID": "key",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_MAX_ATTEMPTS": "1",
}


@contextlib.contextmanager
def s3_server() -> Iterator[str]:
    """The address of a server on 127.0.0.1; the environment names it and its keys meanwhile."""
    words = [sys.executable, "-m", "tests.support.s3_server"]
    with (
        subprocess.Popen(words, text=True, stdout=subprocess.PIPE) as process,
        pytest.MonkeyPatch.context() as patched,
    ):
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        for name, value in (SETTINGS | {"AWS_ENDPOINT_URL": address}).items():
            patched.setenv(name, value)
        try:
            yield address
        finally:
            process.kill()


class _Shaky:
    def __init__(self, app: Callable[..., Iterable[bytes]]) -> None:
        self._app = app
        self._has_failed: set[str] = set()

    def __call__(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        is_read = environ["REQUEST_METHOD"] == "GET" and "list-type" not in environ["QUERY_STRING"]
        is_first = path not in self._has_failed
        if is_read and ("broken" in path or ("shaky" in path and is_first)):
            self._has_failed.add(path)
            start("503 Slow Down", [("Content-Type", "text/plain")])
            return [b"slow down"]
        return self._app(environ, start)


def _serve() -> None:
    from moto.server import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import make_server

    app = _Shaky(DomainDispatcherApplication(create_backend_app))
    server = make_server("127.0.0.1", 0, app, threaded=True)
    print(f"http://127.0.0.1:{server.port}", flush=True)
    sys.stderr = open(os.devnull, "w")  # noqa: SIM115  a line for each request
    server.serve_forever()


if __name__ == "__main__":
    _serve()
