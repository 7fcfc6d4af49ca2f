"""A stand-in for every program of `ispgraph up`, for tests of the launcher alone: ``stand_in.py NAME``."""

# ruff: noqa: T201 - what it prints is what the launcher reads

import http.server
import json
import os
import signal
import sys
import threading


class Health(http.server.BaseHTTPRequestHandler):
    """Answers /healthz as the API does."""

    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/healthz" else 404)
        self.end_headers()
        self.wfile.write(str(os.getpid()).encode())


def main(name: str) -> None:
    """Do what the launcher expects of a program with this name."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    if name == "migrate":
        return
    if name == "demo":
        print("not part of the answer", file=sys.stderr)
        operator = {"email": "a@b", "password": "p", "role": "ADMIN", "tenant": "t"}
        print(json.dumps({"operators": [operator], "radius_secret": "r"}))
        return
    if name == "api":
        address = (os.environ["ISPGRAPH_HOST"], int(os.environ["ISPGRAPH_PORT"]))
        server = http.server.ThreadingHTTPServer(address, Health)
        threading.Thread(target=server.serve_forever, daemon=True).start()
    print("ready")
    while True:
        signal.pause()


if __name__ == "__main__":
    main(sys.argv[1])
