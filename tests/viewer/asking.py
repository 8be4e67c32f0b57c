"""Requests as the pages send them."""

import json
from http.client import HTTPConnection
from typing import Any, NamedTuple
from urllib.parse import urlsplit


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def ask(
    url: str, what: str = "", *, method: str = "GET", body: Any = None, **headers: str
) -> Answer:
    at = urlsplit(url)
    connection = HTTPConnection(at.hostname or "", at.port or 0, timeout=60)
    try:
        text = body if body is None or isinstance(body, bytes) else json.dumps(body)
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, at.path + what, text, sent)
        answer = connection.getresponse()
        return Answer(answer.status, dict(answer.getheaders()), answer.read())
    finally:
        connection.close()


def post(url: str, what: str, body: Any, **headers: str) -> Answer:
    at = urlsplit(url)
    origin = {"Origin": f"{at.scheme}://{at.netloc}"}
    return ask(url, what, method="POST", body=body, **origin | headers)
