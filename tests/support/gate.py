"""A gate before a server on loopback: shut, connections are refused and those that were open are cut."""

import selectors
import socket
import threading
from typing import Self

from support.engines.process import free_port

_CHUNK = 65_536


class Gate:
    """Passes connections on to a port while it is open. Use it as a context manager; it begins open."""

    def __init__(self, to_port: int) -> None:
        self.port = free_port()
        self._to_port = to_port
        self._open: threading.Event = threading.Event()
        self._pairs: dict[socket.socket, socket.socket] = {}
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def open(self) -> None:
        listener = socket.create_server(("127.0.0.1", self.port))
        self._open.set()
        self._thread = threading.Thread(target=self._serve, args=(listener,), name="gate", daemon=True)
        self._thread.start()

    def shut(self) -> None:
        self._open.clear()
        if self._thread is not None:
            self._thread.join()

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(self, *_exc: object) -> None:
        self.shut()

    def _serve(self, listener: socket.socket) -> None:
        with listener, selectors.DefaultSelector() as waiting:
            waiting.register(listener, selectors.EVENT_READ)
            while self._open.is_set():
                for key, _ in waiting.select(0.02):
                    if key.fileobj is listener:
                        self._admit(listener, waiting)
                    elif key.fileobj in self._pairs:
                        self._pass_on(key.fileobj, waiting)
            for one in list(self._pairs):
                one.close()
            self._pairs.clear()

    def _admit(self, listener: socket.socket, waiting: selectors.BaseSelector) -> None:
        client, _ = listener.accept()
        server = socket.create_connection(("127.0.0.1", self._to_port))
        for one, other in ((client, server), (server, client)):
            self._pairs[one] = other
            waiting.register(one, selectors.EVENT_READ)

    def _pass_on(self, one: socket.socket, waiting: selectors.BaseSelector) -> None:
        other = self._pairs[one]
        try:
            data = one.recv(_CHUNK)
            other.sendall(data)
        except OSError:
            data = b""
        if not data:
            for end in (one, other):
                waiting.unregister(end)
                del self._pairs[end]
                end.close()
